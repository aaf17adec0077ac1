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

/** The running answer as assembled so far. */
export interface Generation {
  readonly generation_id: string;
  readonly message_id: string;
  readonly attempt: number;
  readonly status: RunningAnswer["status"];
  readonly seq: number;
  readonly text: string;
  readonly reasoning: string;
  /** While `retrying`: when the worker tries again, if it said so (ISO 8601). */
  readonly retry_at: string | null;
}

/** Everything a reader has assembled of one chat. Immutable: a frame that changes nothing returns the same object. */
export interface ChatState {
  readonly chat_id: string;
  /** Whether a cursor would be honoured: a snapshot has come, and nothing since made it worthless. */
  readonly synced: boolean;
  readonly version: number;
  /** The version below `version` up to which every frame has certainly come; see {@link cursorOf}. */
  readonly settled: number;
  readonly chat: Chat | null;
  readonly deleted: boolean;
  /** By creation, oldest first, tombstones (`deleted`) among them. */
  readonly messages: readonly Message[];
  /** Where older messages go on; null at the beginning of the chat. */
  readonly next: string | null;
  readonly generation: Generation | null;
  /** The generation that ended last: what still arrives of it is late. */
  readonly ended: string | null;
}

/**
 * What a frame did. `gap`: something is missing before it; the state is unchanged but for `synced`, and the reader
 * watches again with {@link cursorOf}.
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
    settled: 0,
    chat: null,
    deleted: false,
    messages: [],
    next: null,
    generation: null,
    ended: null,
  };
}

/**
 * Returns the cursor to watch again with; null when everything is needed.
 *
 * One change of a chat can be several frames of one version, and a socket can end between two of them. So the cursor
 * claims the version *before* the newest: a message or two come again, which costs little and loses nothing.
 */
export function cursorOf(state: ChatState): Cursor | null {
  if (!state.synced) return null;
  if (state.generation === null) return { version: state.settled };
  const { generation_id, attempt, seq } = state.generation;
  return { version: state.settled, generation_id, attempt, seq };
}

/** Merges one frame into what a reader has. Pure: no clock, no I/O. The cases are in `tests/cases/frames.json`. */
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
 * Adds a page of older messages, read over HTTP with `before=state.next`. What the state has is newer and stays.
 */
export function mergeOlder(state: ChatState, page: Page<Message>): ChatState {
  const known = new Set(state.messages.map((message) => message.id));
  const older = page.items.filter((message) => !known.has(message.id));
  return { ...state, messages: inOrder([...older, ...state.messages]), next: page.next };
}

function mergeSnapshot(state: ChatState, frame: SnapshotFrame): Merged {
  const messages = frame.recovered
    ? frame.messages.reduce(upsert, state.messages)
    : inOrder([...frame.messages]);
  const generation = resumed(state.generation, frame.generation, messages);
  if (generation === "gap") return { state: { ...state, synced: false }, outcome: "gap" };
  return applied({
    ...state,
    synced: true,
    deleted: false,
    version: frame.version,
    settled: frame.version,
    chat: frame.chat,
    messages,
    next: frame.recovered ? state.next : (frame.next ?? null),
    generation,
    ended: generation === null && state.generation !== null ? state.generation.generation_id : state.ended,
  });
}

/** Joins the running answer of a snapshot to the one that the reader has. */
function resumed(
  mine: Generation | null,
  theirs: RunningAnswer | null,
  messages: readonly Message[],
): Generation | null | "gap" {
  if (theirs === null || isOver(messages, theirs.message_id)) return null;
  const { after, ...answer } = theirs;
  if (after === 0) return { ...answer, retry_at: null };
  const same = mine?.generation_id === answer.generation_id && mine.attempt === answer.attempt;
  if (!same || mine.seq !== after) return "gap";
  return {
    ...answer,
    text: mine.text + answer.text,
    reasoning: mine.reasoning + answer.reasoning,
    retry_at: answer.status === "retrying" ? mine.retry_at : null,
  };
}

function mergeDelta(state: ChatState, frame: DeltaFrame): Merged {
  const { generation } = state;
  if (generation?.generation_id !== frame.generation_id) {
    return frame.generation_id === state.ended ? ignored(state) : gap(state);
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
      [frame.kind]: generation[frame.kind] + frame.text,
    },
  });
}

function mergeGeneration(state: ChatState, frame: GenerationFrame): Merged {
  const { generation } = state;
  if (frame.generation_id === state.ended || isOver(state.messages, frame.message_id)) return ignored(state);
  const same = generation?.generation_id === frame.generation_id;
  if (same && frame.attempt < generation.attempt) return ignored(state);
  // The same attempt goes on with its text; a new one starts from nothing, and so does another generation.
  const kept =
    same && frame.attempt === generation.attempt
      ? { seq: generation.seq, text: generation.text, reasoning: generation.reasoning }
      : { seq: 0, text: "", reasoning: "" };
  return applied({
    ...state,
    generation: {
      generation_id: frame.generation_id,
      message_id: frame.message_id,
      attempt: frame.attempt,
      status: frame.status === "retrying" ? "retrying" : "running",
      retry_at: frame.status === "retrying" ? (frame.retry_at ?? null) : null,
      ...kept,
    },
  });
}

function mergeMessage(state: ChatState, frame: MessageFrame): Merged {
  const messages = upsert(state.messages, frame.message);
  if (messages === state.messages) return ignored(state);
  const { generation } = state;
  const ends = generation?.message_id === frame.message.id && isTerminal(frame.message.status);
  return applied({
    ...state,
    ...advance(state, frame.version),
    messages,
    generation: ends ? null : generation,
    ended: ends ? generation.generation_id : state.ended,
  });
}

/** Raises the version; what came before the newest version is settled. */
function advance(state: ChatState, version: number): Pick<ChatState, "version" | "settled"> {
  return version > state.version
    ? { version, settled: state.version }
    : { version: state.version, settled: state.settled };
}

/** Adds or replaces a message unless a version as new is there already. */
function upsert(messages: readonly Message[], message: Message): readonly Message[] {
  const index = messages.findIndex((known) => known.id === message.id);
  const known = messages[index];
  if (known === undefined) return inOrder([...messages, message]);
  if (known.version >= message.version) return messages;
  return inOrder(messages.with(index, message));
}

function inOrder(messages: Message[]): Message[] {
  return messages.sort(byCreation);
}

/** Orders by creation; by id within one moment, which sorts by time as well. */
export function byCreation(one: Message, other: Message): number {
  const difference = Date.parse(one.created_at) - Date.parse(other.created_at);
  if (difference !== 0) return difference;
  return one.id < other.id ? -1 : one.id > other.id ? 1 : 0;
}

function isOver(messages: readonly Message[], id: string): boolean {
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
