import type { NewChat } from "../transport/http.ts";
import type { OutgoingMessage } from "./outbox.ts";

/** A message on its way, as it is stored. */
export interface OutgoingRecord extends OutgoingMessage {
  readonly chat_id: string;
  /** Whose message it is; empty until the browser has a session. */
  readonly user_id: string;
  /** What to create before it: its chat did not exist when it was written. */
  readonly creation: NewChat | null;
}

/** What another tab did with the store. */
export type StoreChange =
  | { readonly kind: "outgoing"; readonly chat_id: string }
  | {
      readonly kind: "draft";
      readonly user_id: string;
      readonly chat_id: string;
      readonly text: string;
      /** The text that was sent, when that is why the draft ended. */
      readonly sent: string | null;
    }
  | { readonly kind: "user"; readonly user_id: string };

/**
 * What the tabs of a browser share, and what survives them: drafts and messages on their way, each of one user. The
 * draft of a chat that does not exist yet has the empty text for its chat's id.
 */
export interface Store {
  /** The user that this browser was last; empty when there was none. */
  lastUser(): Promise<string>;
  /**
   * Remembers who this browser is now, and gives that user what was written before any was known.
   *
   * @returns Who it was before; empty when there was none.
   */
  setUser(userId: string): Promise<string>;
  /** A user's messages on their way, in the order in which they were written. */
  outgoing(userId: string): Promise<readonly OutgoingRecord[]>;
  /** Stores a message behind all others, and in the same step ends the draft that it came from. */
  add(record: OutgoingRecord, draft: string | null): Promise<void>;
  /** Changes messages that are there. */
  change(ids: readonly string[], change: Partial<OutgoingRecord>): Promise<void>;
  remove(id: string): Promise<void>;
  draft(userId: string, chatId: string): Promise<string>;
  setDraft(userId: string, chatId: string, text: string): Promise<void>;
  /**
   * Ends a user for good: what was not sent and the draft of one chat become the draft of a new chat of the user `to`,
   * for a person to send or not; the rest of what was stored of `from` is deleted.
   */
  handOver(from: string, to: string, chatId: string): Promise<void>;
  /** Calls `listener` after changes by other tabs, until the returned function is called. */
  onChange(listener: (change: StoreChange) => void): () => void;
}

/** A new chat's draft made of messages that were not sent and of drafts. */
export function joined(records: readonly OutgoingRecord[], ...drafts: readonly string[]): string {
  const unsent = records.filter(({ status }) => status !== "accepted").map(({ content }) => content);
  return [...unsent, ...drafts].filter((text) => text.trim() !== "").join("\n\n");
}

/** A store in memory: gone with the tab. */
export class MemoryStore implements Store {
  private user = "";
  private records: OutgoingRecord[] = [];
  private readonly drafts = new Map<string, string>();
  private readonly listeners = new Set<(change: StoreChange) => void>();

  async lastUser(): Promise<string> {
    return this.user;
  }

  async setUser(userId: string): Promise<string> {
    const before = this.user;
    this.user = userId;
    this.records = this.records.map((record) =>
      record.user_id === "" ? { ...record, user_id: userId } : record,
    );
    for (const [key, text] of [...this.drafts]) {
      if (!key.startsWith(" ")) continue;
      this.drafts.delete(key);
      this.drafts.set(`${userId}${key}`, text);
    }
    if (before !== userId) this.tell({ kind: "user", user_id: userId });
    return before;
  }

  async outgoing(userId: string): Promise<readonly OutgoingRecord[]> {
    return this.records.filter(({ user_id }) => user_id === userId);
  }

  async add(record: OutgoingRecord, draft: string | null): Promise<void> {
    const { user_id, chat_id, content } = record;
    this.records = [...this.records, record];
    this.tell({ kind: "outgoing", chat_id });
    if (draft === null) return;
    this.drafts.delete(`${user_id} ${draft}`);
    this.tell({ kind: "draft", user_id, chat_id: draft, text: "", sent: content });
  }

  async change(ids: readonly string[], change: Partial<OutgoingRecord>): Promise<void> {
    const changed = this.records.filter(({ id }) => ids.includes(id));
    this.records = this.records.map((record) =>
      ids.includes(record.id) ? { ...record, ...change } : record,
    );
    for (const chat_id of new Set(changed.map((record) => record.chat_id))) {
      this.tell({ kind: "outgoing", chat_id });
    }
  }

  async remove(id: string): Promise<void> {
    const record = this.records.find((one) => one.id === id);
    this.records = this.records.filter((one) => one !== record);
    if (record !== undefined) this.tell({ kind: "outgoing", chat_id: record.chat_id });
  }

  async draft(userId: string, chatId: string): Promise<string> {
    return this.drafts.get(`${userId} ${chatId}`) ?? "";
  }

  async setDraft(userId: string, chatId: string, text: string): Promise<void> {
    if (text === "") this.drafts.delete(`${userId} ${chatId}`);
    else this.drafts.set(`${userId} ${chatId}`, text);
    this.tell({ kind: "draft", user_id: userId, chat_id: chatId, text, sent: null });
  }

  async handOver(from: string, to: string, chatId: string): Promise<void> {
    const text = joined(await this.outgoing(from), await this.draft(from, chatId));
    this.records = this.records.filter(({ user_id }) => user_id !== from);
    for (const key of [...this.drafts.keys()]) {
      if (key.startsWith(`${from} `)) this.drafts.delete(key);
    }
    if (text !== "") await this.setDraft(to, "", text);
  }

  onChange(listener: (change: StoreChange) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Whether a message of that chat is here. */
  has(userId: string, chatId: string): boolean {
    return this.records.some(({ user_id, chat_id }) => user_id === userId && chat_id === chatId);
  }

  private tell(change: StoreChange): void {
    for (const listener of [...this.listeners]) listener(change);
  }
}

/**
 * A store over one that can refuse, as browsers do in private windows, when the disk is full, or when site data is
 * blocked: what is refused stays in this tab's memory, and everything else works on.
 */
export class LenientStore implements Store {
  private readonly durable: Store;
  private readonly memory = new MemoryStore();
  /** What could not be changed where it is stored: null, it is removed. */
  private readonly changes = new Map<string, Partial<OutgoingRecord> | null>();

  constructor(durable: Store) {
    this.durable = durable;
  }

  async lastUser(): Promise<string> {
    return (await this.durable.lastUser().catch(() => "")) || this.memory.lastUser();
  }

  async setUser(userId: string): Promise<string> {
    const stored = this.durable.setUser(userId);
    const before = await this.memory.setUser(userId);
    return await stored.catch(() => before);
  }

  async outgoing(userId: string): Promise<readonly OutgoingRecord[]> {
    const stored = await this.durable.outgoing(userId).catch(() => []);
    const changed = stored.flatMap((record) => {
      const change = this.changes.get(record.id);
      return change === null ? [] : [{ ...record, ...change }];
    });
    // A write that took too long counted as refused, and may have been done all the same.
    const ids = new Set(stored.map(({ id }) => id));
    return [...changed, ...(await this.memory.outgoing(userId)).filter(({ id }) => !ids.has(id))];
  }

  async add(record: OutgoingRecord, draft: string | null): Promise<void> {
    const { user_id, chat_id } = record;
    // Behind one that is in memory only: in the durable store it would come before it.
    if (!this.memory.has(user_id, chat_id)) {
      try {
        await this.durable.add(record, draft);
        if (draft !== null) await this.memory.setDraft(user_id, draft, "");
        return;
      } catch {
        // In memory, then.
      }
    }
    const ended = draft === null ? null : this.durable.setDraft(user_id, draft, "");
    await this.memory.add(record, draft);
    await ended?.catch(() => undefined);
  }

  async change(ids: readonly string[], change: Partial<OutgoingRecord>): Promise<void> {
    const stored = this.durable.change(ids, change);
    await this.memory.change(ids, change);
    await stored.catch(() => {
      for (const id of ids) {
        const before = this.changes.get(id);
        if (before !== null) this.changes.set(id, { ...before, ...change });
      }
    });
  }

  async remove(id: string): Promise<void> {
    const stored = this.durable.remove(id);
    await this.memory.remove(id);
    await stored.catch(() => void this.changes.set(id, null));
  }

  async draft(userId: string, chatId: string): Promise<string> {
    return (
      (await this.memory.draft(userId, chatId)) || (await this.durable.draft(userId, chatId).catch(() => ""))
    );
  }

  async setDraft(userId: string, chatId: string, text: string): Promise<void> {
    try {
      await this.durable.setDraft(userId, chatId, text);
      await this.memory.setDraft(userId, chatId, "");
    } catch {
      await this.memory.setDraft(userId, chatId, text);
    }
  }

  async handOver(from: string, to: string, chatId: string): Promise<void> {
    const stored = await this.durable.handOver(from, to, chatId).then(
      () => this.durable.draft(to, ""),
      () => "",
    );
    await this.memory.handOver(from, to, chatId);
    const here = await this.memory.draft(to, "");
    if (here !== "") await this.setDraft(to, "", joined([], stored, here));
  }

  onChange(listener: (change: StoreChange) => void): () => void {
    return this.durable.onChange(listener);
  }
}
