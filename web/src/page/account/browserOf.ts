/** Products by a part of their user agent: a browser before those that it claims compatibility with. */
const PRODUCTS: readonly (readonly [part: RegExp, name: string])[] = [
  [/Edg(?:e|A|iOS)?\//, "Edge"],
  [/OPR\//, "Opera"],
  [/SamsungBrowser\//, "Samsung Internet"],
  [/Firefox\/|FxiOS\//, "Firefox"],
  [/Chrome\/|CriOS\//, "Chrome"],
  [/Safari\//, "Safari"],
];

const SYSTEMS: readonly (readonly [part: RegExp, name: string])[] = [
  [/iPhone|iPad/, "iOS"],
  [/Android/, "Android"],
  [/Windows/, "Windows"],
  [/Mac OS X/, "macOS"],
  [/CrOS/, "ChromeOS"],
  [/Linux/, "Linux"],
];

/** Returns the browser and system of a user agent in words; of another program the beginning of its user agent. */
export function browserOf(userAgent: string): string {
  const product = PRODUCTS.find(([part]) => part.test(userAgent))?.[1];
  const system = SYSTEMS.find(([part]) => part.test(userAgent))?.[1];
  if (product === undefined) return userAgent.slice(0, 60) || "Unknown program";
  return system === undefined ? product : `${product} on ${system}`;
}
