import {
  type Chat,
  type Cursor,
  type DeltaFrame,
  type GenerationFrame,
  isTerminal,
  type Message,
  type MessageFrame,
  type Page,
  type RoomFrame,
  type RunningAnswer,
  type SnapshotFrame,
} from "../protocol/protocol.ts";
import { type Calls, callsOf, extendLayout, mergeTool, NO_CALLS } from "./toolCalls.ts";

/** The running answer, assembled so far. */
export interface Generation extends Calls {
  readonly generation_id: string;
  readonly message_id: string;
  readonly attempt: number;
  readonly status: RunningAnswer["status"];
  readonly seq: number;
  readonly text: string;
  readonly reasoning: string;
  /** While `retrying`: the time of the next attempt, when the worker named one (ISO 8601). */
  readonly retry_at: string | null;
}

/** A reader's state of one chat. Immutable: a frame that changes nothing returns the same object. */
export interface ChatState {
  readonly chat_id: string;
  /** Whether the cursor is valid: a snapshot was applied, and no gap or deletion followed. */
  readonly synced: boolean;
  readonly version: number;
  /** The highest version of which all frames have certainly arrived; see {@link cursorOf}. */
  readonly complete_version: number;
  readonly chat: Chat | null;
  readonly deleted: boolean;
  /** In order of creation, oldest first, including tombstones (`deleted`). */
  readonly messages: readonly Message[];
  /** The cursor of the page of older messages; null at the beginning of the chat. */
  readonly next: string | null;
  readonly generation: Generation | null;
  /** The generation that ended last: its later frames are ignored. */
  readonly ended_generation_id: string | null;
}

/**
 * The outcome of a frame. `gap`: a frame before it is missing; only `synced` changes, and the reader watches again with
 * {@link cursorOf}.
 */
export type Outcome = "applied" | "ignored" | "gap";

export interface Merged {
  readonly state: ChatState;
  readonly outcome: Outcome;
}

/** The state before the first snapshot. */
export function emptyState(chatId: string): ChatState {
  return {
    chat_id: chatId,
    synced: false,
    version: 0,
    complete_version: 0,
    chat: null,
    deleted: false,
    messages: [],
    next: null,
    generation: null,
    ended_generation_id: null,
  };
}

/**
 * Returns the cursor to resume from; null when a full snapshot is needed.
 *
 * One change of a chat can be several frames of one version, and a socket can close between two of them. So the cursor
 * names the version *before* the newest: a few messages are repeated, and none is lost.
 */
export function cursorOf(state: ChatState): Cursor | null {
  if (!state.synced) return null;
  if (state.generation === null) return { version: state.complete_version };
  const { generation_id, attempt, seq } = state.generation;
  return { version: state.complete_version, generation_id, attempt, seq };
}

/** Applies one frame to a reader's state. Pure: no clock, no I/O. The cases are in `tests/cases/frames.json`. */
export function merge(state: ChatState, frame: RoomFrame): Merged {
  if (frame.chat_id !== state.chat_id) return ignored(state);
  if (frame.type === "snapshot") return mergeSnapshot(state, frame);
  if (!state.synced) return ignored(state);
  switch (frame.type) {
    case "delta":
      return mergeDelta(state, frame);
    case "generation":
      return mergeGeneration(state, frame);
    case "message":
      return mergeMessage(state, frame);
    case "chat":
      if (frame.chat === null) {
        return applied({ ...state, synced: false, deleted: true, chat: null, generation: null });
      }
      if (state.chat !== null && frame.chat.version < state.chat.version) return ignored(state);
      return applied({ ...state, ...advance(state, frame.version), chat: frame.chat });
    default:
      return ignored(state);
  }
}

/**
 * Adds a page of older messages, read over HTTP with `before=state.next`. Messages of the state take precedence.
 */
export function mergeOlder(state: ChatState, page: Page<Message>): ChatState {
  const known = new Set(state.messages.map((message) => message.id));
  const older = page.items.filter((message) => !known.has(message.id));
  return { ...state, messages: sortByCreation([...older, ...state.messages]), next: page.next };
}

function mergeSnapshot(state: ChatState, frame: SnapshotFrame): Merged {
  const messages = frame.recovered
    ? frame.messages.reduce(upsert, state.messages)
    : sortByCreation([...frame.messages]);
  const generation = resumeGeneration(state.generation, frame.generation, messages);
  if (generation === "gap") return { state: { ...state, synced: false }, outcome: "gap" };
  return applied({
    ...state,
    synced: true,
    deleted: false,
    version: frame.version,
    complete_version: frame.version,
    chat: frame.chat,
    messages,
    next: frame.recovered ? state.next : (frame.next ?? null),
    generation,
    ended_generation_id:
      generation === null && state.generation !== null
        ? state.generation.generation_id
        : state.ended_generation_id,
  });
}

/** Continues the reader's running answer with that of a snapshot. */
function resumeGeneration(
  current: Generation | null,
  incoming: RunningAnswer | null,
  messages: readonly Message[],
): Generation | null | "gap" {
  if (incoming === null || hasTerminalAnswer(messages, incoming.message_id)) return null;
  const { after, ...answer } = incoming;
  if (after === 0) {
    return { ...answer, ...callsOf(answer, answer.text, answer.reasoning), retry_at: null };
  }
  const same = current?.generation_id === answer.generation_id && current.attempt === answer.attempt;
  if (!same || current.seq !== after) return "gap";
  const text = current.text + answer.text;
  const reasoning = current.reasoning + answer.reasoning;
  // Without a chunk more, the reader may have more of the calls than the sender of the snapshot.
  const { tool_calls, layout } = answer.seq > after ? callsOf(answer, text, reasoning) : current;
  return {
    ...answer,
    text,
    reasoning,
    tool_calls,
    layout,
    retry_at: answer.status === "retrying" ? current.retry_at : null,
  };
}

function mergeDelta(state: ChatState, frame: DeltaFrame): Merged {
  const { generation } = state;
  if (generation?.generation_id !== frame.generation_id) {
    return frame.generation_id === state.ended_generation_id ? ignored(state) : gap(state);
  }
  if (frame.attempt < generation.attempt) return ignored(state);
  if (frame.attempt > generation.attempt) return gap(state);
  if (frame.to <= generation.seq) return ignored(state);
  if (frame.from !== generation.seq + 1) return gap(state);
  return applied({
    ...state,
    generation: {
      ...generation,
      status: "running",
      retry_at: null,
      seq: frame.to,
      ...(frame.tool == null
        ? {
            [frame.kind]: generation[frame.kind] + frame.text,
            layout: extendLayout(generation.layout, frame.kind, frame.text),
          }
        : mergeTool(generation, frame.tool)),
    },
  });
}

function mergeGeneration(state: ChatState, frame: GenerationFrame): Merged {
  const { generation } = state;
  if (
    frame.generation_id === state.ended_generation_id ||
    hasTerminalAnswer(state.messages, frame.message_id)
  )
    return ignored(state);
  const same = generation?.generation_id === frame.generation_id;
  if (same && frame.attempt < generation.attempt) return ignored(state);
  // The same attempt continues with its text; a new attempt or another generation starts empty.
  const progress =
    same && frame.attempt === generation.attempt
      ? generation
      : { seq: 0, text: "", reasoning: "", ...NO_CALLS };
  return applied({
    ...state,
    generation: {
      ...progress,
      generation_id: frame.generation_id,
      message_id: frame.message_id,
      attempt: frame.attempt,
      status: frame.status === "retrying" ? "retrying" : "running",
      retry_at: frame.status === "retrying" ? (frame.retry_at ?? null) : null,
    },
  });
}

function mergeMessage(state: ChatState, frame: MessageFrame): Merged {
  const messages = upsert(state.messages, frame.message);
  if (messages === state.messages) return ignored(state);
  const { generation } = state;
  const isEnd = generation?.message_id === frame.message.id && isTerminal(frame.message.status);
  return applied({
    ...state,
    ...advance(state, frame.version),
    messages,
    generation: isEnd ? null : generation,
    ended_generation_id: isEnd ? generation.generation_id : state.ended_generation_id,
  });
}

/** Raises the version; the versions before the newest one are complete. */
function advance(state: ChatState, version: number): Pick<ChatState, "version" | "complete_version"> {
  return version > state.version
    ? { version, complete_version: state.version }
    : { version: state.version, complete_version: state.complete_version };
}

/** Adds or replaces a message unless the state has the same or a newer version. */
function upsert(messages: readonly Message[], message: Message): readonly Message[] {
  const index = messages.findIndex((known) => known.id === message.id);
  const known = messages[index];
  if (known === undefined) return sortByCreation([...messages, message]);
  if (known.version >= message.version) return messages;
  return sortByCreation(messages.with(index, message));
}

function sortByCreation(messages: Message[]): Message[] {
  return messages.sort(byCreation);
}

/** Compares by time of creation, then by id, which is ordered by time as well. */
export function byCreation(one: Message, other: Message): number {
  const difference = Date.parse(one.created_at) - Date.parse(other.created_at);
  if (difference !== 0) return difference;
  return one.id < other.id ? -1 : one.id > other.id ? 1 : 0;
}

function hasTerminalAnswer(messages: readonly Message[], id: string): boolean {
  return messages.some((message) => message.id === id && isTerminal(message.status));
}

function applied(state: ChatState): Merged {
  return { state, outcome: "applied" };
}

function ignored(state: ChatState): Merged {
  return { state, outcome: "ignored" };
}

function gap(state: ChatState): Merged {
  return { state, outcome: "gap" };
}
