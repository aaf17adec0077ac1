import { InvitationList } from "./account/invitations.ts";
import { type ChatSnapshot, WatchedChat } from "./chats/chat.ts";
import { ChatList } from "./chats/chats.ts";
import type { ChatState } from "./chats/merge.ts";
import { browserEnvironment, type Environment, type PageEvent } from "./environment.ts";
import { newId } from "./ids.ts";
import { type Observable, Subject } from "./observable.ts";
import type { Config, Models, NewChat } from "./protocol/bodies.ts";
import { Drafts } from "./storage/drafts.ts";
import type { Delivery } from "./storage/outbox.ts";
import { NOBODY, type StoreChange, type StoredUser } from "./storage/store.ts";
import { Connection, type ConnectionState } from "./transport/connection.ts";
import { Http, type SessionState } from "./transport/http.ts";

/** How many idle chats stay in memory, so that going back loads nothing. */
const MAX_IDLE_CHATS = 20;

/** A client of one Parley server. Made by {@link connect}. */
export class Parley {
  readonly http: Http;
  /** The user's chats. */
  readonly chats: ChatList;
  /** The user's invitations to chats of others. */
  readonly invitations: InvitationList;
  /** The user's drafts. */
  readonly drafts: Drafts;
  private readonly environment: Environment;
  private readonly pushConnection: Connection;
  private readonly openChats = new Map<string, WatchedChat>();
  private readonly delivery: Delivery;
  private readonly subscriptions: (() => void)[] = [];
  /** The user of this browser's session, or of its last one; nobody while unknown. */
  private readonly currentUser = new Subject<StoredUser>(NOBODY);
  /** Whether the server has named the user. */
  private userIsCertain = false;
  /** Resolves when the store belongs to the current user. */
  private userChange: Promise<void> = Promise.resolve();
  private configuration: Promise<Config> | null = null;

  constructor(environment: Environment) {
    this.environment = environment;
    this.http = new Http(environment);
    this.chats = new ChatList(this.http, environment.random);
    this.invitations = new InvitationList(this.http, environment.random);
    const { store, withLock, random } = environment;
    const user = () => this.currentUser.getSnapshot().id;
    this.drafts = new Drafts(environment, user);
    this.delivery = { http: this.http, store, withLock, random, user };
    this.pushConnection = new Connection(
      this.http,
      environment,
      () => this.pushUrl(),
      (frame) => {
        this.invitations.onFrame(frame);
        if (frame.type !== "invitations") this.chats.onFrame(frame);
      },
    );
    let status = this.pushConnection.state.getSnapshot().status;
    this.subscriptions.push(
      environment.onPageEvent((event) => this.onPageEvent(event)),
      store.onChange((change) => this.onStoreChange(change)),
      this.http.sessions.subscribe(() => this.onSession()),
      this.pushConnection.state.subscribe(() => {
        const before = status;
        status = this.pushConnection.state.getSnapshot().status;
        if (status === "online" && before !== "online") this.retryNow();
      }),
    );
    // The last user's drafts and messages are shown before the session is known.
    void store.lastUser().then((last) => {
      if (this.http.user.getSnapshot() === null) this.onUser(last, false);
    });
    this.pushConnection.open();
  }

  /** The state of the connection to push. */
  get connection(): Observable<ConnectionState> {
    return this.pushConnection.state;
  }

  /** The state of the session; `lost` until the person starts over or the session is valid again. */
  get session(): Observable<SessionState> {
    return this.http.state;
  }

  /** The user of this browser's session, or of its last one; nobody while unknown. */
  get user(): Observable<StoredUser> {
    return this.currentUser;
  }

  /**
   * Ends this session, or all of the user's, and closes the client: the page has to be loaded again. Drafts and unsent
   * messages stay in the browser for the user.
   *
   * @returns The address where the identity provider ends its own session; null when there is none.
   */
  async signOut({ everywhere }: { readonly everywhere: boolean }): Promise<string | null> {
    const reply = await this.http.endSession(everywhere);
    this.close();
    await this.environment.store.setUser(NOBODY);
    return reply?.logout_url ?? null;
  }

  /** Deletes what the browser stores of the user, who was erased, and closes the client. */
  async forgetUser(): Promise<void> {
    this.close();
    await this.environment.store.forget(this.currentUser.getSnapshot().id);
    await this.environment.store.setUser(NOBODY);
  }

  /**
   * Starts a new guest's session in place of a lost one.
   *
   * @returns Whether the user is a new guest; otherwise the session was valid again.
   */
  async startOver(): Promise<boolean> {
    const before = this.currentUser.getSnapshot().id;
    const { user_id } = await this.http.startOver();
    await this.userChange;
    return user_id !== before;
  }

  /** Connects at once, also after the server refused the connection. */
  reconnect(): void {
    this.pushConnection.reconnect();
  }

  /** Returns the server's configuration, which is requested once. */
  config(): Promise<Config> {
    this.configuration ??= this.http.config().catch((error: unknown) => {
      this.configuration = null;
      throw error;
    });
    return this.configuration;
  }

  models(): Promise<Models> {
    return this.http.models();
  }

  /** Returns a chat as an observable; it is watched while it has subscribers. */
  watch(chatId: string): WatchedChat {
    return this.openChats.get(chatId) ?? this.openChat(chatId, null);
  }

  /** Returns a new chat under a new id; the server creates it with its first message. */
  newChat(chat: Omit<NewChat, "id"> = {}): WatchedChat {
    return this.openChat(newId(), chat);
  }

  /** Deletes a chat for all its members. */
  async deleteChat(chatId: string): Promise<void> {
    await this.chats.remove(chatId);
    const chat = this.openChats.get(chatId);
    for (const { id } of chat?.getSnapshot().outbox ?? []) chat?.discard(id);
    chat?.close();
    this.openChats.delete(chatId);
    this.drafts.of(chatId).write("");
  }

  /** For debugging and tests: the assembled state of a chat with its raw texts; null when it was never watched. */
  state(chatId: string): ChatState | null {
    return this.openChats.get(chatId)?.getSnapshot().state ?? null;
  }

  /** For debugging and tests: the snapshot of a chat as a page gets it. */
  snapshot(chatId: string): ChatSnapshot | null {
    return this.openChats.get(chatId)?.getSnapshot() ?? null;
  }

  /** Closes the connection and cancels all timers. */
  close(): void {
    for (const unsubscribe of this.subscriptions) unsubscribe();
    for (const chat of this.openChats.values()) chat.close();
    this.chats.close();
    this.invitations.close();
    this.pushConnection.close();
  }

  private openChat(chatId: string, creation: NewChat | null): WatchedChat {
    const idle = [...this.openChats.values()].filter((chat) => chat.isIdle);
    for (const chat of idle.slice(0, Math.max(0, this.openChats.size - MAX_IDLE_CHATS))) {
      chat.close();
      this.openChats.delete(chat.id);
    }
    const chat = new WatchedChat(chatId, creation, this.delivery, this.pushConnection, (fields) =>
      this.chats.upsert(fields),
    );
    this.openChats.set(chatId, chat);
    return chat;
  }

  // --- page events, the user, other tabs --------------------------------------------------------------------------

  private onPageEvent(event: PageEvent): void {
    if (event === "online") this.retryNow();
    if (event === "hidden") this.drafts.save();
    if (event !== "visible") return;
    this.drafts.reload();
    for (const chat of this.openChats.values()) chat.reloadOutbox();
  }

  private retryNow(): void {
    for (const chat of this.openChats.values()) chat.retryNow();
  }

  private onSession(): void {
    const { session } = this.http;
    if (session === null) return;
    const user = { id: session.user_id, guest: session.user?.guest !== false };
    const before = this.currentUser.getSnapshot();
    if (this.userIsCertain && before.id === user.id && before.guest === user.guest) return;
    this.userIsCertain = true;
    this.onUser(user, true);
  }

  /** @param certain Whether the server named the user; otherwise it is the last user of this browser. */
  private onUser(user: StoredUser, certain: boolean): void {
    const before = this.currentUser.getSnapshot();
    this.currentUser.set(user);
    const newGuest = certain && this.http.session?.new_guest === true;
    if (certain) this.userChange = this.applyUser(user, newGuest);
    if (before.id === user.id) return;
    if (!before.guest) this.drafts.leave(before.id);
    else if (!newGuest || before.id === "") this.drafts.onUser();
    for (const chat of this.openChats.values()) chat.onUser();
    void this.restore();
    if (!certain || before.id === "") return;
    // The list and the socket belong to the user before.
    this.chats.clear();
    this.invitations.clear();
    this.chats.refresh().catch(() => undefined);
    this.pushConnection.restart();
  }

  /**
   * Stores who the user is. A guest whose cookie is lost, or who signed in, does not come back: messages that were not
   * sent are not sent as another user, and become the draft of a new chat, with the draft of the chat that is shown. What
   * any other user left stays until that user signs in again.
   */
  private async applyUser(user: StoredUser, newGuest: boolean): Promise<void> {
    const { store } = this.environment;
    // A page shows another chat from now on.
    const { shown } = this.drafts;
    const before = await store.setUser(user);
    const replaced = before.guest && (newGuest || !user.guest);
    if (!replaced || before.id === "" || before.id === user.id) return;
    await store.transfer(before.id, user.id, shown);
    this.drafts.reset();
  }

  /** Resumes sending the messages of earlier pages, also of chats that are not open. */
  private async restore(): Promise<void> {
    const records = await this.environment.store.outgoing(this.currentUser.getSnapshot().id);
    for (const { chat_id } of records) this.watch(chat_id);
  }

  private onStoreChange(change: StoreChange): void {
    if (change.kind === "outgoing") {
      this.openChats.get(change.chat_id)?.reloadOutbox();
    } else if (change.kind === "draft") {
      this.drafts.onChange(change);
    } else if (change.user_id !== this.http.user.getSnapshot() || this.session.getSnapshot() !== "good") {
      // Another tab started a session of another user: the cookie has changed.
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
 * @param environment What the library uses of the browser; by default the browser itself.
 */
export function connect(environment: Environment = browserEnvironment()): Parley {
  return new Parley(environment);
}
