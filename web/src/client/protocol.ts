/**
 * What travels between the browser and Parley: resources, the frames of protocol version 1, and close codes.
 *
 * Names are those of the JSON, so that a field is called the same in the database, in Python and here. A reader
 * ignores frame types and fields that it does not know. See `docs/protocol.md`.
 */

export type PromptStatus = "queued" | "sent" | "deleted" | "rejected";
export type AnswerStatus = "pending" | "streaming" | "complete" | "stopped" | "failed";

export interface MessageError {
  /** For programs. */
  readonly code: string;
  /** For people. */
  readonly message: string;
  readonly retryable: boolean;
}

export interface Usage {
  readonly input_tokens: number;
  readonly output_tokens: number;
  /** Not counted by the provider: of an answer that was stopped or failed before it gave its count. */
  readonly estimated?: boolean;
}

/** A prompt (`role` user) or an answer (`role` assistant): a node in its chat's tree. */
export interface Message {
  readonly id: string;
  readonly chat_id: string;
  /** The message before it; null for a root, and for a queued prompt whose place is not known yet. */
  readonly parent_id: string | null;
  readonly role: "user" | "assistant";
  readonly author_id: string | null;
  /** Empty while an answer is pending or streaming: the running text is in {@link RunningAnswer}. */
  readonly content: string;
  readonly reasoning: string;
  readonly status: PromptStatus | AnswerStatus;
  readonly model: string | null;
  readonly error: MessageError | null;
  readonly usage: Usage | null;
  /** ISO 8601, UTC. */
  readonly created_at: string;
  /** The chat's version at this message's last change. */
  readonly version: number;
  /** Why the model ended the answer: `stop`, `length`, `tool_calls`, `content_filter`, or the provider's own word. */
  readonly finish_reason?: string | null;
}

export interface Chat {
  readonly id: string;
  readonly owner_id: string;
  readonly title: string | null;
  readonly model: string | null;
  readonly system_prompt: string | null;
  /** The message that the newest turn ended with: the end of the branch shown by default. */
  readonly tip_id: string | null;
  readonly created_at: string;
  readonly updated_at: string;
  readonly version: number;
  readonly running: boolean;
}

/** A page of a list. `next` is an opaque cursor for `before=`; null at the end. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly next: string | null;
}

/** What a reader already has. Without `generation_id` it has no running answer. */
export interface Cursor {
  readonly version: number;
  readonly generation_id?: string;
  readonly attempt?: number;
  readonly seq?: number;
}

/** The running answer within a snapshot. */
export interface RunningAnswer {
  readonly generation_id: string;
  readonly message_id: string;
  /** 0 while no worker has claimed it. */
  readonly attempt: number;
  readonly status: "requested" | "running" | "retrying";
  /** The number of the last chunk in `text` and `reasoning`. */
  readonly seq: number;
  /** 0: `text` and `reasoning` are whole, replace. Else they start behind seq `after`: append. */
  readonly after: number;
  readonly text: string;
  readonly reasoning: string;
}

export interface ReadyFrame {
  readonly type: "ready";
  readonly protocol: number;
  readonly user_id: string;
}

export interface SnapshotFrame {
  readonly type: "snapshot";
  readonly chat_id: string;
  readonly version: number;
  /** True: `messages` are those that changed since the cursor. False: the newest page; replace. */
  readonly recovered: boolean;
  readonly chat: Chat;
  readonly messages: readonly Message[];
  readonly generation: RunningAnswer | null;
  readonly next?: string | null;
}

export interface MessageFrame {
  readonly type: "message";
  readonly chat_id: string;
  readonly version: number;
  readonly message: Message;
}

export interface GenerationFrame {
  readonly type: "generation";
  readonly chat_id: string;
  readonly generation_id: string;
  readonly message_id: string;
  readonly attempt: number;
  readonly status: "started" | "retrying";
  readonly retry_at?: string | null;
}

/** The newest chunks of the running answer. `from`–`to` number them within the attempt, from 1, without a gap. */
export interface DeltaFrame {
  readonly type: "delta";
  readonly chat_id: string;
  readonly generation_id: string;
  readonly attempt: number;
  readonly from: number;
  readonly to: number;
  readonly kind: "text" | "reasoning";
  readonly text: string;
}

export interface ChatFrame {
  readonly type: "chat";
  readonly chat_id: string;
  readonly version: number;
  /** Null: the chat was deleted, or the reader was removed from it. */
  readonly chat: Chat | null;
}

export interface ErrorFrame {
  readonly type: "error";
  readonly code: string;
  readonly message: string;
  readonly chat_id?: string | null;
}

/** A message of this user was accepted and could not be stored. */
export interface RejectedFrame {
  readonly type: "rejected";
  readonly chat_id: string;
  readonly message_id: string;
  readonly error: MessageError;
}

/** A frame about one chat, which {@link merge} takes. */
export type RoomFrame = SnapshotFrame | MessageFrame | GenerationFrame | DeltaFrame | ChatFrame;
export type ServerFrame = RoomFrame | ReadyFrame | RejectedFrame | ErrorFrame;
/** What a chat's listener is given. */
export type ListenerFrame = RoomFrame | RejectedFrame | ErrorFrame;

export type ClientFrame =
  | { readonly type: "auth"; readonly ticket: string }
  | { readonly type: "watch"; readonly chat_id: string; readonly after: Cursor | null }
  | { readonly type: "unwatch"; readonly chat_id: string };

const SERVER_FRAMES = new Set([
  "ready",
  "snapshot",
  "message",
  "generation",
  "delta",
  "chat",
  "rejected",
  "error",
]);

/** Decodes a frame; null for what is not a frame that this version knows. */
export function decodeFrame(data: unknown): ServerFrame | null {
  if (typeof data !== "string") return null;
  try {
    const frame = JSON.parse(data) as { type?: unknown } | null;
    return typeof frame?.type === "string" && SERVER_FRAMES.has(frame.type) ? (frame as ServerFrame) : null;
  } catch {
    return null;
  }
}

/** What to do after the server closed a socket. */
export type AfterClose = "reconnect" | "stop";

/** Reads a close code: 4400–4499 say that trying again would end the same way; after all others, reconnect. */
export function afterClose(code: number): AfterClose {
  return code >= 4400 && code <= 4499 ? "stop" : "reconnect";
}

/** Whether a close code is one that push itself gives; others come from something in between, or from nowhere. */
export function saysWhy(code: number): boolean {
  return code === 1001 || (code >= 4000 && code <= 4499);
}

const TERMINAL = new Set<Message["status"]>(["complete", "stopped", "failed"]);

/** Whether an answer is over. A terminal status is never left again: "done" means stored. */
export function isTerminal(status: Message["status"]): boolean {
  return TERMINAL.has(status);
}
