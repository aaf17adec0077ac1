import type { Env } from "markdown-it";
import { markdown } from "./syntax";
import { type Item, type Node, pairTags, type Tree, treeOf } from "./tree";

/** A footnote in the order of its first reference. */
export interface Note {
  readonly label: string;
  readonly nodes: readonly Node[];
}

/** A parsed text. Nodes that did not change since the last update are the same objects. */
export interface Document {
  readonly nodes: readonly Node[];
  readonly notes: readonly Note[];
}

/** The definitions that references use: link targets and labels of footnotes. */
type Definitions = Map<string, string>;

/** A part of the text whose blocks no later text can change, except for the targets of references. */
interface Chunk {
  readonly source: string;
  readonly defined: Definitions;
  tree: Tree | null;
}

interface Footnotes {
  refs: Record<string, number>;
}

/**
 * A growing Markdown text, parsed incrementally: the cost of an update depends on the part that still changes.
 *
 * The result depends on the text alone, however it was cut. Blocks are closed by complete lines: a top-level block
 * that begins after a blank line ends all blocks before it, and CommonMark never opens a closed block again. Only
 * references may be resolved later, and then the chunks that use them are parsed again.
 */
export class MarkdownDocument {
  private text = "";
  private closed: Chunk[] = [];
  /** The offset of the part that still changes. */
  private start = 0;
  private definitions: Definitions = new Map();
  private tail: Tree | null = null;
  private result: Document = { nodes: [], notes: [] };

  /** @param finish Completes what is open at the end of a text that grows; not applied to what is closed. */
  update(raw: string, finish: (tail: string) => string = (tail) => tail): Document {
    const text = raw.includes("\r") ? raw.replace(/\r\n?/g, "\n") : raw;
    if (!text.startsWith(this.text)) this.reset();
    this.text = text;
    this.closeBlocks();
    const tail = chunkOf(finish(text.slice(this.start)));
    this.define(tail);
    const trees: Tree[] = [];
    for (const chunk of this.closed) {
      chunk.tree ??= this.parse(chunk);
      trees.push(chunk.tree);
    }
    const newTail = this.parse(tail);
    this.tail = this.tail === null ? newTail : shareTree(this.tail, newTail);
    trees.push(this.tail);
    this.result = assemble(trees, this.result);
    return this.result;
  }

  private reset(): void {
    this.closed = [];
    this.start = 0;
    this.definitions = new Map();
    this.tail = null;
  }

  /** Moves the closed blocks out of the tail. */
  private closeBlocks(): void {
    const end = this.text.lastIndexOf("\n") + 1;
    if (end <= this.start) return;
    const source = this.text.slice(this.start, end);
    const starts = blockStarts(source);
    let from = 0;
    for (const to of starts) {
      this.closed.push(chunkOf(source.slice(from, to)));
      from = to;
    }
    this.start += from;
  }

  /** Collects all definitions; chunks that refer to a new or changed one are parsed again. */
  private define(tail: Chunk): void {
    const definitions: Definitions = new Map();
    for (const chunk of [...this.closed, tail]) {
      for (const [label, value] of chunk.defined) if (!definitions.has(label)) definitions.set(label, value);
    }
    for (const label of changed(this.definitions, definitions)) {
      for (const chunk of this.closed) if (mentions(chunk, label)) chunk.tree = null;
    }
    this.definitions = definitions;
  }

  private parse(chunk: Chunk): Tree {
    const references: Record<string, { title: string; href: string }> = {};
    const refs: Record<string, number> = {};
    for (const [label, value] of this.definitions) {
      if (label.startsWith("^")) refs[`:${label.slice(1)}`] = -1;
      else references[label] = JSON.parse(value) as { title: string; href: string };
    }
    return treeOf(markdown.parse(chunk.source, { references, footnotes: { refs } }));
  }
}

/** Returns a chunk with its definitions. */
function chunkOf(source: string): Chunk {
  const defined: Definitions = new Map();
  if (source.includes("]:")) {
    const env: Env = {};
    markdown.block.parse(source, markdown, env, []);
    for (const [label, target] of Object.entries(env.references ?? {})) {
      defined.set(label, JSON.stringify(target));
    }
    const footnotes = env.footnotes as Footnotes | undefined;
    for (const label of Object.keys(footnotes?.refs ?? {})) defined.set(`^${label.slice(1)}`, "");
  }
  return { source, defined, tree: null };
}

/** Offsets of the top-level blocks that begin after a blank line. */
function blockStarts(source: string): number[] {
  if (!source.includes("\n\n") && !/\n[ \t]+\n/.test(source)) return [];
  const tokens: ReturnType<typeof markdown.parse> = [];
  markdown.block.parse(source, markdown, {}, tokens);
  const lines = new Set<number>();
  for (const { level, map, nesting } of tokens)
    if (level === 0 && map !== null && nesting >= 0) lines.add(map[0]);
  const starts: number[] = [];
  let offset = 0;
  let blank = false;
  for (let line = 0; offset < source.length; line++) {
    if (blank && lines.has(line)) starts.push(offset);
    const end = source.indexOf("\n", offset);
    blank = source.slice(offset, end).trim() === "";
    offset = end + 1;
  }
  return starts;
}

function changed(before: Definitions, after: Definitions): string[] {
  const labels = new Set([...before.keys(), ...after.keys()]);
  return [...labels].filter((label) => before.get(label) !== after.get(label));
}

function mentions(chunk: Chunk, label: string): boolean {
  return label.startsWith("^")
    ? chunk.source.includes(`[${label}]`)
    : markdown.utils.normalizeReference(chunk.source).includes(label);
}

function assemble(trees: readonly Tree[], before: Document): Document {
  const items: Item[] = [];
  const defined = new Map<string, readonly Node[]>();
  const labels = new Set<string>();
  for (const tree of trees) {
    items.push(...tree.items);
    for (const label of tree.noted) labels.add(label);
    for (const [label, nodes] of tree.notes) if (!defined.has(label)) defined.set(label, nodes);
  }
  // A footnote without a reference is shown as well.
  for (const label of defined.keys()) labels.add(label);
  const notes = [...labels].map((label) => ({ label, nodes: defined.get(label) ?? [] }));
  const same =
    notes.length === before.notes.length &&
    notes.every(({ label, nodes }, index) => {
      const note = before.notes[index];
      return note?.label === label && note.nodes === nodes;
    });
  return { nodes: pairTags(items), notes: same ? before.notes : notes };
}

/** Reuses equal nodes of the tree before, so that they are not rendered again. */
function shareTree(before: Tree, after: Tree): Tree {
  return { ...after, items: shareList(before.items, after.items) };
}

function shareList<Kind extends Item>(before: readonly Kind[], after: readonly Kind[]): readonly Kind[] {
  let same = before.length === after.length;
  const shared = after.map((item, index) => {
    const old = before[index];
    const result = old === undefined ? item : share(old, item);
    same &&= result === old;
    return result;
  });
  return same ? before : shared;
}

function share<Kind extends Item>(before: Kind, after: Kind): Kind {
  if (before.kind === "element" && after.kind === "element") {
    const children = shareList(before.children, after.children);
    const same =
      children === before.children && before.tag === after.tag && equal(before.attributes, after.attributes);
    return same ? before : { ...after, children };
  }
  return equal(before, after) ? before : after;
}

/** Whether two plain objects have the same fields. */
function equal(one: object, other: object): boolean {
  const fields = Object.entries(one);
  return (
    fields.length === Object.keys(other).length &&
    fields.every(([key, value]) => {
      const mine = (other as Record<string, unknown>)[key];
      return typeof value === "object" ? JSON.stringify(value) === JSON.stringify(mine) : value === mine;
    })
  );
}
