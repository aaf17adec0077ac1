import { NextIcon, PreviousIcon } from "../ui/icons";

interface BranchSwitchProps {
  readonly id: string;
  readonly siblings: readonly string[];
  onChoose(id: string): void;
}

/** Switches between the versions of a prompt or an answer: ‹ 1/2 ›. Renders nothing for a single version. */
export function BranchSwitch({ id, siblings, onChoose }: BranchSwitchProps) {
  if (siblings.length < 2) return null;
  const index = siblings.indexOf(id);
  const previous = siblings[index - 1];
  const next = siblings[index + 1];
  return (
    <span className="flex items-center text-muted-foreground text-xs" data-testid="branch">
      <button
        aria-label="The version before"
        className="icon-button"
        disabled={previous === undefined}
        onClick={() => previous !== undefined && onChoose(previous)}
        type="button"
      >
        <PreviousIcon className="size-4" />
      </button>
      <span className="tabular-nums">
        <span className="sr-only">Version </span>
        {index + 1}/{siblings.length}
      </span>
      <button
        aria-label="The version after"
        className="icon-button"
        disabled={next === undefined}
        onClick={() => next !== undefined && onChoose(next)}
        type="button"
      >
        <NextIcon className="size-4" />
      </button>
    </span>
  );
}
