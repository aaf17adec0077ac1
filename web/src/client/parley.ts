import { type ChatSnapshot, WatchedChat } from "./chat";
import { ChatList } from "./chats";
import { Connection, type ConnectionState } from "./connection";
import { browserEnvironment, type Environment } from "./environment";
import { Http, type Models, type NewChat, type ServerConfig, type SessionState } from "./http";
import { newId } from "./ids";
import type { ChatState } from "./merge";
import type { Observable } from "./observable";

/** How many chats nobody looks at are remembered, for going back without loading. */
const REMEMBERED = 20;

/** A client of one Parley server. Made by {@link connect}. */
export class Parley {
  readonly http: Http;
  /** The user's chats. */
  readonly chats: ChatList;
  private readonly environment: Environment;
  private readonly line: Connection;
  private readonly opened = new Map<string, WatchedChat>();
  private readonly unlisten: () => void;
  private configuration: Promise<ServerConfig> | null = null;

  constructor(environment: Environment) {
    this.environment = environment;
    this.http = new Http(environment);
    this.chats = new ChatList(this.http, environment.random);
    this.line = new Connection(
      this.http,
      environment,
      () => this.pushUrl(),
      (frame) => this.chats.onFrame(frame),
    );
    this.unlisten = environment.onPageEvent((event) => {
      if (event === "online") for (const chat of this.opened.values()) chat.hurry();
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

  /** Begins as a new guest where the session is lost. */
  async startOver(): Promise<void> {
    await this.http.startOver();
    await this.chats.refresh();
    this.line.reconnect();
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
    this.opened.get(chatId)?.close();
    this.opened.delete(chatId);
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
    this.unlisten();
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
    const chat = new WatchedChat(chatId, creation, this.http, this.line, this.environment.random, (fields) =>
      this.chats.take(fields),
    );
    this.opened.set(chatId, chat);
    return chat;
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
