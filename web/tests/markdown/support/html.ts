import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { type Document, MarkdownDocument } from "../../../src/page/markdown/document";
import { Block, Notes, NotesContext } from "../../../src/page/markdown/render";

/** The HTML that the page draws for a text. */
export function html(text: string): string {
  return htmlOf(new MarkdownDocument().update(text));
}

export function htmlOf({ nodes, notes }: Document): string {
  return renderToStaticMarkup(
    createElement(
      NotesContext,
      { value: notes },
      ...nodes.map((node, key) => createElement(Block, { key, node })),
      createElement(Notes, { notes }),
    ),
  );
}
