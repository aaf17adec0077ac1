import type { Token } from "markdown-it";
import { elementOf, hasOptionalEnd, isVoid, readHtml, readTag, type Tag } from "./html";
import { slug } from "./links";

/** A node of the rendered tree. Plain data: created by {@link treeOf}, rendered by `render.tsx`. */
export type Node = TextNode | ElementNode | CodeNode | MathsNode | LiteralNode | NoteNode;

export interface TextNode {
  readonly kind: "text";
  readonly text: string;
}

export interface ElementNode {
  readonly kind: "element";
  readonly tag: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly Node[];
}

/** A block of code. */
export interface CodeNode {
  readonly kind: "code";
  readonly language: string;
  readonly text: string;
}

export interface MathsNode {
  readonly kind: "maths";
  readonly text: string;
  readonly display: boolean;
  /** With its delimiters: shown until it is typeset, and when it cannot be. */
  readonly source: string;
}

/** A block of markup that is shown as its source. */
export interface LiteralNode {
  readonly kind: "literal";
  readonly text: string;
}

/** A reference to a footnote. */
export interface NoteNode {
  readonly kind: "note";
  readonly label: string;
}

/** An item of a container before its tags of raw HTML are paired. */
export type Item = Node | Tag;

export interface Tree {
  /** The top level; a tag may be closed in a later tree, see {@link pairTags}. */
  readonly items: readonly Item[];
  /** Footnotes defined here, by label. */
  readonly notes: ReadonlyMap<string, readonly Node[]>;
  /** Labels of the footnotes referred to, in order. */
  readonly noted: readonly string[];
}

interface Container {
  readonly tag: string;
  readonly attributes: Record<string, string>;
  readonly items: Item[];
}

/** Builds the tree of the parser's tokens. */
export function treeOf(tokens: readonly Token[]): Tree {
  const builder = new Builder();
  builder.add(tokens);
  return builder.finish();
}

class Builder {
  private readonly root: Container = { tag: "", attributes: {}, items: [] };
  private readonly stack: Container[] = [this.root];
  private readonly notes = new Map<string, readonly Node[]>();
  private readonly noted: string[] = [];

  finish(): Tree {
    return { items: this.root.items, notes: this.notes, noted: this.noted };
  }

  add(tokens: readonly Token[]): void {
    for (const token of tokens) {
      if (token.type === "inline") this.add(token.children ?? []);
      else if (token.hidden) continue;
      else if (token.nesting === 1) this.open(token);
      else if (token.nesting === -1) this.close();
      else this.addLeaf(token);
    }
  }

  private get top(): Container {
    return this.stack.at(-1) ?? this.root;
  }

  private put(...items: Item[]): void {
    for (const item of items) append(this.top.items, item);
  }

  private element(
    tag: string,
    attributes: Record<string, string> = {},
    children: readonly Node[] = [],
  ): void {
    this.put({ kind: "element", tag, attributes, children });
  }

  private open(token: Token): void {
    const attributes: Record<string, string> = {};
    for (const [name, value] of token.attrs ?? []) {
      if (name === "style") attributes.align = `${value}`.replace("text-align:", "");
      else attributes[name] = `${value}`;
    }
    const isNote = token.type === "footnote_reference_open";
    if (isNote) attributes.label = (token.meta as { label: string }).label;
    this.stack.push({ tag: isNote ? "note" : token.tag, attributes, items: [] });
  }

  private close(): void {
    const { tag, attributes, items } = this.stack.pop() ?? this.root;
    const children = pairTags(items);
    if (tag === "note") {
      const { label = "" } = attributes;
      if (!this.notes.has(label)) this.notes.set(label, children);
      return;
    }
    if (/^h[1-6]$/.test(tag)) {
      if (plainText(children).trim() === "" && !children.some(({ kind }) => kind !== "text")) return;
      attributes.anchor = slug(plainText(children));
    }
    this.put({ kind: "element", tag, attributes, children: tag === "li" ? withTaskBox(children) : children });
  }

  private addLeaf(token: Token): void {
    const { type, content } = token;
    switch (type) {
      case "text":
      case "text_special":
        this.put({ kind: "text", text: content });
        return;
      case "softbreak":
        this.put({ kind: "text", text: "\n" });
        return;
      case "hardbreak":
        this.element("br");
        return;
      case "hr":
        this.element("hr");
        return;
      case "code_inline":
        this.element("code", {}, [{ kind: "text", text: content }]);
        return;
      case "fence":
      case "code_block":
        this.put({
          kind: "code",
          language: token.info.trim().split(/\s/, 1)[0] ?? "",
          text: content.replace(/\n$/, ""),
        });
        return;
      case "maths_inline":
      case "maths_block":
        this.put({
          kind: "maths",
          text: content,
          display: type === "maths_block" || (token.meta as { display: boolean }).display,
          source: token.markup,
        });
        return;
      case "image":
        this.element("img", {
          src: `${token.attrGet("src") ?? ""}`,
          alt: plainText(treeOf(token.children ?? []).items),
          title: `${token.attrGet("title") ?? ""}`,
        });
        return;
      case "footnote_ref": {
        const { label } = token.meta as { label: string };
        this.noted.push(label);
        this.put({ kind: "note", label });
        return;
      }
      case "literal":
        this.put({ kind: "literal", text: content });
        return;
      case "html_inline":
        this.put(readTag(content));
        return;
      case "html_block":
        this.addHtml(content);
        return;
    }
  }

  private addHtml(source: string): void {
    const parts = readHtml(source);
    if (parts.some((part) => typeof part !== "string" && !part.known)) {
      this.put({ kind: "literal", text: source.replace(/\n+$/, "") });
      return;
    }
    for (const part of parts) this.put(typeof part === "string" ? { kind: "text", text: part } : part);
  }
}

/**
 * Makes elements of the tags that are known and have their counterpart in the same container. All other tags are
 * text, and so is everything between the tags of an unknown element. (A lone known tag in a block of HTML is dropped:
 * its counterpart is missing or in another container. In a line of text it is more likely the name of a type.)
 */
export function pairTags(items: readonly Item[]): readonly Node[] {
  if (!items.some(isTag)) return items as readonly Node[];
  const ends = findEnds(items);
  const build = (start: number, end: number, literal: boolean): Node[] => {
    const nodes: Node[] = [];
    for (let index = start; index < end; index++) {
      const item = items[index];
      if (item === undefined) break;
      if (item.kind !== "tag") {
        append(nodes, item);
        continue;
      }
      const shown = literal || !item.known;
      const last = ends.get(index);
      if (last === undefined) {
        if (!shown && isEmpty(item)) append(nodes, elementFor(item, []));
        else if (shown || !item.block) append(nodes, { kind: "text", text: item.source });
        continue;
      }
      const inner = build(index + 1, last, shown);
      if (shown) {
        append(nodes, { kind: "text", text: item.source });
        for (const node of inner) append(nodes, node);
        const closing = items[last];
        if (isEndOf(item, closing)) append(nodes, { kind: "text", text: (closing as Tag).source });
      } else {
        append(nodes, elementFor(item, inner));
      }
      index = isEndOf(item, items[last]) ? last : last - 1;
    }
    return nodes;
  };
  return build(0, items.length, false);
}

/** Returns the index of the closing tag for each opening tag. */
function findEnds(items: readonly Item[]): Map<number, number> {
  const ends = new Map<number, number>();
  const open: { readonly index: number; readonly name: string }[] = [];
  const count = new Map<string, number>();
  const pop = () => {
    const top = open.pop();
    if (top !== undefined) count.set(top.name, (count.get(top.name) ?? 0) - 1);
    return top;
  };
  const endAt = (index: number) => {
    const top = pop();
    if (top !== undefined && hasOptionalEnd(top.name)) ends.set(top.index, index);
  };
  for (const [index, item] of items.entries()) {
    if (item.kind !== "tag" || item.name === "" || isVoid(item.name) || item.source.endsWith("/>")) continue;
    if (!item.closing) {
      if (hasOptionalEnd(item.name) && open.at(-1)?.name === item.name) endAt(index);
      open.push({ index, name: item.name });
      count.set(item.name, (count.get(item.name) ?? 0) + 1);
    } else if ((count.get(item.name) ?? 0) > 0) {
      while (open.at(-1)?.name !== item.name) endAt(index);
      const top = pop();
      if (top !== undefined) ends.set(top.index, index);
    }
  }
  return ends;
}

/** Whether a tag is an element by itself; `<a name="…"/>` is how anchors are written. */
function isEmpty({ name, closing, source }: Tag): boolean {
  return !closing && (isVoid(name) || (name === "a" && source.endsWith("/>")));
}

function isEndOf(opening: Tag, item: Item | undefined): boolean {
  return item !== undefined && isTag(item) && item.closing && item.name === opening.name;
}

function elementFor({ name, attributes }: Tag, children: readonly Node[]): ElementNode {
  const tag = elementOf(name);
  const allowed: Record<string, string> = name === "center" ? { align: "center" } : {};
  if (name === "p") allowed.role = "paragraph";
  const anchor = attributes.id ?? attributes.name ?? (/^h[1-6]$/.test(tag) ? slug(plainText(children)) : "");
  if (anchor !== "") allowed.anchor = anchor;
  for (const key of ALLOWED_ATTRIBUTES) {
    const value = attributes[key];
    if (value !== undefined) allowed[key] = value;
  }
  return { kind: "element", tag, attributes: allowed, children };
}

const ALLOWED_ATTRIBUTES = [
  "href",
  "src",
  "alt",
  "title",
  "align",
  "colspan",
  "rowspan",
  "start",
  "open",
  "lang",
  "dir",
];

/** `[ ]` and `[x]` at the beginning of a list item are a box. */
function withTaskBox(children: readonly Node[]): readonly Node[] {
  const [first, ...rest] = children;
  if (first?.kind === "element" && first.tag === "p") {
    const inner = withTaskBox(first.children);
    return inner === first.children ? children : [{ ...first, children: inner }, ...rest];
  }
  if (first?.kind !== "text") return children;
  const box = /^\[([ xX])\](?=\s)/.exec(first.text);
  if (box === null) return children;
  const checked: Record<string, string> = box[1] === " " ? {} : { checked: "" };
  const text = first.text.slice(box[0].length);
  const label = plainText([{ kind: "text", text }, ...rest]).trim();
  return [
    { kind: "element", tag: "input", attributes: { ...checked, label }, children: [] },
    { kind: "text", text },
    ...rest,
  ];
}

function isTag(item: Item): item is Tag {
  return item.kind === "tag";
}

/** Adds an item, and joins text to text. */
function append(items: Item[], item: Item): void {
  const last = items.at(-1);
  if (item.kind === "text" && last?.kind === "text") {
    items[items.length - 1] = { kind: "text", text: last.text + item.text };
  } else {
    items.push(item);
  }
}

/** The text of nodes, without their markup. */
export function plainText(items: readonly Item[]): string {
  return items
    .map((item): string => {
      if (item.kind === "element")
        return item.tag === "img" ? (item.attributes.alt ?? "") : plainText(item.children);
      if (item.kind === "tag") return item.source;
      if (item.kind === "maths") return item.source;
      return item.kind === "note" ? "" : item.text;
    })
    .join("");
}
