import type { BranchItem } from "parley-client";
import { useRef } from "react";
import type { Entry } from "./entries";

const ANNOUNCEMENTS: Record<string, string> = {
  pending: "Thinking.",
  streaming: "Answering.",
  complete: "The answer is complete.",
  stopped: "The answer was stopped.",
  failed: "The answer failed.",
  awaiting_approval: "A tool waits for your approval.",
};

interface AnnouncerProps {
  readonly chatId: string | null;
  readonly entries: readonly Entry[];
}

/**
 * Announces the status of the newest answer to screen readers when it changes: not for a chat that is opened with a
 * complete answer, and not for another version that is chosen. The text is not announced while it grows: a live region
 * that speaks every token is unusable.
 */
export function Announcer({ chatId, entries }: AnnouncerProps) {
  const answer = entries.findLast((entry) => entry.kind === "answer");
  const id = answer?.id ?? null;
  const awaited = entries.at(-1)?.kind === "prompt";
  const status = answer === undefined ? "" : statusOf(answer.item);
  const seen = useRef({ chatId, id, status, awaited, announcement: "" });
  const before = seen.current;
  if (
    before.chatId !== chatId ||
    before.id !== id ||
    before.status !== status ||
    before.awaited !== awaited
  ) {
    const running = ["pending", "streaming", "awaiting_approval"].includes(status);
    const watched = before.chatId === chatId && before.id === id && before.status !== status;
    // A fast answer may be complete when it is first shown: it is announced because a prompt awaited it.
    const begun = before.chatId === chatId && before.id !== id && (running || before.awaited);
    const announcement = watched || begun ? (ANNOUNCEMENTS[status] ?? "") : "";
    seen.current = { chatId, id, status, awaited, announcement };
  }
  return (
    <p aria-live="polite" className="sr-only" data-testid="announcer" role="status">
      {seen.current.announcement}
    </p>
  );
}

function statusOf({ message, generation }: BranchItem): string {
  if (generation?.tool_calls.some((call) => call.status === "awaiting_approval")) return "awaiting_approval";
  return generation?.text ? "streaming" : message.status;
}
