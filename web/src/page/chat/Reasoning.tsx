import { useState } from "react";

interface ReasoningProps {
  readonly text: string;
  /** Whether the answer itself has not started: then it is open, unless the reader closed it. */
  readonly thinking: boolean;
}

/** The model's reasoning before its answer. */
export function Reasoning({ text, thinking }: ReasoningProps) {
  const [chosen, setChosen] = useState<boolean | null>(null);
  const open = chosen ?? thinking;
  return (
    <details className="mb-2 text-sm" data-testid="reasoning" open={open}>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: a summary is a button by itself */}
      <summary
        className="w-fit select-none rounded text-muted-foreground hover:text-foreground"
        onClick={(event) => {
          event.preventDefault();
          setChosen(!open);
        }}
      >
        <span className={thinking ? "shimmer" : ""}>{thinking ? "Thinking…" : "Reasoning"}</span>
      </summary>
      <p
        className="mt-2 whitespace-pre-wrap break-words border-l-2 pl-3 text-muted-foreground leading-6"
        dir="auto"
      >
        {text}
      </p>
    </details>
  );
}
