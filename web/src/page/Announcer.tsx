import type { Entry } from "./transcript";

const SAID: Record<string, string> = {
  pending: "Thinking.",
  streaming: "Answering.",
  complete: "The answer is complete.",
  stopped: "The answer was stopped.",
  failed: "The answer failed.",
};

interface AnnouncerProps {
  readonly entries: readonly Entry[];
}

/**
 * Tells a screen reader how the newest answer is. Not its text while that grows: a live region that speaks every token
 * cannot be listened to.
 */
export function Announcer({ entries }: AnnouncerProps) {
  const answer = entries.findLast((entry) => entry.kind === "answer");
  const status =
    answer === undefined ? "" : answer.item.generation?.text ? "streaming" : answer.item.message.status;
  return (
    <p aria-live="polite" className="sr-only" role="status">
      {SAID[status] ?? ""}
    </p>
  );
}
