import { useEffect, useState } from "react";
import { copyText } from "./clipboard";
import { AlertIcon, CheckIcon, CopyIcon } from "./icons";

interface CopyButtonProps {
  readonly text: string;
  readonly label: string;
  readonly className?: string;
}

const OUTCOMES = { copied: "Copied", refused: "The browser does not allow copying" };

/** Copies a text to the clipboard and shows the outcome for a moment. */
export function CopyButton({ text, label, className = "" }: CopyButtonProps) {
  const [outcome, setOutcome] = useState<"copied" | "refused" | null>(null);
  useEffect(() => {
    if (outcome === null) return;
    const timer = setTimeout(() => setOutcome(null), 2000);
    return () => clearTimeout(timer);
  }, [outcome]);
  const shown = outcome === null ? label : OUTCOMES[outcome];
  const Icon = outcome === null ? CopyIcon : outcome === "copied" ? CheckIcon : AlertIcon;
  return (
    <button
      aria-label={shown}
      className={`icon-button ${className}`}
      onClick={() =>
        copyText(text).then(
          () => setOutcome("copied"),
          () => setOutcome("refused"),
        )
      }
      title={shown}
      type="button"
    >
      <Icon className="size-4" />
    </button>
  );
}
