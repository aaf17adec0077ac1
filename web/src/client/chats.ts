import type { Http } from "./http";
import { type Observable, Subject } from "./observable";
import type { Chat } from "./protocol";

/** The list of a user's chats. */
export interface ChatListState {
  /** The most recently updated first. */
  readonly items: readonly Chat[];
  /** Where the list goes on; null at the end. */
  readonly next: string | null;
  readonly loaded: boolean;
}

/** The user's chats: read over HTTP, kept fresh by what watched chats say. */
export class ChatList implements Observable<ChatListState> {
  private readonly http: Http;
  private readonly subject = new Subject<ChatListState>({ items: [], next: null, loaded: false });

  constructor(http: Http) {
    this.http = http;
  }

  readonly getSnapshot = (): ChatListState => this.subject.getSnapshot();
  readonly subscribe = (listener: () => void): (() => void) => this.subject.subscribe(listener);

  /** Reads the first page again. Pages that were loaded beyond it stay. */
  async refresh(): Promise<void> {
    const page = await this.http.listChats();
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
    const page = await this.http.listChats(next);
    const before = this.subject.getSnapshot();
    if (before.next !== next) return;
    this.subject.update({ items: newestFirst([...before.items, ...page.items]), next: page.next });
  }

  /** Deletes a chat: gone from the list at once, back when the server refuses. */
  async remove(chatId: string): Promise<void> {
    const removed = this.subject.getSnapshot().items.find((chat) => chat.id === chatId);
    this.forget(chatId);
    try {
      await this.http.deleteChat(chatId);
    } catch (error) {
      if (removed !== undefined) this.take(removed);
      throw error;
    }
  }

  /** Takes a newer version of a chat into the list. */
  take(chat: Chat): void {
    const { items } = this.subject.getSnapshot();
    const known = items.find((other) => other.id === chat.id);
    if (known !== undefined && known.version >= chat.version) return;
    this.subject.update({ items: newestFirst([chat, ...items]) });
  }

  /** Takes a chat out of the list. */
  forget(chatId: string): void {
    const { items } = this.subject.getSnapshot();
    this.subject.update({ items: items.filter((chat) => chat.id !== chatId) });
  }
}

/** Sorts; of a chat that occurs twice, the first one stays. */
function newestFirst(chats: readonly Chat[]): Chat[] {
  const unique = new Map<string, Chat>();
  for (const chat of chats) {
    if (!unique.has(chat.id)) unique.set(chat.id, chat);
  }
  return [...unique.values()].sort((one, other) => Date.parse(other.updated_at) - Date.parse(one.updated_at));
}
