import type { Environment, PageEvent } from "../environment.ts";
import { type Observable, Subject } from "../observable.ts";
import {
  afterClose,
  type Cursor,
  type ErrorFrame,
  type ListenerFrame,
  type ListFrame,
  saysWhy,
} from "../protocol/protocol.ts";
import { Backoff } from "./backoff.ts";
import { EventLine } from "./events.ts";
import type { Http } from "./http.ts";
import { type LineListener, SocketLine } from "./socket.ts";

/**
 * `connecting`: for the first time. `reconnecting`: it was there, and will be again; never an error. `offline`: no
 * network, or the server said not to come back (`refusal`).
 */
export type ConnectionStatus = "connecting" | "online" | "reconnecting" | "offline";

export interface ConnectionState {
  readonly status: ConnectionStatus;
  /** How frames arrive: over the socket, or as server-sent events where sockets do not last. */
  readonly transport: "socket" | "events";
  /** The closing code after which only {@link Connection.reconnect} tries again. */
  readonly refusal: number | null;
}

/** A chat that the connection follows. */
export interface Subscriber {
  /** What the reader has, asked for each time the chat is watched again. */
  cursor(): Cursor | null;
  onFrame(frame: ListenerFrame): void;
}

/** Milliseconds. Reconnecting: 0–0.5 s at first, at most 0–15 s. */
const RECONNECT = { base: 500, cap: 15_000 };
/** A socket that lasted this long (milliseconds) was good: what comes next starts from the shortest delay. */
const STABLE = 10_000;
/** After so many sockets in a row that were not good, the network is taken for one that kills sockets. */
const FAILURES_BEFORE_EVENTS = 3;
/** What push answers for a chat that is not its user's. */
const DISAGREEMENTS: ReadonlySet<string> = new Set(["not_found", "forbidden"]);
/** How often a socket is tried again while server-sent events work: 0.5–1 times this, in milliseconds. */
const RETURN_TO_SOCKET = 60_000;
/** After so long a silence (milliseconds) of a visible page's socket, ask for a sign of life. */
const SILENCE = 30_000;
/** How long an answer to `watch` may take, in milliseconds. */
const WATCH_TIMEOUT = 20_000;
/** The same for a sign of life, whose answer is small. */
const PROBE_TIMEOUT = 8_000;
/** The same for a socket that may have died meanwhile: a new one costs less than waiting for it. */
const WAKE_TIMEOUT = 1_500;

/**
 * The line to push: one socket for all watched chats, reconnecting for ever, with server-sent events as the second
 * way. It knows which chats are watched and nothing of what is in them.
 */
export class Connection {
  private readonly http: Http;
  private readonly environment: Environment;
  private readonly pushUrl: () => Promise<string>;
  private readonly onList: (frame: ListFrame) => void;
  private readonly subject = new Subject<ConnectionState>({
    status: "connecting",
    transport: "socket",
    refusal: null,
  });
  private readonly watched = new Map<string, Subscriber>();
  private readonly eventLines = new Map<string, EventChat>();
  private readonly backoff: Backoff;
  private socket: SocketLine | null = null;
  /** Whose socket it is. */
  private socketUser: string | null = null;
  /** Frames that wait for that to be known. */
  private doubted: ErrorFrame[] = [];
  /** Raised when a connection attempt starts or is given up: a ticket that arrives later is not used. */
  private epoch = 0;
  private dialling = false;
  private failures = 0;
  private wasOnline = false;
  private closed = false;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private watchdog: ReturnType<typeof setTimeout> | undefined;
  private unlisten: () => void = () => {};

  /**
   * @param pushUrl Resolves to where sockets are opened; asked until it is known.
   * @param onList Told of the user's list of chats, which only sockets carry.
   */
  constructor(
    http: Http,
    environment: Environment,
    pushUrl: () => Promise<string>,
    onList: (frame: ListFrame) => void,
  ) {
    this.http = http;
    this.environment = environment;
    this.pushUrl = pushUrl;
    this.onList = onList;
    this.backoff = new Backoff(RECONNECT, environment.random);
  }

  get state(): Observable<ConnectionState> {
    return this.subject;
  }

  /** Connects, and stays connected until {@link close}. */
  open(): void {
    this.unlisten = this.environment.onPageEvent((event) => this.onPageEvent(event));
    this.connect();
  }

  close(): void {
    this.closed = true;
    this.epoch += 1;
    this.unlisten();
    clearTimeout(this.retry);
    clearTimeout(this.watchdog);
    this.socket?.close();
    this.socket = null;
    this.stopEvents();
  }

  /** Tries again at once, also after a refusal. */
  reconnect(): void {
    this.backoff.reset();
    this.subject.update({ refusal: null });
    this.showDisconnected();
    if (this.socket === null && !this.dialling) this.connect();
  }

  /** Opens the socket anew, as another user's. */
  restart(): void {
    this.epoch += 1;
    this.dialling = false;
    this.socket?.close();
    this.socket = null;
    clearTimeout(this.watchdog);
    this.doubted = [];
    for (const [chatId, chat] of this.eventLines) {
      chat.close();
      const subscriber = this.watched.get(chatId);
      if (subscriber !== undefined) this.openEvents(chatId, subscriber);
    }
    this.reconnect();
  }

  /** Follows a chat, or, when it is followed already, asks again from the subscriber's cursor. */
  watch(chatId: string, subscriber: Subscriber): void {
    this.watched.set(chatId, subscriber);
    if (this.socket?.isReady) this.sendWatch(chatId, subscriber, WATCH_TIMEOUT);
    else if (this.subject.getSnapshot().transport === "events") this.openEvents(chatId, subscriber);
  }

  unwatch(chatId: string): void {
    if (!this.watched.delete(chatId)) return;
    this.socket?.send({ type: "unwatch", chat_id: chatId });
    this.eventLines.get(chatId)?.close();
    this.eventLines.delete(chatId);
  }

  // --- the socket -----------------------------------------------------------------------------------------------

  private connect(): void {
    clearTimeout(this.retry);
    if (this.closed || this.socket !== null || this.dialling) return;
    this.dialling = true;
    const epoch = ++this.epoch;
    this.dial(epoch).catch(() => {
      // The gateway did not give a ticket: the network or the gateway is away. That says nothing about sockets.
      if (epoch !== this.epoch) return;
      this.dialling = false;
      this.showDisconnected();
      this.retryIn(this.backoff.next());
    });
  }

  /** Every connection has a ticket of its own: one lives for a minute only. */
  private async dial(epoch: number): Promise<void> {
    const [url, { ticket }] = await Promise.all([this.pushUrl(), this.http.pushTicket()]);
    if (epoch !== this.epoch) return;
    this.dialling = false;
    let readyAt: number | null = null;
    this.socket = new SocketLine(this.environment, url, ticket, {
      onReady: (userId) => {
        readyAt = performance.now();
        this.socketUser = userId ?? null;
        this.onReady();
      },
      onFrame: (frame) => this.onSocketFrame(frame),
      onEnd: (code) => this.onSocketEnd(code, readyAt !== null && performance.now() - readyAt >= STABLE),
    });
  }

  private onReady(): void {
    this.stopEvents();
    this.wasOnline = true;
    this.subject.set({ status: "online", transport: "socket", refusal: null });
    for (const [chatId, subscriber] of this.watched) this.sendWatch(chatId, subscriber, WATCH_TIMEOUT);
    this.listenForSilence();
  }

  private onSocketFrame(frame: ListenerFrame | ListFrame): void {
    this.listenForSilence();
    if (frame.type === "listed" || frame.type === "relist") this.onList(frame);
    else if (frame.type === "error" && DISAGREEMENTS.has(frame.code)) this.compareUsers(frame);
    else this.deliver(frame);
  }

  /**
   * A chat that the socket's user may not see can be the cookie's: another tab started over, or came first. Then the
   * socket is opened anew, as the cookie's; else the chat is not there, and the reader is told.
   */
  private compareUsers(frame: ErrorFrame): void {
    if (this.doubted.push(frame) > 1) return;
    const socket = this.socket;
    this.http
      .startSession()
      .then(
        ({ user_id }) => user_id === this.socketUser,
        () => true,
      )
      .then((same) => {
        const frames = this.doubted.splice(0);
        if (socket === null || socket !== this.socket) return;
        if (!same) socket.abandon();
        else for (const one of frames) this.deliver(one);
      });
  }

  private onSocketEnd(code: number, good: boolean): void {
    this.socket = null;
    clearTimeout(this.watchdog);
    if (afterClose(code) === "stop") {
      this.stopEvents();
      this.subject.set({ status: "offline", transport: "socket", refusal: code });
      return;
    }
    if (good) this.backoff.reset();
    // Push says why it closes; what ends without its word speaks against sockets on this network.
    this.failures = good || saysWhy(code) ? 0 : this.failures + 1;
    if (this.failures >= FAILURES_BEFORE_EVENTS) this.startEvents();
    this.showDisconnected();
    this.retryIn(this.eventsWork() ? this.returnDelay() : this.backoff.next());
  }

  private retryIn(delay: number): void {
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.connect(), delay);
  }

  private sendWatch(chatId: string, subscriber: Subscriber, timeout: number): void {
    this.expectFrameWithin(timeout);
    this.socket?.send({ type: "watch", chat_id: chatId, after: subscriber.cursor() });
  }

  // --- signs of life: a browser does not show a socket's pings ------------------------------------------------------

  private listenForSilence(): void {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.probe(PROBE_TIMEOUT), SILENCE);
  }

  private expectFrameWithin(timeout: number): void {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.socket?.abandon(), timeout);
  }

  /** Watching a chat again is answered with what is new since the cursor: usually nothing, in one small frame. */
  private probe(timeout: number): void {
    const first = this.watched.entries().next();
    if (first.done || this.environment.isHidden() || !this.socket?.isReady) return;
    this.sendWatch(first.value[0], first.value[1], timeout);
  }

  private onPageEvent(event: PageEvent): void {
    if (event === "hidden" || this.subject.getSnapshot().refusal !== null) return;
    if (event === "offline") {
      // The socket looks open until the network's silence has lasted; the person knows already.
      this.subject.update({ status: "offline" });
      return;
    }
    if (this.socket !== null) {
      this.backoff.reset();
      if (this.subject.getSnapshot().status === "offline" && this.socket.isReady) {
        this.subject.update({ status: "online" });
      }
      this.probe(WAKE_TIMEOUT);
      return;
    }
    // Whoever comes back does not wait for the rest of a delay.
    this.backoff.reset();
    this.showDisconnected();
    if (!this.dialling) this.connect();
  }

  // --- server-sent events ---------------------------------------------------------------------------------------

  private startEvents(): void {
    if (this.subject.getSnapshot().transport === "events") return;
    this.subject.update({ transport: "events" });
    for (const [chatId, subscriber] of this.watched) this.openEvents(chatId, subscriber);
  }

  private openEvents(chatId: string, subscriber: Subscriber): void {
    this.eventLines.get(chatId)?.close();
    const chat = new EventChat(this.http, chatId, subscriber, this.environment.random, {
      onReady: () => {
        this.wasOnline = true;
        this.showDisconnected();
        this.retryIn(this.returnDelay());
      },
      onFrame: (frame) => {
        if (frame.type !== "listed" && frame.type !== "relist") this.deliver(frame);
      },
      onEnd: () => {
        this.showDisconnected();
        // Not the socket's fault, then: both are tried again with backoff, and the first to work wins.
        if (this.socket === null) this.retryIn(this.backoff.next());
      },
    });
    this.eventLines.set(chatId, chat);
  }

  private stopEvents(): void {
    for (const chat of this.eventLines.values()) chat.close();
    this.eventLines.clear();
  }

  private eventsWork(): boolean {
    if (this.subject.getSnapshot().transport !== "events") return false;
    return [...this.eventLines.values()].every((chat) => chat.isReady);
  }

  private returnDelay(): number {
    return RETURN_TO_SOCKET * (0.5 + this.environment.random() / 2);
  }

  // --- telling --------------------------------------------------------------------------------------------------

  private deliver(frame: ListenerFrame): void {
    if (frame.chat_id !== undefined && frame.chat_id !== null) {
      this.watched.get(frame.chat_id)?.onFrame(frame);
    }
  }

  /** Sets the status that follows from everything but a ready socket. */
  private showDisconnected(): void {
    if (this.closed || this.socket?.isReady || this.subject.getSnapshot().refusal !== null) return;
    const status = this.eventsWork()
      ? "online"
      : this.environment.isOffline()
        ? "offline"
        : this.wasOnline
          ? "reconnecting"
          : "connecting";
    if (status !== this.subject.getSnapshot().status) this.subject.update({ status });
  }
}

/** One chat over server-sent events: opened again with the subscriber's cursor whenever it ends. */
class EventChat {
  private readonly backoff: Backoff;
  private readonly open: () => EventLine;
  private line: EventLine;
  private retry: ReturnType<typeof setTimeout> | undefined;
  isReady = false;

  constructor(
    http: Http,
    chatId: string,
    subscriber: Subscriber,
    random: () => number,
    listener: LineListener,
  ) {
    this.backoff = new Backoff(RECONNECT, random);
    this.open = () =>
      new EventLine(http, chatId, subscriber.cursor(), {
        onReady: () => {
          this.isReady = true;
          listener.onReady();
        },
        onFrame: (frame) => {
          this.backoff.reset();
          listener.onFrame(frame);
        },
        onEnd: (code) => {
          this.isReady = false;
          this.retry = setTimeout(() => {
            this.line = this.open();
          }, this.backoff.next());
          listener.onEnd(code);
        },
      });
    this.line = this.open();
  }

  close(): void {
    clearTimeout(this.retry);
    this.line.close();
  }
}
