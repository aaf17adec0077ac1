import type { NewChat } from "../protocol/bodies.ts";
import type { OutgoingMessage } from "./outbox.ts";

/** An outgoing message as it is stored. */
export interface OutgoingRecord extends OutgoingMessage {
  readonly chat_id: string;
  /** The author; empty until the browser has a session. */
  readonly user_id: string;
  /** The chat to create before it; null when the chat existed. */
  readonly creation: NewChat | null;
}

/** A change of the store by another tab. */
export type StoreChange =
  | { readonly kind: "outgoing"; readonly chat_id: string }
  | {
      readonly kind: "draft";
      readonly user_id: string;
      readonly chat_id: string;
      readonly text: string;
      /** The text of the message that the draft became; null for any other change. */
      readonly sent: string | null;
    }
  | { readonly kind: "user"; readonly user_id: string };

/** A user of this browser. */
export interface StoredUser {
  /** Empty: nobody. */
  readonly id: string;
  /** Whether the user is a guest, who is lost with the browser's cookie; any other user can sign in again. */
  readonly guest: boolean;
}

/** No user: before the first session, and after signing out. */
export const NOBODY: StoredUser = { id: "", guest: true };

/**
 * The storage that the tabs of a browser share: drafts and outgoing messages, each of one user. The draft of a chat that
 * does not exist yet has an empty chat id.
 */
export interface Store {
  /** Returns the last user of this browser; {@link NOBODY} when there was none. */
  lastUser(): Promise<StoredUser>;
  /**
   * Sets the current user, who also gets the drafts and messages that were written before any user was known.
   *
   * @returns The user before; {@link NOBODY} when there was none.
   */
  setUser(user: StoredUser): Promise<StoredUser>;
  /** Returns a user's outgoing messages in the order in which they were written. */
  outgoing(userId: string): Promise<readonly OutgoingRecord[]>;
  /** Appends a message and, in the same transaction, deletes the draft that it came from. */
  add(record: OutgoingRecord, draft: string | null): Promise<void>;
  /** Changes existing messages. */
  change(ids: readonly string[], change: Partial<OutgoingRecord>): Promise<void>;
  remove(id: string): Promise<void>;
  draft(userId: string, chatId: string): Promise<string>;
  setDraft(userId: string, chatId: string, text: string): Promise<void>;
  /**
   * Makes the unsent messages of `from` and its draft of one chat the draft of a new chat of `to`, which a person may send
   * or not; deletes everything else of `from`.
   */
  transfer(from: string, to: string, chatId: string): Promise<void>;
  /** Deletes the drafts and messages of a user. */
  forget(userId: string): Promise<void>;
  /** Calls `listener` after changes by other tabs, until the returned function is called. */
  onChange(listener: (change: StoreChange) => void): () => void;
}

/** Joins messages that were not accepted and drafts to one draft. */
export function joinTexts(records: readonly OutgoingRecord[], ...drafts: readonly string[]): string {
  const unsent = records.filter(({ status }) => status !== "accepted").map(({ content }) => content);
  return [...unsent, ...drafts].filter((text) => text.trim() !== "").join("\n\n");
}

/** A store in the memory of the tab. */
export class MemoryStore implements Store {
  private user = NOBODY;
  private records: OutgoingRecord[] = [];
  private readonly drafts = new Map<string, string>();
  private readonly listeners = new Set<(change: StoreChange) => void>();

  async lastUser(): Promise<StoredUser> {
    return this.user;
  }

  async setUser(user: StoredUser): Promise<StoredUser> {
    const before = this.user;
    const userId = user.id;
    this.user = user;
    this.records = this.records.map((record) =>
      record.user_id === "" ? { ...record, user_id: userId } : record,
    );
    for (const [key, text] of [...this.drafts]) {
      if (!key.startsWith(" ")) continue;
      this.drafts.delete(key);
      this.drafts.set(`${userId}${key}`, text);
    }
    if (before.id !== userId) this.notify({ kind: "user", user_id: userId });
    return before;
  }

  async outgoing(userId: string): Promise<readonly OutgoingRecord[]> {
    return this.records.filter(({ user_id }) => user_id === userId);
  }

  async add(record: OutgoingRecord, draft: string | null): Promise<void> {
    const { user_id, chat_id, content } = record;
    this.records = [...this.records, record];
    this.notify({ kind: "outgoing", chat_id });
    if (draft === null) return;
    this.drafts.delete(`${user_id} ${draft}`);
    this.notify({ kind: "draft", user_id, chat_id: draft, text: "", sent: content });
  }

  async change(ids: readonly string[], change: Partial<OutgoingRecord>): Promise<void> {
    const changed = this.records.filter(({ id }) => ids.includes(id));
    this.records = this.records.map((record) =>
      ids.includes(record.id) ? { ...record, ...change } : record,
    );
    for (const chat_id of new Set(changed.map((record) => record.chat_id))) {
      this.notify({ kind: "outgoing", chat_id });
    }
  }

  async remove(id: string): Promise<void> {
    const record = this.records.find((one) => one.id === id);
    this.records = this.records.filter((one) => one !== record);
    if (record !== undefined) this.notify({ kind: "outgoing", chat_id: record.chat_id });
  }

  async draft(userId: string, chatId: string): Promise<string> {
    return this.drafts.get(`${userId} ${chatId}`) ?? "";
  }

  async setDraft(userId: string, chatId: string, text: string): Promise<void> {
    if (text === "") this.drafts.delete(`${userId} ${chatId}`);
    else this.drafts.set(`${userId} ${chatId}`, text);
    this.notify({ kind: "draft", user_id: userId, chat_id: chatId, text, sent: null });
  }

  async transfer(from: string, to: string, chatId: string): Promise<void> {
    const text = joinTexts(await this.outgoing(from), await this.draft(from, chatId));
    await this.forget(from);
    if (text !== "") await this.setDraft(to, "", text);
  }

  async forget(userId: string): Promise<void> {
    this.records = this.records.filter(({ user_id }) => user_id !== userId);
    for (const key of [...this.drafts.keys()]) {
      if (key.startsWith(`${userId} `)) this.drafts.delete(key);
    }
  }

  onChange(listener: (change: StoreChange) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Whether the store has a message of that chat. */
  has(userId: string, chatId: string): boolean {
    return this.records.some(({ user_id, chat_id }) => user_id === userId && chat_id === chatId);
  }

  private notify(change: StoreChange): void {
    for (const listener of [...this.listeners]) listener(change);
  }
}

/**
 * A store with a fallback to memory: browsers refuse to store in private windows, when the disk is full, or when site data
 * is blocked. What is refused stays in this tab's memory.
 */
export class FallbackStore implements Store {
  private readonly durable: Store;
  private readonly memory = new MemoryStore();
  /** Changes that the durable store refused, by message; null for a removal. */
  private readonly changes = new Map<string, Partial<OutgoingRecord> | null>();

  constructor(durable: Store) {
    this.durable = durable;
  }

  async lastUser(): Promise<StoredUser> {
    const stored = await this.durable.lastUser().catch(() => NOBODY);
    return stored.id === "" ? this.memory.lastUser() : stored;
  }

  async setUser(user: StoredUser): Promise<StoredUser> {
    const stored = this.durable.setUser(user);
    const before = await this.memory.setUser(user);
    return await stored.catch(() => before);
  }

  async outgoing(userId: string): Promise<readonly OutgoingRecord[]> {
    const stored = await this.durable.outgoing(userId).catch(() => []);
    const changed = stored.flatMap((record) => {
      const change = this.changes.get(record.id);
      return change === null ? [] : [{ ...record, ...change }];
    });
    // A write that timed out counts as refused, and may have succeeded.
    const ids = new Set(stored.map(({ id }) => id));
    return [...changed, ...(await this.memory.outgoing(userId)).filter(({ id }) => !ids.has(id))];
  }

  async add(record: OutgoingRecord, draft: string | null): Promise<void> {
    const { user_id, chat_id } = record;
    // A message in memory precedes this one: in the durable store this one would come first.
    if (!this.memory.has(user_id, chat_id)) {
      try {
        await this.durable.add(record, draft);
        if (draft !== null) await this.memory.setDraft(user_id, draft, "");
        return;
      } catch {
        // Refused: it goes to memory.
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

  async transfer(from: string, to: string, chatId: string): Promise<void> {
    const stored = await this.durable.transfer(from, to, chatId).then(
      () => this.durable.draft(to, ""),
      () => "",
    );
    await this.memory.transfer(from, to, chatId);
    const inMemory = await this.memory.draft(to, "");
    if (inMemory !== "") await this.setDraft(to, "", joinTexts([], stored, inMemory));
  }

  async forget(userId: string): Promise<void> {
    await this.durable.forget(userId).catch(() => undefined);
    await this.memory.forget(userId);
  }

  onChange(listener: (change: StoreChange) => void): () => void {
    return this.durable.onChange(listener);
  }
}
