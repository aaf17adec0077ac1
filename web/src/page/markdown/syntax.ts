import MarkdownIt, { type StateBlock, type StateInline } from "markdown-it";
import footnotes from "markdown-it-footnote";

/**
 * The Markdown of answers: CommonMark with tables, strikethrough, bare addresses, footnotes and maths.
 *
 * Raw HTML is tokenized here; `tree.ts` decides which of it becomes an element and which is text.
 */
export const markdown = new MarkdownIt({ html: true, linkify: true });

// What looks like a host name or a mail address is as often a file or a version: only whole addresses become links.
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
// Every link is parsed, and `links.ts` decides where it may lead: refused here, its source would show instead.
markdown.validateLink = () => true;

markdown.use(footnotes);
// Footnotes are gathered from all chunks of a document, and `^[…]` is no footnote on GitHub either.
markdown.core.ruler.disable("footnote_tail");
markdown.inline.ruler.disable("footnote_inline");

markdown.inline.ruler.before("escape", "maths", maths);
markdown.block.ruler.before("fence", "maths_block", mathsBlock, {
  alt: ["paragraph", "reference", "blockquote", "list"],
});

/** Levels of lists and quotes; content that is nested deeper is shown as its source. */
const DEEPEST = 60;

markdown.block.ruler.before("table", "too_deep", (state, startLine, endLine, silent) => {
  if (state.level < DEEPEST) return false;
  if (silent) return true;
  const token = state.push("literal", "", 0);
  token.content = state.getLines(startLine, endLine, state.blkIndent, false);
  token.map = [startLine, endLine];
  state.line = endLine;
  return true;
});

const BACKSLASH = 0x5c;
const DOLLAR = 0x24;
const SPACE = /\s/;
/** Characters next to a dollar sign of a price, a variable or a command, which delimits no maths. */
const WORD = /[\p{L}\p{N}_$({[]/u;

/** `\(…\)`, `\[…\]`, `$$…$$` and, where it cannot be a price or a shell variable, `$…$`. */
function maths(state: StateInline, silent: boolean): boolean {
  const { src, pos, posMax } = state;
  const first = src.charCodeAt(pos);
  if (first !== BACKSLASH && first !== DOLLAR) return false;
  const [open, close, display] = delimiters(src, pos);
  if (open === "") return false;
  const start = pos + open.length;
  const end = close === "$" ? endOfDollar(src, pos, posMax) : find(src, close, start, posMax);
  if (end < 0 || !isFormula(src.slice(start, end), open)) return false;
  if (!silent) {
    const token = state.push("maths_inline", "", 0);
    token.content = src.slice(start, end);
    token.markup = src.slice(pos, end + close.length);
    token.meta = { display };
  }
  state.pos = end + close.length;
  return true;
}

function delimiters(src: string, pos: number): [open: string, close: string, display: boolean] {
  if (src.startsWith("\\(", pos)) return ["\\(", "\\)", false];
  if (src.startsWith("\\[", pos)) return ["\\[", "\\]", true];
  if (src.startsWith("$$", pos)) return ["$$", "$$", true];
  return src[pos] === "$" ? ["$", "$", false] : ["", "", false];
}

/**
 * Whether a text between delimiters is maths. `\[` is also how Markdown spells a bracket that opens no link, as in
 * `\[[more](…)\]` and `\[optional\]`.
 */
function isFormula(content: string, open: string): boolean {
  if (!/[\p{L}\p{N}]/u.test(content) || content.includes("](")) return false;
  return open !== "\\[" || (/^\s|\\[a-zA-Z,;!{]|[\^_=+]/.test(content) && !content.includes("\\["));
}

/** Returns where `text` is next, unless a backslash escapes it; -1 when it is nowhere. */
function find(src: string, text: string, from: number, max: number): number {
  for (let at = src.indexOf(text, from); at >= 0 && at + text.length <= max; at = src.indexOf(text, at + 1)) {
    let before = at;
    while (before > from && src.charCodeAt(before - 1) === BACKSLASH) before--;
    if ((at - before) % 2 === 0) return at;
  }
  return -1;
}

/**
 * Returns where the maths of a single `$` ends: on the same line, with neither sign next to a word or a space that
 * would make it a price or a variable. -1 where it is none.
 */
function endOfDollar(src: string, pos: number, max: number): number {
  if (pos > 0 && /[\p{L}\p{N}_$\\]/u.test(src.charAt(pos - 1))) return -1;
  if (SPACE.test(src.charAt(pos + 1)) || src.charAt(pos + 1) === "") return -1;
  const end = find(src, "$", pos + 1, max);
  if (end < 0 || SPACE.test(src.charAt(end - 1)) || WORD.test(src.charAt(end + 1))) return -1;
  const content = src.slice(pos + 1, end);
  return content.includes("\n") || content.includes("`") ? -1 : end;
}

/** Maths on lines of its own, which end at a blank line at the latest, as in TeX. */
function mathsBlock(state: StateBlock, startLine: number, endLine: number, silent: boolean): boolean {
  const line = (number: number) =>
    state.src.slice((state.bMarks[number] ?? 0) + (state.tShift[number] ?? 0), state.eMarks[number]);
  if ((state.sCount[startLine] ?? 0) - state.blkIndent >= 4) return false;
  const first = line(startLine);
  const open = first.startsWith("$$") ? "$$" : first.startsWith("\\[") ? "\\[" : null;
  if (open === null) return false;
  const close = open === "$$" ? "$$" : "\\]";
  const lines = [first.slice(2)];
  let next = startLine;
  for (;;) {
    const current = (lines.at(-1) ?? "").trimEnd();
    const at = find(current, close, 0, current.length);
    if (at >= 0 && at + 2 !== current.length) return false;
    if (at >= 0) {
      lines[lines.length - 1] = current.slice(0, at);
      break;
    }
    next += 1;
    if (next >= endLine || state.isEmpty(next) || (state.sCount[next] ?? 0) < state.blkIndent) return false;
    lines.push(line(next));
  }
  const content = lines.join("\n");
  if (!isFormula(content, open)) return false;
  if (silent) return true;
  state.line = next + 1;
  const token = state.push("maths_block", "", 0);
  token.block = true;
  token.content = content.trim();
  token.markup = state.getLines(startLine, state.line, state.blkIndent, false);
  token.map = [startLine, state.line];
  return true;
}
