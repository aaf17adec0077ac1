import { decodeHTML } from "entities";

/** One tag of raw HTML in Markdown, or a comment, declaration or instruction. */
export interface Tag {
  readonly kind: "tag";
  /** As written. */
  readonly source: string;
  /** Lower case; empty for comments, declarations and processing instructions. */
  readonly name: string;
  readonly closing: boolean;
  readonly attributes: Readonly<Record<string, string>>;
  /** Whether it can become an element. All other tags are shown as text. */
  readonly known: boolean;
  /** Whether it stands in a block of HTML, and not in a line of text. */
  readonly block: boolean;
}

/** Elements that only mark up text, with the elements that they become. */
const ELEMENTS: Readonly<Record<string, string>> = {
  ...same(
    "a abbr b bdi bdo blockquote br caption cite code col colgroup dd del details dfn div dl dt em figcaption figure",
  ),
  ...same(
    "h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol pre q rp rt ruby s samp small source span strong sub",
  ),
  ...same("summary sup table tbody td tfoot th thead tr u ul var wbr picture"),
  address: "div",
  article: "div",
  aside: "div",
  big: "span",
  center: "div",
  font: "span",
  footer: "div",
  header: "div",
  nav: "div",
  // A raw paragraph may hold blocks of Markdown, which an element `p` cannot.
  p: "div",
  section: "div",
  strike: "s",
  tt: "code",
};

/** Elements without content. */
const VOID = new Set(["br", "hr", "img", "wbr", "col", "source"]);
/** Elements whose end may be left out. */
const OPTIONAL_END = new Set(
  "p li dt dd tr td th thead tbody tfoot colgroup caption rp rt option".split(" "),
);

/** Attributes of HTML. Another name without a value is a word, as in `a<b and c>d`. */
const ATTRIBUTES = new Set(
  (
    "abbr align alt bgcolor border cellpadding cellspacing cite class clear color colspan compact datetime dir face " +
    "height hspace href id lang loading media name noshade nowrap open rel reversed role rowspan scope size sizes " +
    "span src srcset start style summary tabindex target title type valign value vspace width"
  ).split(" "),
);

const ATTRIBUTE = /([a-zA-Z_:@][\w:.@-]*)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"'=<>`]+))?/g;
const TAG =
  /<!--[\s\S]*?(?:-->|$)|<\?[\s\S]*?(?:\?>|$)|<!\[CDATA\[[\s\S]*?(?:\]\]>|$)|<![a-zA-Z][^>]*>|<\/[a-zA-Z][\w-]*\s*>|<[a-zA-Z][\w-]*(?:\s+[a-zA-Z_:@][\w:.@-]*(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+))?)*\s*\/?>/g;

export function isVoid(name: string): boolean {
  return VOID.has(name);
}

export function hasOptionalEnd(name: string): boolean {
  return OPTIONAL_END.has(name);
}

/** The element that a known tag becomes. */
export function elementOf(name: string): string {
  return ELEMENTS[name] ?? "span";
}

/** Reads one tag, as the parser of Markdown found it. */
export function readTag(source: string, block = false): Tag {
  const name = /^<\/?([a-zA-Z][\w-]*)(?=[\s/>])/.exec(source)?.[1]?.toLowerCase() ?? "";
  const closing = source.startsWith("</");
  const attributes: Record<string, string> = {};
  let known = Object.hasOwn(ELEMENTS, name);
  if (known && !closing) {
    for (const [, attribute = "", value = ""] of source.slice(name.length + 1).matchAll(ATTRIBUTE)) {
      const key = attribute.toLowerCase();
      known &&= isHtml(attribute, value) && (ATTRIBUTES.has(key) || value !== "");
      attributes[key] = decodeHTML(value.replace(/^["']|["']$/g, ""));
    }
  }
  return { kind: "tag", source, name, closing, attributes, known, block };
}

/** Whether an attribute is one of HTML: `className`, `onClick`, `:key` and `{…}` are of JSX and of templates. */
function isHtml(name: string, value: string): boolean {
  return !/[a-z][A-Z]|^on|[:@]/.test(name) && !/^["']?\{/.test(value);
}

/** Splits a block of HTML into its tags and the text between them. */
export function readHtml(source: string): (Tag | string)[] {
  const parts: (Tag | string)[] = [];
  let last = 0;
  for (const match of source.matchAll(TAG)) {
    if (match.index > last) parts.push(decodeHTML(source.slice(last, match.index)));
    parts.push(readTag(match[0], true));
    last = match.index + match[0].length;
  }
  if (last < source.length) parts.push(decodeHTML(source.slice(last)));
  return parts;
}

function same(names: string): Record<string, string> {
  return Object.fromEntries(names.split(" ").map((name) => [name, name]));
}
