/** Schemes that a link of an answer may have. Everything else is text: `javascript:` and `data:` above all. */
const SCHEMES = new Set(["http", "https", "mailto", "tel", "ftp", "irc", "ircs", "xmpp", "matrix"]);

/**
 * Returns where a link leads, or null for one that leads nowhere from here: relative addresses would point at Parley
 * itself, and other schemes start programs.
 */
export function destination(href: string): string | null {
  // Browsers drop tabs, line breaks and leading control characters from an address before they read its scheme.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that browsers drop
  const address = href.replace(/[\u0000-\u0020]/g, "");
  if (address.startsWith("#")) return address;
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(address)?.[1]?.toLowerCase();
  if (scheme === undefined || !SCHEMES.has(scheme)) return null;
  return URL.canParse(address) ? address : null;
}

/** Returns the name that a heading is linked by, as on GitHub. */
export function slug(text: string): string {
  return text
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, "")
    .replaceAll(" ", "-");
}
