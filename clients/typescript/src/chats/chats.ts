import { type Observable, Subject } from "../observable.ts";
import type { ChatSummary, ListFrame, Page } from "../protocol/protocol.ts";
import { Backoff } from "../transport/backoff.ts";
import type { Http } from "../transport/http.ts";

/** The list of a user's chats. */
export interface ChatListState {
  /** The most recently updated first. */
  readonly items: readonly ChatSummary[];
  /** The cursor of the next page; null at the end. */
  readonly next: string | null;
  readonly loaded: boolean;
}

/** Milliseconds between attempts to read the list. */
const REFRESH_BACKOFF = { base: 1_000, cap: 30_000 };

/** Chats that changed while a page of the list was being read; null for a chat that was removed. */
type ConcurrentChanges = Map<string, ChatSummary | null>;

/** The user's chats: read over HTTP, updated by the socket's frames about the list and about watched chats. */
export class ChatList implements Observable<ChatListState> {
  private readonly http: Http;
  private readonly random: () => number;
  private readonly backoff: Backoff;
  private readonly subject = new Subject<ChatListState>({ items: [], next: null, loaded: false });
  private readonly reads = new Set<ConcurrentChanges>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;

  constructor(http: Http, random: () => number) {
    this.http = http;
    this.random = random;
    this.backoff = new Backoff(REFRESH_BACKOFF, random);
  }

  readonly getSnapshot = (): ChatListState => this.subject.getSnapshot();
  readonly subscribe = (listener: () => void): (() => void) => this.subject.subscribe(listener);

  /** Reads the first page again. Pages after it that were loaded stay. */
  async refresh(): Promise<void> {
    const page = await this.read(null);
    const before = this.subject.getSnapshot();
    const last = page.items.at(-1);
    // The page is complete for its range: a chat in that range that it does not contain was deleted.
    const beyond =
      page.next === null || last === undefined
        ? []
        : before.items.filter((chat) => chat.updated_at < last.updated_at);
    this.subject.set({
      items: newestFirst([...page.items, ...beyond]),
      next: beyond.length > 0 ? before.next : page.next,
      loaded: true,
    });
  }

  async loadMore(): Promise<void> {
    const { next } = this.subject.getSnapshot();
    if (next === null) return;
    const page = await this.read(next);
    const before = this.subject.getSnapshot();
    if (before.next !== next) return;
    this.subject.update({ items: newestFirst([...before.items, ...page.items]), next: page.next });
  }

  /** Renames a chat: shown at once, reverted when the server refuses. */
  async rename(chatId: string, title: string): Promise<void> {
    const known = this.find(chatId);
    if (known !== undefined) this.replace({ ...known, title });
    try {
      this.upsert(await this.http.updateChat(chatId, { title }));
    } catch (error) {
      const now = this.find(chatId);
      if (known !== undefined && now?.version === known.version) this.replace(known);
      throw error;
    }
  }

  /** Deletes a chat: removed from the list at once, restored when the server refuses. */
  async remove(chatId: string): Promise<void> {
    const removed = this.find(chatId);
    this.drop(chatId);
    try {
      await this.http.deleteChat(chatId);
    } catch (error) {
      if (removed !== undefined) this.upsert(removed);
      throw error;
    }
  }

  /** Applies a frame about the list. */
  onFrame(frame: ListFrame): void {
    if (frame.type === "relist") this.refreshLater((frame.within ?? 0) * 1_000 * this.random());
    else if (frame.chat === null) this.drop(frame.chat_id);
    else this.upsert(frame.chat);
  }

  /** Adds a chat or replaces an older version of it. */
  upsert(chat: ChatSummary): void {
    for (const concurrent of this.reads) concurrent.set(chat.id, chat);
    const known = this.find(chat.id);
    if (known !== undefined && known.version >= chat.version) return;
    this.replace(chat);
  }

  /** Removes a chat from the list. */
  drop(chatId: string): void {
    for (const concurrent of this.reads) concurrent.set(chatId, null);
    const { items } = this.subject.getSnapshot();
    this.subject.update({ items: items.filter((chat) => chat.id !== chatId) });
  }

  /** Empties the list, which belongs to another user. */
  clear(): void {
    this.subject.set({ items: [], next: null, loaded: false });
  }

  /** Stops refreshing. */
  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private find(chatId: string): ChatSummary | undefined {
    return this.subject.getSnapshot().items.find((chat) => chat.id === chatId);
  }

  private replace(chat: ChatSummary): void {
    this.subject.update({ items: newestFirst([chat, ...this.subject.getSnapshot().items]) });
  }

  /** Reads a page; frames that arrived meanwhile take precedence over it. */
  private async read(before: string | null): Promise<Page<ChatSummary>> {
    const concurrent: ConcurrentChanges = new Map();
    this.reads.add(concurrent);
    try {
      const page = await this.http.listChats(before);
      const items: ChatSummary[] = page.items.filter((chat) => concurrent.get(chat.id) !== null);
      for (const chat of concurrent.values()) if (chat !== null) items.push(chat);
      return { items: newestFirst(items), next: page.next };
    } finally {
      this.reads.delete(concurrent);
    }
  }

  /** Refreshes the list after a delay, with backoff until that succeeds. */
  private refreshLater(delay: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.refresh().then(
        () => this.backoff.reset(),
        () => {
          if (!this.closed) this.refreshLater(this.backoff.next());
        },
      );
    }, delay);
  }
}

/** Sorts, newest first; of duplicates the newest version stays, of equal versions the first. */
function newestFirst(chats: readonly ChatSummary[]): ChatSummary[] {
  const unique = new Map<string, ChatSummary>();
  for (const chat of chats) {
    const known = unique.get(chat.id);
    if (known === undefined || known.version < chat.version) unique.set(chat.id, chat);
  }
  return [...unique.values()].sort((one, other) => Date.parse(other.updated_at) - Date.parse(one.updated_at));
}
