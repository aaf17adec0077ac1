import { createCodePlugin } from "@streamdown/code";
import { type ComponentProps, memo } from "react";
import { Streamdown } from "streamdown";

const plugins = { code: createCodePlugin({ themes: ["github-light", "github-dark"] }) };

/** A picture is shown as a link: fetching it would tell a third party what a model was made to say. */
function PictureLink({ src, alt }: ComponentProps<"img">) {
  if (typeof src !== "string") return null;
  return (
    <a className="font-medium text-primary underline" href={src} rel="noreferrer" target="_blank">
      {alt || src}
    </a>
  );
}

const components = { img: PictureLink };
const controls = { code: { download: false }, table: { download: false, fullscreen: false } };
const linkSafety = { enabled: false };

interface MarkdownProps {
  readonly text: string;
  /** Whether the text still grows: what is not closed yet is drawn as if it were. */
  readonly growing: boolean;
}

/** A model's answer, drawn while it grows: only the block that changes is parsed and drawn again. */
export const Markdown = memo(function Markdown({ text, growing }: MarkdownProps) {
  return (
    <Streamdown
      className="markdown break-words leading-7"
      components={components}
      controls={controls}
      isAnimating={growing}
      lineNumbers={false}
      linkSafety={linkSafety}
      parseIncompleteMarkdown={growing}
      plugins={plugins}
    >
      {text}
    </Streamdown>
  );
});
