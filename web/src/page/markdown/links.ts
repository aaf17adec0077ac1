/** Schemes that a link of an answer may have. All others stay text, such as `javascript:` and `data:`. */
const SCHEMES = new Set(["http", "https", "mailto", "tel", "ftp", "irc", "ircs", "xmpp", "matrix"]);

/**
 * Returns the address of a link; null for a relative address, which would point at Parley itself, and for other schemes,
 * which start programs.
 */
export function linkTarget(href: string): string | null {
  // Browsers drop tabs, line breaks and leading control characters from an address before they read its scheme.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that browsers drop
  const address = href.replace(/[\u0000-\u0020]/g, "");
  if (address.startsWith("#")) return address;
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(address)?.[1]?.toLowerCase();
  if (scheme === undefined || !SCHEMES.has(scheme)) return null;
  return URL.canParse(address) ? address : null;
}

/** Returns the anchor of a heading, by GitHub's rules. */
export function slug(text: string): string {
  return text
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, "")
    .replaceAll(" ", "-");
}
