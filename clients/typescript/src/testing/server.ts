import {
  type Cursor,
  type Environment,
  MemoryStore,
  type PageEvent,
  type PresenceFrame,
  type RejectedFrame,
  type RoomFrame,
  type ServerFrame,
  type SignIn,
  type SocketHandlers,
  type Store,
  type TabStorage,
} from "../index.ts";
import { type Act, CHAT, Room } from "./room.ts";

interface Reader {
  deliver(frame: ServerFrame): void;
}

/** A received HTTP request. */
export interface Received {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}

type Handler = (request: Received) => Response | Promise<Response>;

/** A server in memory, with faults of the network; also the client's environment. */
export class FakeServer implements Environment {
  readonly origin = "http://parley.test";
  readonly base = "";
  /** The user of the cookie and of tickets. */
  user = "u";
  /** Whether that user is a guest. */
  guest = true;
  /** How one signs in. */
  auth: SignIn = { guest: true, oidc: null };
  readonly withLock = <Result>(_: string, work: () => Promise<Result>): Promise<Result> => work();
  /** The store shared by the tabs of the browser. */
  store: Store = new MemoryStore();
  readonly tabTexts = new Map<string, string>();
  readonly tabStorage: TabStorage = {
    get: (name) => this.tabTexts.get(name) ?? null,
    set: (name, text) => void (text === null ? this.tabTexts.delete(name) : this.tabTexts.set(name, text)),
  };
  readonly rooms = new Map<string, Room>();
  readonly sockets: FakeSocket[] = [];
  readonly streams: FakeStream[] = [];
  readonly received: Received[] = [];
  /** The value of `random`: just below 1 makes every jittered delay the longest. */
  fraction = 0.999999;
  /** Every socket closes at once, as behind a proxy without websocket support. */
  socketsBroken = false;
  /** Requests fail, and sockets never open. */
  unreachable = false;
  offline = false;
  hidden = false;
  /** Handlers that replace the server's own, by "METHOD /path". */
  readonly overrides = new Map<string, Handler>();
  private readonly listeners = new Set<(event: PageEvent) => void>();
  private readonly watchers = new Map<string, Set<Reader>>();
  private tickets = 0;

  constructor() {
    this.rooms.set(CHAT, new Room());
  }

  get room(): Room {
    return this.roomOf(CHAT);
  }

  roomOf(chatId: string): Room {
    const room = this.rooms.get(chatId);
    if (room === undefined) throw new Error(`no room ${chatId}`);
    return room;
  }

  /** The socket that was opened last. */
  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error("no socket was opened");
    return socket;
  }

  /** Returns the requests whose path ends with `end`. */
  requests(method: string, end: string): Received[] {
    return this.received.filter((request) => request.method === method && request.path.endsWith(end));
  }

  // --- actions ----------------------------------------------------------------------------------------------------

  /** Performs an action in a chat and publishes its frames. */
  act(act: Act, chatId: string = CHAT): void {
    this.publish(this.roomOf(chatId).perform(act));
  }

  publish(frames: readonly (RoomFrame | PresenceFrame | RejectedFrame)[]): void {
    for (const frame of frames) {
      for (const reader of [...(this.watchers.get(frame.chat_id) ?? [])]) reader.deliver(frame);
    }
  }

  emit(event: PageEvent): void {
    for (const listener of this.listeners) listener(event);
  }

  watch(reader: Reader, chatId: string, after: Cursor | null): void {
    const room = this.rooms.get(chatId);
    if (room === undefined) {
      reader.deliver({
        type: "error",
        code: "not_found",
        message: "There is no such chat.",
        chat_id: chatId,
      });
      return;
    }
    const readers = this.watchers.get(chatId) ?? new Set();
    this.watchers.set(chatId, readers.add(reader));
    reader.deliver(room.snapshot(after));
  }

  leave(reader: Reader, chatId?: string): void {
    for (const [id, readers] of this.watchers) {
      if (chatId === undefined || id === chatId) readers.delete(reader);
    }
  }

  // --- the environment --------------------------------------------------------------------------------------------

  readonly random = (): number => this.fraction;
  readonly isOffline = (): boolean => this.offline;
  readonly isHidden = (): boolean => this.hidden;

  readonly onPageEvent = (listener: (event: PageEvent) => void): (() => void) => {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  };

  readonly openSocket = (url: string, handlers: SocketHandlers): FakeSocket => {
    const socket = new FakeSocket(this, url, handlers);
    this.sockets.push(socket);
    if (!this.unreachable) {
      queueMicrotask(() => (this.socketsBroken ? socket.cut() : handlers.onOpen()));
    }
    return socket;
  };

  readonly fetch = async (input: string, init: RequestInit): Promise<Response> => {
    if (this.unreachable) throw new TypeError("Failed to fetch");
    const url = new URL(input, this.origin);
    const request = {
      method: init.method ?? "GET",
      path: url.pathname,
      body: typeof init.body === "string" ? JSON.parse(init.body) : null,
    };
    this.received.push(request);
    const override = this.overrides.get(`${request.method} ${url.pathname}`);
    if (override !== undefined) return override(request);
    const user = new Headers(init.headers).get("parley-user");
    if (user !== null && user !== this.user) return problem(412, "other_user");
    return this.respond(request, init, url);
  };

  private respond(request: Received, init: RequestInit, url: URL): Response {
    const { method, path, body } = request;
    const chatId = path.split("/")[3] ?? "";
    const route = `${method} ${path.replace(chatId, ":id")}`;
    switch (path === "/v1/chats" || chatId === "" ? `${method} ${path}` : route) {
      case "POST /v1/session":
        return json({
          user_id: this.user,
          access_token: "t",
          expires_at: in1Hour(),
          user: { name: this.guest ? null : this.user, email: null, role: "user", guest: this.guest },
        });
      case "GET /v1/config":
        return json({ push_url: "/ws", limits: { content_bytes: 1024 }, auth: this.auth });
      case "POST /v1/push-ticket":
        this.tickets += 1;
        return json({ ticket: `ticket-${this.tickets}`, expires_at: in1Hour() });
      case "POST /v1/chats": {
        const { id } = body as { id: string };
        const room = this.rooms.get(id) ?? new Room(id);
        this.rooms.set(id, room);
        return json(room.chat, 201);
      }
      case "POST /v1/chats/:id/messages": {
        const { id, content } = body as { id: string; content: string };
        this.publish(this.roomOf(chatId).ask(content, id));
        return json({ message_id: id, chat_id: chatId }, 202);
      }
      case "GET /v1/invitations":
      case "GET /v1/chats":
        return json({ items: [], next: null });
      case "GET /v1/chats/:id/messages":
        return json({ items: [], next: null });
      case "GET /v1/chats/:id/stream": {
        if (!this.rooms.has(chatId)) return problem(404, "not_found");
        const after = new Headers(init.headers).get("last-event-id");
        const stream = new FakeStream(this, chatId, after === null ? null : JSON.parse(after), init.signal);
        this.streams.push(stream);
        return stream.response;
      }
      default:
        throw new Error(`no route ${method} ${url.pathname}`);
    }
  }
}

/** A socket, seen from the server. */
export class FakeSocket implements Reader {
  /** What the client sent. */
  readonly frames: { type: string; ticket?: string; chat_id?: string; after?: Cursor | null }[] = [];
  readonly url: string;
  /** The network drops everything in both directions, without an error. */
  dead = false;
  open = true;
  private readonly server: FakeServer;
  private readonly handlers: SocketHandlers;

  constructor(server: FakeServer, url: string, handlers: SocketHandlers) {
    this.server = server;
    this.url = url;
    this.handlers = handlers;
  }

  /** The cursors that the client watched this chat with. */
  cursors(chatId: string = CHAT): (Cursor | null | undefined)[] {
    return this.frames
      .filter(({ type, chat_id }) => type === "watch" && chat_id === chatId)
      .map(({ after }) => after);
  }

  deliver(frame: ServerFrame): void {
    if (this.open && !this.dead) this.handlers.onMessage(JSON.stringify(frame));
  }

  /** Closes the socket from the server or the network. */
  cut(code = 1006): void {
    if (!this.open) return;
    this.close();
    this.handlers.onClose(code);
  }

  send(data: string): void {
    if (!this.open) throw new Error("sent to a socket that is closed");
    if (this.dead) return;
    const frame = JSON.parse(data) as (typeof this.frames)[number];
    this.frames.push(frame);
    if (frame.type === "auth") this.deliver({ type: "ready", protocol: 1, user_id: this.server.user });
    if (frame.type === "watch") this.server.watch(this, frame.chat_id ?? "", frame.after ?? null);
    if (frame.type === "unwatch") this.server.leave(this, frame.chat_id);
  }

  close(): void {
    this.open = false;
    this.server.leave(this);
  }
}

/** Server-sent events, seen from the server. */
export class FakeStream implements Reader {
  readonly response: Response;
  readonly after: Cursor | null;
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  private open = true;
  private readonly server: FakeServer;

  constructor(
    server: FakeServer,
    chatId: string,
    after: Cursor | null,
    signal: AbortSignal | null | undefined,
  ) {
    this.server = server;
    this.after = after;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.controller = controller;
      },
      cancel: () => this.leave(),
    });
    this.response = new Response(body, { headers: { "content-type": "text/event-stream" } });
    signal?.addEventListener("abort", () => {
      if (this.open) this.controller?.error(new DOMException("aborted", "AbortError"));
      this.leave();
    });
    server.watch(this, chatId, after);
  }

  get isOpen(): boolean {
    return this.open;
  }

  deliver(frame: ServerFrame): void {
    if (this.open) this.controller?.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(frame)}\n\n`));
  }

  cut(): void {
    if (!this.open) return;
    this.leave();
    this.controller?.error(new TypeError("network error"));
  }

  private leave(): void {
    this.open = false;
    this.server.leave(this);
  }
}

export function json(body: unknown, status = 200): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
}

export function problem(status: number, code: string, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify({ status, code, title: code, detail: `It is ${code}.` }), {
    status,
    headers: { "content-type": "application/problem+json", ...headers },
  });
}

function in1Hour(): string {
  return new Date(Date.now() + 3_600_000).toISOString();
}
