import {
  type BranchItem,
  type ChatSnapshot,
  type ChatState,
  type Message,
  type OutgoingMessage,
  queuedPrompts,
  visibleBranch,
} from "parley-client";

/** A prompt of the transcript: in the tree, queued, or outgoing. */
export interface PromptEntry {
  readonly kind: "prompt";
  readonly id: string;
  readonly content: string;
  readonly status: Message["status"] | OutgoingMessage["status"];
  /** The error of sending it, or the limit that delays it, for people. */
  readonly problem: string | null;
  /** When that limit allows it again; null: no limit delays it. */
  readonly retryAt: string | null;
  /** Whether it may be accepted when it is sent again. */
  readonly retryable: boolean;
  /** The number of prompts before it in the queue. */
  readonly ahead: number;
  /** Its item of the branch; null while it is not in the tree. */
  readonly item: BranchItem | null;
}

export interface AnswerEntry {
  readonly kind: "answer";
  readonly id: string;
  readonly item: BranchItem;
}

export type Entry = PromptEntry | AnswerEntry;

/**
 * Returns the transcript from top to bottom: the branch, the queued prompts, and the outgoing messages.
 *
 * An outgoing edited prompt is shown at the end of the branch from which it forks.
 */
export function entriesOf({ state, outbox }: ChatSnapshot, leaf: string | null): Entry[] {
  const fork = outbox.find((message) => message.parent_id !== undefined);
  const branch = fork?.parent_id === null ? [] : visibleBranch(state, fork?.parent_id ?? leaf);
  return [
    ...branch.map(placed),
    ...queuedPrompts(state).map(
      ({ id, content, status }, ahead): Entry => ({
        kind: "prompt",
        id,
        content,
        status,
        problem: null,
        retryAt: null,
        retryable: false,
        ahead,
        item: null,
      }),
    ),
    ...outbox.map(
      ({ id, content, status, problem, retry_at, retryable }): Entry => ({
        kind: "prompt",
        id,
        content,
        status,
        problem,
        retryAt: retry_at ?? null,
        retryable,
        ahead: 0,
        item: null,
      }),
    ),
  ];
}

function placed(item: BranchItem): Entry {
  const { id, role, content, status } = item.message;
  return role === "assistant"
    ? { kind: "answer", id, item }
    : { kind: "prompt", id, content, status, problem: null, retryAt: null, retryable: false, ahead: 0, item };
}

/** Whether an answer is requested or running, and can be stopped. */
export function isRunning({ state, outbox }: ChatSnapshot): boolean {
  return (
    state.generation !== null ||
    state.chat?.running === true ||
    outbox.some(({ status }) => status === "accepted")
  );
}

/** Returns the answer that is requested or running; null when it is not known. */
export function runningAnswer({ messages, generation }: ChatState): Message | null {
  return (
    messages.find(({ id }) => id === generation?.message_id) ??
    messages.find(({ status }) => status === "pending" || status === "streaming") ??
    null
  );
}

/** Whether a message is a descendant of another one. */
export function isBelow({ messages }: ChatState, message: Message, ancestorId: string): boolean {
  const parents = new Map(messages.map(({ id, parent_id }) => [id, parent_id]));
  let at: string | null | undefined = message.parent_id;
  for (let steps = 0; at && steps < messages.length; steps++) {
    if (at === ancestorId) return true;
    at = parents.get(at);
  }
  return false;
}

/** Returns the first title of a chat: the beginning of its first prompt. */
export function titleFrom(content: string): string {
  const line = content.trim().split("\n", 1)[0]?.trim() ?? "";
  const characters = [...line];
  return characters.length > 60 ? `${characters.slice(0, 59).join("").trimEnd()}…` : line;
}
