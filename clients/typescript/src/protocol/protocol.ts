/**
 * What travels between the browser and Parley: protocol version 1. A reader ignores frame types and fields that it
 * does not know. See `docs/protocol.md`.
 */

import type {
  ErrorFrame,
  ListedFrame,
  Message,
  ReadyFrame,
  RejectedFrame,
  RelistFrame,
  ServerFrame,
} from "./frames.ts";
import { SERVER_FRAMES } from "./frames.ts";
import { isValid } from "./validate.ts";

export type {
  Chat,
  ChatFrame,
  ChatSummary,
  ClientFrame,
  Cursor,
  DeltaFrame,
  ErrorFrame,
  GenerationFrame,
  ListedFrame,
  Message,
  MessageError,
  MessageFrame,
  ReadyFrame,
  RejectedFrame,
  RelistFrame,
  RunningAnswer,
  ServerFrame,
  SnapshotFrame,
  Usage,
} from "./frames.ts";

/** A page of a list. `next` is an opaque cursor for `before=`; null at the end. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly next: string | null;
}

/** A frame about one chat, which {@link merge} takes. */
export type RoomFrame = Exclude<ServerFrame, ReadyFrame | ListFrame | RejectedFrame | ErrorFrame>;
/** A frame about the user's list of chats. */
export type ListFrame = ListedFrame | RelistFrame;
/** What a chat's listener is given. */
export type ListenerFrame = Exclude<ServerFrame, ReadyFrame | ListFrame>;

/** Decodes a frame; null for what is not a frame that this version knows, or not as the contracts say. */
export function decodeFrame(data: unknown): ServerFrame | null {
  if (typeof data !== "string") return null;
  try {
    const frame: unknown = JSON.parse(data);
    const type = (frame as { type?: unknown } | null)?.type;
    if (typeof type !== "string" || !Object.hasOwn(SERVER_FRAMES, type)) return null;
    return isValid(SERVER_FRAMES[type as keyof typeof SERVER_FRAMES], frame) ? (frame as ServerFrame) : null;
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
