/**
 * The protocol between a browser and Parley, version 1. A reader ignores unknown frame types and fields. See `docs/protocol.md`.
 */

import type {
  ErrorFrame,
  InvitationsFrame,
  ListedFrame,
  Message,
  PresenceFrame,
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
  InvitationsFrame,
  ListedFrame,
  Message,
  MessageError,
  MessageFrame,
  PresenceFrame,
  PresentUser,
  ReadyFrame,
  RejectedFrame,
  RelistFrame,
  RunningAnswer,
  ServerFrame,
  SnapshotFrame,
  Span,
  ToolCall,
  ToolDelta,
  Usage,
} from "./frames.ts";

/** A page of a list. `next` is the opaque cursor for `before=`; null at the end. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly next: string | null;
}

/** A frame about one chat: the input of {@link merge}. */
export type RoomFrame = Exclude<
  ServerFrame,
  ReadyFrame | UserFrame | PresenceFrame | RejectedFrame | ErrorFrame
>;
/** A frame about the user's list of chats. */
export type ListFrame = ListedFrame | RelistFrame;
/** A frame about the user, whatever is watched. */
export type UserFrame = ListFrame | InvitationsFrame;
/** A frame that a chat's subscriber receives. */
export type ListenerFrame = Exclude<ServerFrame, ReadyFrame | UserFrame>;

/** Whether a frame is about the user, and not about a chat that is watched. */
export function isUserFrame(frame: ListenerFrame | UserFrame): frame is UserFrame {
  return frame.type === "listed" || frame.type === "relist" || frame.type === "invitations";
}

/** Decodes and validates a frame; null for an unknown type or a frame that does not match its schema. */
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

/** The close code of a socket whose session or API key was revoked or has ended. */
export const SESSION_ENDED = 4410;

/** What a client does after the server closed a socket. */
export type AfterClose = "reconnect" | "stop";

/** Interprets a close code: 4400–4499 are permanent errors; after all others, the client reconnects. */
export function afterClose(code: number): AfterClose {
  return code >= 4400 && code <= 4499 ? "stop" : "reconnect";
}

/** Whether push itself sent this close code; all others come from a proxy or from a lost connection. */
export function isPushCloseCode(code: number): boolean {
  return code === 1001 || (code >= 4000 && code <= 4499);
}

const TERMINAL = new Set<Message["status"]>(["complete", "stopped", "failed"]);

/** Whether a status is terminal: the answer is stored, and its status does not change any more. */
export function isTerminal(status: Message["status"]): boolean {
  return TERMINAL.has(status);
}
