import { type ChatSnapshot, WatchedChat } from "./chats/chat.ts";
import { ChatList } from "./chats/chats.ts";
import type { ChatState } from "./chats/merge.ts";
import { browserEnvironment, type Environment, type PageEvent } from "./environment.ts";
import { newId } from "./ids.ts";
import type { Observable } from "./observable.ts";
import { Drafts } from "./storage/drafts.ts";
import type { Delivery } from "./storage/outbox.ts";
import type { StoreChange } from "./storage/store.ts";
import { Connection, type ConnectionState } from "./transport/connection.ts";
import { Http, type Models, type NewChat, type ServerConfig, type SessionState } from "./transport/http.ts";

/** How many chats nobody looks at are remembered, for going back without loading. */
const REMEMBERED = 20;

/** A client of one Parley server. Made by {@link connect}. */
export class Parley {
  readonly http: Http;
  /** The user's chats. */
  readonly chats: ChatList;
  /** What the user writes and has not sent. */
  readonly drafts: Drafts;
  private readonly environment: Environment;
  private readonly line: Connection;
  private readonly opened = new Map<string, WatchedChat>();
  private readonly delivery: Delivery;
  private readonly releases: (() => void)[] = [];
  /** Who this browser is, or was last; empty while that is not known. */
  private userId = "";
  /** Resolves when what was stored fits the user. */
  private becoming: Promise<void> = Promise.resolve();
  private configuration: Promise<ServerConfig> | null = null;

  constructor(environment: Environment) {
    this.environment = environment;
    this.http = new Http(environment);
    this.chats = new ChatList(this.http, environment.random);
    const { store, exclusively, random } = environment;
    const user = () => this.userId;
    this.drafts = new Drafts(environment, user);
    this.delivery = { http: this.http, store, exclusively, random, user };
    this.line = new Connection(
      this.http,
      environment,
      () => this.pushUrl(),
      (frame) => this.chats.onFrame(frame),
    );
    let status = this.line.state.getSnapshot().status;
    this.releases.push(
      environment.onPageEvent((event) => this.onPageEvent(event)),
      store.onChange((change) => this.onStoreChange(change)),
      this.http.user.subscribe(() => this.onUser(this.http.user.getSnapshot() ?? "", true)),
      this.line.state.subscribe(() => {
        const before = status;
        status = this.line.state.getSnapshot().status;
        if (status === "online" && before !== "online") this.hurry();
      }),
    );
    // What an earlier page left is shown before the server has said who this is.
    void store.lastUser().then((last) => {
      if (this.http.user.getSnapshot() === null) this.onUser(last, false);
    });
    this.line.open();
  }

  /** How the line to the server is. */
  get connection(): Observable<ConnectionState> {
    return this.line.state;
  }

  /** Whether the browser's session is good; `lost` until the person starts over, or it is good again. */
  get session(): Observable<SessionState> {
    return this.http.state;
  }

  /**
   * Begins as a new guest where the session is lost.
   *
   * @returns Whether this is a new guest; else the session is good again.
   */
  async startOver(): Promise<boolean> {
    const before = this.userId;
    const { user_id } = await this.http.startOver();
    await this.becoming;
    return user_id !== before;
  }

  /** Tries to connect at once, also after the server refused. */
  reconnect(): void {
    this.line.reconnect();
  }

  /** What the server says about itself; asked once. */
  config(): Promise<ServerConfig> {
    this.configuration ??= this.http.config().catch((error: unknown) => {
      this.configuration = null;
      throw error;
    });
    return this.configuration;
  }

  models(): Promise<Models> {
    return this.http.models();
  }

  /** Returns a chat as an observable state: it is watched as long as somebody subscribes to it. */
  watch(chatId: string): WatchedChat {
    return this.opened.get(chatId) ?? this.remember(chatId, null);
  }

  /** Returns a chat that does not exist yet, under an id of its own: it is created with its first message. */
  newChat(chat: Omit<NewChat, "id"> = {}): WatchedChat {
    return this.remember(newId(), chat);
  }

  /** Deletes a chat for all its members. */
  async deleteChat(chatId: string): Promise<void> {
    await this.chats.remove(chatId);
    const chat = this.opened.get(chatId);
    for (const { id } of chat?.getSnapshot().outbox ?? []) chat?.discard(id);
    chat?.close();
    this.opened.delete(chatId);
    this.drafts.of(chatId).write("");
  }

  /** For debugging and tests: what is assembled of a chat, raw texts among it; null when it was never watched. */
  state(chatId: string): ChatState | null {
    return this.opened.get(chatId)?.getSnapshot().state ?? null;
  }

  /** For debugging and tests: the whole of what a page would show of a chat. */
  snapshot(chatId: string): ChatSnapshot | null {
    return this.opened.get(chatId)?.getSnapshot() ?? null;
  }

  /** Ends the connection and everything that waits. */
  close(): void {
    for (const release of this.releases) release();
    for (const chat of this.opened.values()) chat.close();
    this.chats.close();
    this.line.close();
  }

  private remember(chatId: string, creation: NewChat | null): WatchedChat {
    const idle = [...this.opened.values()].filter((chat) => chat.isIdle);
    for (const chat of idle.slice(0, Math.max(0, this.opened.size - REMEMBERED))) {
      chat.close();
      this.opened.delete(chat.id);
    }
    const chat = new WatchedChat(chatId, creation, this.delivery, this.line, (fields) =>
      this.chats.take(fields),
    );
    this.opened.set(chatId, chat);
    return chat;
  }

  // --- the browser, its user, and its other tabs --------------------------------------------------------------------

  private onPageEvent(event: PageEvent): void {
    if (event === "online") this.hurry();
    if (event === "hidden") this.drafts.save();
    if (event !== "visible") return;
    this.drafts.reload();
    for (const chat of this.opened.values()) chat.reloadOutbox();
  }

  private hurry(): void {
    for (const chat of this.opened.values()) chat.hurry();
  }

  /** @param certain Whether the server said so; else it is who this browser was last. */
  private onUser(userId: string, certain: boolean): void {
    const before = this.userId;
    this.userId = userId;
    const newGuest = certain && this.http.session?.new_guest === true;
    if (certain) this.becoming = this.become(userId, newGuest);
    if (before === userId) return;
    if (!newGuest || before === "") this.drafts.onUser();
    for (const chat of this.opened.values()) chat.onUser();
    void this.restore();
    if (!certain || before === "") return;
    // Another user's list and socket.
    this.chats.clear();
    this.chats.refresh().catch(() => undefined);
    this.line.restart();
  }

  /**
   * A guest that begins in a browser that was another user ends that one: by starting over, or since the browser lost
   * its cookie. What was not sent is not sent as the new guest: it becomes, with the draft of the chat that is shown,
   * the draft of a new chat.
   */
  private async become(userId: string, newGuest: boolean): Promise<void> {
    const { store } = this.environment;
    const before = await store.setUser(userId);
    if (!newGuest || before === "" || before === userId) return;
    await store.handOver(before, userId, this.drafts.shown);
    this.drafts.reset();
  }

  /** Sends what earlier pages left, also of chats that are not looked at. */
  private async restore(): Promise<void> {
    const records = await this.environment.store.outgoing(this.userId);
    for (const { chat_id } of records) this.watch(chat_id);
  }

  private onStoreChange(change: StoreChange): void {
    if (change.kind === "outgoing") {
      this.opened.get(change.chat_id)?.reloadOutbox();
    } else if (change.kind === "draft") {
      this.drafts.onChange(change);
    } else if (change.user_id !== this.http.user.getSnapshot() || this.session.getSnapshot() !== "good") {
      // Another tab began anew: the cookie is another user's.
      this.http.startSession().catch(() => undefined);
    }
  }

  private async pushUrl(): Promise<string> {
    const { push_url } = await this.config();
    const url = new URL(push_url, this.environment.origin);
    url.protocol = url.protocol.replace("http", "ws");
    return url.href;
  }
}

/**
 * Connects to the server that the page came from, and stays connected.
 *
 * @param environment What the library touches of the world; a browser's by default.
 */
export function connect(environment: Environment = browserEnvironment()): Parley {
  return new Parley(environment);
}
