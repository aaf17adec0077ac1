import { type MouseEvent, memo, useRef, useState } from "react";
import remend from "remend";
import { MarkdownDocument } from "./document";
import { Block, Notes, NotesContext } from "./render";
import { useRenderedLength } from "./renderQueue";

/** Characters at the end of a growing text in which open emphasis and links are completed. */
const UNFINISHED = 4_000;

interface MarkdownProps {
  readonly text: string;
  /** Whether the text still grows: markup that is not closed yet is rendered as if it were. */
  readonly growing: boolean;
}

/**
 * A Markdown text. While it grows, only the changing part is parsed and rendered again. A complete text is rendered in the
 * background, piece by piece, so that a long chat opens without blocking the page.
 */
export const Markdown = memo(function Markdown({ text, growing }: MarkdownProps) {
  const [atOnce] = useState(growing);
  const drawn = useRenderedLength(text.length, atOnce);
  const whole = drawn >= text.length;
  const document = useRef<MarkdownDocument>(null);
  document.current ??= new MarkdownDocument();
  const { nodes, notes } = document.current.update(
    whole ? text : text.slice(0, drawn),
    growing || !whole ? finish : undefined,
  );
  return (
    <NotesContext value={notes}>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: it handles clicks on the links within */}
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: a key on a link fires a click */}
      <div className="markdown" data-drawn={whole} onClick={jump}>
        {nodes.map((node, index) => (
          <Block key={index} node={node} />
        ))}
        <Notes notes={notes} />
      </div>
    </NotesContext>
  );
});

/** Closes open markup at the end: the marks of an incomplete word would flicker otherwise. */
function finish(tail: string): string {
  if (tail.length > UNFINISHED) return tail;
  return remend(tail, {
    comparisonOperators: false,
    htmlTags: false,
    images: false,
    inlineKatex: false,
    katex: false,
    linkMode: "text-only",
    singleTilde: false,
  });
}

/** Follows a link within the message: the names of headings are unique in one message only. */
function jump(event: MouseEvent<HTMLElement>): void {
  const link = (event.target as Element).closest("a");
  const href = link?.getAttribute("href");
  if (!href?.startsWith("#")) return;
  event.preventDefault();
  const name = decoded(href.slice(1));
  const target = [...event.currentTarget.querySelectorAll<HTMLElement>("[data-anchor]")].find(
    ({ dataset }) => dataset.anchor === name || dataset.anchor === name.toLowerCase(),
  );
  target?.scrollIntoView({ block: "start" });
  target?.focus({ preventScroll: true });
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
