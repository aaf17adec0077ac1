import type { Chat, Cursor, Message, RoomFrame, SnapshotFrame } from "../index.ts";

export const CHAT = "0190a000-0000-7000-8000-00000000000c";
const USER = "0190a000-0000-7000-8000-0000000000a0";

/** Returns an id that sorts by `number`. */
export function anId(number: number): string {
  return `0190a000-0000-7000-8000-${number.toString(16).padStart(12, "0")}`;
}

/** Returns a message with the given fields and defaults for the rest. */
export function aMessage(fields: Partial<Message> = {}): Message {
  return {
    id: anId(1),
    chat_id: CHAT,
    parent_id: null,
    role: "user",
    author_id: USER,
    content: "",
    reasoning: "",
    status: "sent",
    model: null,
    error: null,
    usage: null,
    created_at: "2026-01-01T00:00:00Z",
    version: 1,
    ...fields,
  };
}

interface RunningGeneration {
  readonly generation_id: string;
  readonly message_id: string;
  readonly attempt: number;
  readonly status: "requested" | "running";
  readonly seq: number;
  readonly text: string;
  readonly reasoning: string;
  /** Length of text and reasoning after each seq, as push knows them for its cursors. */
  readonly marks: readonly (readonly [text: number, reasoning: number])[];
}

export type Act =
  | { readonly do: "ask" | "delta" | "reasoning"; readonly text: string }
  | { readonly do: "attempt" | "finish" };

/** The state of one chat as push has it: produces the frames of each change, and snapshots. */
export class Room {
  version = 1;
  messages: Message[] = [];
  generation: RunningGeneration | null = null;
  readonly id: string;
  private count = 0;
  private tip: string | null = null;

  constructor(id: string = CHAT) {
    this.id = id;
  }

  get chat(): Chat {
    return {
      id: this.id,
      owner_id: USER,
      title: null,
      model: null,
      system_prompt: null,
      tip_id: this.tip,
      created_at: "2026-01-01T00:00:00Z",
      updated_at: "2026-01-01T00:00:00Z",
      version: this.version,
      running: this.generation !== null,
    };
  }

  /** Performs an action and returns its frames; none when it does not apply now. */
  perform(act: Act): RoomFrame[] {
    switch (act.do) {
      case "ask":
        return this.ask(act.text);
      case "attempt":
        return this.attempt();
      case "finish":
        return this.finish();
      default:
        return this.delta(act.text, act.do === "reasoning" ? "reasoning" : "text");
    }
  }

  /** Returns the message of a prompt, without frames. */
  prompt(content: string, id = this.nextId(), status: Message["status"] = "sent"): Message {
    return aMessage({
      id,
      chat_id: this.id,
      parent_id: status === "queued" ? null : this.tip,
      content,
      status,
      created_at: this.time(),
      version: this.version,
    });
  }

  /** Adds a prompt: with its answer when none runs, otherwise queued. A known id changes nothing. */
  ask(content: string, id?: string): RoomFrame[] {
    if (this.messages.some((message) => message.id === id)) return [];
    this.version += 1;
    const prompt = this.prompt(content, id, this.generation === null ? "sent" : "queued");
    this.put(prompt);
    const frames: RoomFrame[] = [this.frameOf(prompt)];
    if (prompt.status === "sent") frames.push(...this.answer(prompt));
    return [...frames, this.chatFrame()];
  }

  attempt(): RoomFrame[] {
    if (this.generation === null) return [];
    const attempt = this.generation.attempt + 1;
    this.generation = {
      ...this.generation,
      attempt,
      status: "running",
      seq: 0,
      text: "",
      reasoning: "",
      marks: [[0, 0]],
    };
    const { generation_id, message_id } = this.generation;
    return [{ type: "generation", chat_id: this.id, generation_id, message_id, attempt, status: "started" }];
  }

  delta(text: string, kind: "text" | "reasoning" = "text"): RoomFrame[] {
    const started = this.generation?.attempt === 0 ? this.attempt() : [];
    const { generation } = this;
    if (generation === null) return [];
    const seq = generation.seq + 1;
    const grown = { ...generation, seq, [kind]: generation[kind] + text };
    this.generation = { ...grown, marks: [...generation.marks, [grown.text.length, grown.reasoning.length]] };
    const { generation_id, attempt } = generation;
    return [
      ...started,
      { type: "delta", chat_id: this.id, generation_id, attempt, from: seq, to: seq, kind, text },
    ];
  }

  /** The answer is stored; the next queued prompt, if there is one, starts. */
  finish(status: "complete" | "stopped" | "failed" = "complete"): RoomFrame[] {
    if (this.generation === null) return [];
    this.version += 1;
    const { message_id, text, reasoning } = this.generation;
    const stored = this.change(message_id, { status, content: text, reasoning });
    this.generation = null;
    const frames: RoomFrame[] = [this.frameOf(stored)];
    const waiting = this.messages.find((message) => message.status === "queued");
    if (waiting !== undefined) {
      const placed = this.change(waiting.id, { status: "sent", parent_id: this.tip });
      frames.push(this.frameOf(placed), ...this.answer(placed));
    }
    return [...frames, this.chatFrame()];
  }

  /** Returns the snapshot for a reader with this cursor. */
  snapshot(after: Cursor | null): SnapshotFrame {
    const recovered = after !== null;
    return {
      type: "snapshot",
      chat_id: this.id,
      version: this.version,
      recovered,
      chat: this.chat,
      messages: recovered
        ? this.messages.filter((message) => message.version > after.version)
        : this.messages,
      generation: this.running(after),
      next: null,
    };
  }

  private running(after: Cursor | null): SnapshotFrame["generation"] {
    if (this.generation === null) return null;
    const { marks, ...answer } = this.generation;
    const same = after?.generation_id === answer.generation_id && after.attempt === answer.attempt;
    const seq = after?.seq ?? 0;
    const mark = same && seq > 0 ? marks[seq] : undefined;
    if (mark === undefined) return { ...answer, after: 0 };
    return {
      ...answer,
      after: seq,
      text: answer.text.slice(mark[0]),
      reasoning: answer.reasoning.slice(mark[1]),
    };
  }

  private answer(prompt: Message): RoomFrame[] {
    const message = aMessage({
      id: this.nextId(),
      chat_id: this.id,
      parent_id: prompt.id,
      role: "assistant",
      author_id: null,
      status: "pending",
      created_at: this.time(),
      version: this.version,
    });
    this.put(message);
    this.tip = message.id;
    this.generation = {
      generation_id: anId(0x1000 + this.count),
      message_id: message.id,
      attempt: 0,
      status: "requested",
      seq: 0,
      text: "",
      reasoning: "",
      marks: [[0, 0]],
    };
    return [this.frameOf(message)];
  }

  private change(id: string, fields: Partial<Message>): Message {
    const index = this.messages.findIndex((message) => message.id === id);
    const changed = { ...aMessage(this.messages[index]), ...fields, version: this.version };
    this.messages = this.messages.with(index, changed);
    return changed;
  }

  private put(message: Message): void {
    this.messages = [...this.messages, message];
  }

  private frameOf(message: Message): RoomFrame {
    return { type: "message", chat_id: this.id, version: this.version, message };
  }

  private chatFrame(): RoomFrame {
    return { type: "chat", chat_id: this.id, version: this.version, chat: this.chat };
  }

  private nextId(): string {
    this.count += 1;
    return anId(this.count);
  }

  private time(): string {
    return new Date(Date.UTC(2026, 0, 1) + this.count * 1000).toISOString();
  }
}
