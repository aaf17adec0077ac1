import { memo, useEffect, useRef, useState } from "react";
import { LazyModule, useLazyModule } from "../loading/lazy";
import { CopyButton } from "../ui/CopyButton";
import type { Span } from "./languages";

export const highlighter = new LazyModule(() => import("./languages"));

/** Characters of the longest code that is highlighted: highlighting longer code would block the page. */
const LONGEST = 20_000;
/** Milliseconds between two highlightings of growing code. */
const INTERVAL = 200;

interface CodeProps {
  readonly language: string;
  readonly text: string;
}

/** A block of code: scrolls horizontally, highlighted once the highlighter is loaded. */
export const Code = memo(function Code({ language, text }: CodeProps) {
  const lines = useHighlighted(language.toLowerCase(), text);
  return (
    <div className="code-block">
      <div className="code-tools" data-language={language}>
        <CopyButton className="code-copy" label="Copy the code" text={text} />
      </div>
      <pre aria-label={language === "" ? "Code" : `Code, ${language}`} dir="ltr" role="group" tabIndex={0}>
        <code>
          {lines === null
            ? text
            : lines.map((line, index) => <Line key={index} spans={line} last={index === lines.length - 1} />)}
        </code>
      </pre>
    </div>
  );
});

interface LineProps {
  readonly spans: readonly Span[];
  readonly last: boolean;
}

const Line = memo(
  function Line({ spans, last }: LineProps) {
    return (
      <>
        {spans.map(({ text, className }, index) =>
          className === "" ? (
            text
          ) : (
            <span className={className} key={index}>
              {text}
            </span>
          ),
        )}
        {!last && "\n"}
      </>
    );
  },
  (before, after) =>
    before.last === after.last &&
    before.spans.length === after.spans.length &&
    before.spans.every(({ text, className }, index) => {
      const span = after.spans[index];
      return span?.text === text && span.className === className;
    }),
);

interface Highlighted {
  readonly language: string;
  readonly text: string;
  readonly lines: readonly (readonly Span[])[] | null;
}

/** Highlights code after it is shown; text added since the last highlighting stays plain. */
function useHighlighted(language: string, text: string): readonly (readonly Span[])[] | null {
  const wanted = language !== "" && text.length <= LONGEST;
  const module = useLazyModule(highlighter, wanted);
  const [done, setDone] = useState<Highlighted | null>(null);
  const last = useRef(0);

  useEffect(() => {
    if (module === null || !wanted) return;
    const wait = Math.max(0, last.current + INTERVAL - performance.now());
    const timer = setTimeout(() => {
      last.current = performance.now();
      setDone({ language, text, lines: module.highlight(text, language) });
    }, wait);
    return () => clearTimeout(timer);
  }, [module, wanted, language, text]);

  if (!wanted || done?.lines == null || done.language !== language || !text.startsWith(done.text))
    return null;
  const rest = text.slice(done.text.length).split("\n");
  if (rest.length === 1 && rest[0] === "") return done.lines;
  const joined = [...(done.lines.at(-1) ?? []), { text: rest[0] ?? "", className: "" }];
  return [
    ...done.lines.slice(0, -1),
    joined,
    ...rest.slice(1).map((line) => [{ text: line, className: "" }]),
  ];
}
