import { useEffect, useState } from "react";
import { copyText } from "./clipboard";
import { CheckIcon, CopyIcon } from "./icons";

interface CopyButtonProps {
  readonly text: string;
  readonly label: string;
  readonly className?: string;
}

/** Copies a text to the clipboard and shows the outcome for a moment. */
export function CopyButton({ text, label, className = "" }: CopyButtonProps) {
  const [outcome, setOutcome] = useState<"copied" | "refused" | null>(null);
  useEffect(() => {
    if (outcome === null) return;
    const timer = setTimeout(() => setOutcome(null), 2000);
    return () => clearTimeout(timer);
  }, [outcome]);
  const copied = outcome === "copied";
  return (
    <button
      aria-label={copied ? "Copied" : outcome === "refused" ? "The browser does not allow copying" : label}
      className={`icon-button ${className}`}
      onClick={() =>
        copyText(text).then(
          () => setOutcome("copied"),
          () => setOutcome("refused"),
        )
      }
      title={label}
      type="button"
    >
      {copied ? <CheckIcon className="size-4" /> : <CopyIcon className="size-4" />}
    </button>
  );
}
