import { type Observable, Subject } from "../observable.ts";
import type { ChatSummary, ListFrame, Page } from "../protocol/protocol.ts";
import { Backoff } from "../transport/backoff.ts";
import type { Http } from "../transport/http.ts";

/** The list of a user's chats. */
export interface ChatListState {
  /** The most recently updated first. */
  readonly items: readonly ChatSummary[];
  /** Where the list goes on; null at the end. */
  readonly next: string | null;
  readonly loaded: boolean;
}

/** Milliseconds between two tries to read the list. */
const REREAD = { base: 1_000, cap: 30_000 };

/** What happened to chats while a page of the list was on its way: null for one that is not listed any more. */
type Meanwhile = Map<string, ChatSummary | null>;

/** The user's chats: read over HTTP, kept fresh by what the socket says of the list and of watched chats. */
export class ChatList implements Observable<ChatListState> {
  private readonly http: Http;
  private readonly random: () => number;
  private readonly backoff: Backoff;
  private readonly subject = new Subject<ChatListState>({ items: [], next: null, loaded: false });
  private readonly reading = new Set<Meanwhile>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;

  constructor(http: Http, random: () => number) {
    this.http = http;
    this.random = random;
    this.backoff = new Backoff(REREAD, random);
  }

  readonly getSnapshot = (): ChatListState => this.subject.getSnapshot();
  readonly subscribe = (listener: () => void): (() => void) => this.subject.subscribe(listener);

  /** Reads the first page again. Pages that were loaded beyond it stay. */
  async refresh(): Promise<void> {
    const page = await this.read(null);
    const before = this.subject.getSnapshot();
    const last = page.items.at(-1);
    // Within the page's span the server's word is all there is: what it does not name there was deleted.
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

  /** Renames a chat: shown at once, and as it was when the server refuses. */
  async rename(chatId: string, title: string): Promise<void> {
    const known = this.find(chatId);
    if (known !== undefined) this.replace({ ...known, title });
    try {
      this.take(await this.http.updateChat(chatId, { title }));
    } catch (error) {
      const now = this.find(chatId);
      if (known !== undefined && now?.version === known.version) this.replace(known);
      throw error;
    }
  }

  /** Deletes a chat: gone from the list at once, back when the server refuses. */
  async remove(chatId: string): Promise<void> {
    const removed = this.find(chatId);
    this.forget(chatId);
    try {
      await this.http.deleteChat(chatId);
    } catch (error) {
      if (removed !== undefined) this.take(removed);
      throw error;
    }
  }

  /** Takes what the socket says of the list. */
  onFrame(frame: ListFrame): void {
    if (frame.type === "relist") this.reread((frame.within ?? 0) * 1_000 * this.random());
    else if (frame.chat === null) this.forget(frame.chat_id);
    else this.take(frame.chat);
  }

  /** Takes a newer version of a chat into the list. */
  take(chat: ChatSummary): void {
    for (const meanwhile of this.reading) meanwhile.set(chat.id, chat);
    const known = this.find(chat.id);
    if (known !== undefined && known.version >= chat.version) return;
    this.replace(chat);
  }

  /** Takes a chat out of the list. */
  forget(chatId: string): void {
    for (const meanwhile of this.reading) meanwhile.set(chatId, null);
    const { items } = this.subject.getSnapshot();
    this.subject.update({ items: items.filter((chat) => chat.id !== chatId) });
  }

  /** Forgets what it knows: it is another user's. */
  clear(): void {
    this.subject.set({ items: [], next: null, loaded: false });
  }

  /** Reads nothing by itself any more. */
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

  /** Reads a page; what was said of its chats meanwhile is newer than the page may be. */
  private async read(before: string | null): Promise<Page<ChatSummary>> {
    const meanwhile: Meanwhile = new Map();
    this.reading.add(meanwhile);
    try {
      const page = await this.http.listChats(before);
      const items: ChatSummary[] = page.items.filter((chat) => meanwhile.get(chat.id) !== null);
      for (const chat of meanwhile.values()) if (chat !== null) items.push(chat);
      return { items: newestFirst(items), next: page.next };
    } finally {
      this.reading.delete(meanwhile);
    }
  }

  /** Reads the list again until that succeeds. */
  private reread(delay: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.refresh().then(
        () => this.backoff.reset(),
        () => {
          if (!this.closed) this.reread(this.backoff.next());
        },
      );
    }, delay);
  }
}

/** Sorts; of a chat that occurs twice, the newer one stays, and the first of two that are as new. */
function newestFirst(chats: readonly ChatSummary[]): ChatSummary[] {
  const unique = new Map<string, ChatSummary>();
  for (const chat of chats) {
    const known = unique.get(chat.id);
    if (known === undefined || known.version < chat.version) unique.set(chat.id, chat);
  }
  return [...unique.values()].sort((one, other) => Date.parse(other.updated_at) - Date.parse(one.updated_at));
}
