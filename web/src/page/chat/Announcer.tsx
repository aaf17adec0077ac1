import { useRef } from "react";
import type { Entry } from "./entries";

const SAID: Record<string, string> = {
  pending: "Thinking.",
  streaming: "Answering.",
  complete: "The answer is complete.",
  stopped: "The answer was stopped.",
  failed: "The answer failed.",
};

interface AnnouncerProps {
  readonly chatId: string | null;
  readonly entries: readonly Entry[];
}

/**
 * Tells a screen reader how the newest answer is, when that changes before the reader's eyes: not of a chat that was
 * opened with its answer complete, nor of another version that is looked at. Not its text while that grows: a live
 * region that speaks every token cannot be listened to.
 */
export function Announcer({ chatId, entries }: AnnouncerProps) {
  const answer = entries.findLast((entry) => entry.kind === "answer");
  const id = answer?.id ?? null;
  const awaited = entries.at(-1)?.kind === "prompt";
  const status =
    answer === undefined ? "" : answer.item.generation?.text ? "streaming" : answer.item.message.status;
  const seen = useRef({ chatId, id, status, awaited, said: "" });
  const before = seen.current;
  if (
    before.chatId !== chatId ||
    before.id !== id ||
    before.status !== status ||
    before.awaited !== awaited
  ) {
    const running = status === "pending" || status === "streaming";
    const watched = before.chatId === chatId && before.id === id && before.status !== status;
    // A fast answer is complete when it is first seen: it is announced because a prompt awaited it.
    const begun = before.chatId === chatId && before.id !== id && (running || before.awaited);
    const said = watched || begun ? (SAID[status] ?? "") : "";
    seen.current = { chatId, id, status, awaited, said };
  }
  return (
    <p aria-live="polite" className="sr-only" data-testid="announcer" role="status">
      {seen.current.said}
    </p>
  );
}
