import type { Environment, PageEvent } from "../environment.ts";
import { type Observable, Subject } from "../observable.ts";
import {
  afterClose,
  type Cursor,
  type ErrorFrame,
  isPushCloseCode,
  isUserFrame,
  type ListenerFrame,
  SESSION_ENDED,
  type UserFrame,
} from "../protocol/protocol.ts";
import { Backoff } from "./backoff.ts";
import { EventStreamTransport } from "./events.ts";
import { type Http, SessionError } from "./http.ts";
import { SocketTransport, type TransportListener } from "./socket.ts";

/**
 * `connecting`: for the first time. `reconnecting`: the connection was lost and is retried; not an error. `offline`: there
 * is no network, or the server refused the connection (`refusal`).
 */
export type ConnectionStatus = "connecting" | "online" | "reconnecting" | "offline";

export interface ConnectionState {
  readonly status: ConnectionStatus;
  /** The transport of frames: a websocket, or server-sent events where websockets do not last. */
  readonly transport: "socket" | "events";
  /**
   * The close code of a permanent refusal, after which only {@link Connection.reconnect} connects again; after
   * `SESSION_ENDED` also a new session.
   */
  readonly refusal: number | null;
}

/** The receiver of a watched chat's frames. */
export interface Subscriber {
  /** Returns the cursor to resume from, each time the chat is watched again. */
  cursor(): Cursor | null;
  onFrame(frame: ListenerFrame): void;
  /** The transport ended: what is not part of the state is not known any more. */
  onDisconnect(): void;
}

/** Milliseconds between attempts: 0–0.5 s at first, at most 0–15 s. */
const RECONNECT_BACKOFF = { base: 500, cap: 15_000 };
/** Milliseconds after which a socket counts as stable, and the backoff starts again from the shortest delay. */
const STABLE_AFTER = 10_000;
/** The number of unstable sockets in a row after which server-sent events are used. */
const FAILURES_BEFORE_EVENTS = 3;
/** The error codes of push for a chat that its user may not see. */
const ACCESS_ERRORS: ReadonlySet<string> = new Set(["not_found", "forbidden"]);
/** Milliseconds between attempts to open a socket while server-sent events work, times 0.5–1. */
const SOCKET_RETRY_INTERVAL = 60_000;
/** Milliseconds of silence after which a visible page probes its socket. */
const SILENCE_TIMEOUT = 30_000;
/** Milliseconds for the response to `watch`. */
const WATCH_TIMEOUT = 20_000;
/** Milliseconds for the response to a probe, which is small. */
const PROBE_TIMEOUT = 8_000;
/** Milliseconds for the response to a probe after sleep: a new socket costs less than waiting. */
const WAKE_TIMEOUT = 1_500;

/**
 * The connection to push: one socket for all watched chats, with reconnects, and server-sent events as fallback. It knows
 * which chats are watched, and not their contents.
 */
export class Connection {
  private readonly http: Http;
  private readonly environment: Environment;
  private readonly pushUrl: () => Promise<string>;
  private readonly onUserFrame: (frame: UserFrame) => void;
  private readonly subject = new Subject<ConnectionState>({
    status: "connecting",
    transport: "socket",
    refusal: null,
  });
  private readonly watched = new Map<string, Subscriber>();
  private readonly eventStreams = new Map<string, ReconnectingEventStream>();
  private readonly backoff: Backoff;
  private socket: SocketTransport | null = null;
  /** The user of the socket; null until it is ready. */
  private socketUser: string | null = null;
  /** Access errors that are delivered once the socket's user is verified. */
  private unverifiedErrors: ErrorFrame[] = [];
  /** Raised when a connection attempt starts or is cancelled: a ticket that arrives later is not used. */
  private epoch = 0;
  private connecting = false;
  private failures = 0;
  private wasOnline = false;
  private closed = false;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private silenceTimer: ReturnType<typeof setTimeout> | undefined;
  private removeListeners: () => void = () => {};

  /**
   * @param pushUrl Resolves to the socket's URL; called for each attempt.
   * @param onUserFrame Called with frames about the user, which only sockets carry.
   */
  constructor(
    http: Http,
    environment: Environment,
    pushUrl: () => Promise<string>,
    onUserFrame: (frame: UserFrame) => void,
  ) {
    this.http = http;
    this.environment = environment;
    this.pushUrl = pushUrl;
    this.onUserFrame = onUserFrame;
    this.backoff = new Backoff(RECONNECT_BACKOFF, environment.random);
  }

  get state(): Observable<ConnectionState> {
    return this.subject;
  }

  /** Connects, and stays connected until {@link close}. */
  open(): void {
    const removePageListener = this.environment.onPageEvent((event) => this.onPageEvent(event));
    const unsubscribe = this.http.state.subscribe(() => {
      const isGood = this.http.state.getSnapshot() === "good";
      if (isGood && this.subject.getSnapshot().refusal === SESSION_ENDED) this.reconnect();
    });
    this.removeListeners = () => {
      removePageListener();
      unsubscribe();
    };
    this.connect();
  }

  close(): void {
    this.closed = true;
    this.epoch += 1;
    this.removeListeners();
    clearTimeout(this.retry);
    clearTimeout(this.silenceTimer);
    this.socket?.close();
    this.socket = null;
    this.stopEvents();
  }

  /** Connects at once, also after a refusal. */
  reconnect(): void {
    this.backoff.reset();
    this.subject.update({ refusal: null });
    this.updateStatus();
    if (this.socket === null && !this.connecting) this.connect();
  }

  /** Closes the transports and connects as another user. */
  restart(): void {
    this.epoch += 1;
    this.connecting = false;
    this.socket?.close();
    this.socket = null;
    clearTimeout(this.silenceTimer);
    this.unverifiedErrors = [];
    for (const [chatId, chat] of this.eventStreams) {
      chat.close();
      const subscriber = this.watched.get(chatId);
      if (subscriber !== undefined) this.openEvents(chatId, subscriber);
    }
    this.reconnect();
  }

  /** Watches a chat; when it is watched already, resumes it from the subscriber's cursor. */
  watch(chatId: string, subscriber: Subscriber): void {
    this.watched.set(chatId, subscriber);
    if (this.socket?.isReady) this.sendWatch(chatId, subscriber, WATCH_TIMEOUT);
    else if (this.subject.getSnapshot().transport === "events") this.openEvents(chatId, subscriber);
  }

  unwatch(chatId: string): void {
    if (!this.watched.delete(chatId)) return;
    this.socket?.send({ type: "unwatch", chat_id: chatId });
    this.eventStreams.get(chatId)?.close();
    this.eventStreams.delete(chatId);
  }

  /** Reports that the user writes in a watched chat; only sockets can. */
  typing(chatId: string): void {
    this.socket?.send({ type: "typing", chat_id: chatId });
  }

  // --- the socket -----------------------------------------------------------------------------------------------

  private connect(): void {
    clearTimeout(this.retry);
    if (this.closed || this.socket !== null || this.connecting) return;
    this.connecting = true;
    const epoch = ++this.epoch;
    this.openSocket(epoch).catch((error: unknown) => {
      if (epoch !== this.epoch) return;
      this.connecting = false;
      this.onNoTicket(error);
    });
  }

  /** Retries when the network or the gateway is unavailable, which is no evidence against sockets; stops when there is no session. */
  private onNoTicket(error: unknown): void {
    if (error instanceof SessionError) {
      this.stopEvents();
      this.subject.set({ status: "offline", transport: "socket", refusal: SESSION_ENDED });
      return;
    }
    this.updateStatus();
    this.retryIn(this.backoff.next());
  }

  /** Asks whether the browser has another session by now, after the transport's has ended; otherwise it is signed out. */
  private checkSession(): void {
    this.stopEvents();
    clearTimeout(this.retry);
    this.failures = 0;
    this.subject.update({ transport: "socket" });
    this.updateStatus();
    const epoch = ++this.epoch;
    this.http.startSession().then(
      () => {
        if (epoch === this.epoch) this.retryIn(this.backoff.next());
      },
      (error: unknown) => {
        if (epoch === this.epoch) this.onNoTicket(error);
      },
    );
  }

  /** Opens a socket with a new ticket: a ticket can be used once, within a minute. */
  private async openSocket(epoch: number): Promise<void> {
    const [url, { ticket }] = await Promise.all([this.pushUrl(), this.http.pushTicket()]);
    if (epoch !== this.epoch) return;
    this.connecting = false;
    let readyAt: number | null = null;
    this.socket = new SocketTransport(this.environment, url, ticket, {
      onReady: (userId) => {
        readyAt = performance.now();
        this.socketUser = userId ?? null;
        this.onReady();
      },
      onFrame: (frame) => this.onSocketFrame(frame),
      onEnd: (code) =>
        this.onSocketEnd(code, readyAt !== null && performance.now() - readyAt >= STABLE_AFTER),
    });
  }

  private onReady(): void {
    this.stopEvents();
    this.wasOnline = true;
    this.subject.set({ status: "online", transport: "socket", refusal: null });
    for (const [chatId, subscriber] of this.watched) this.sendWatch(chatId, subscriber, WATCH_TIMEOUT);
    this.restartSilenceTimer();
  }

  private onSocketFrame(frame: ListenerFrame | UserFrame): void {
    this.restartSilenceTimer();
    if (isUserFrame(frame)) this.onUserFrame(frame);
    else if (frame.type === "error" && ACCESS_ERRORS.has(frame.code)) this.verifyUser(frame);
    else this.deliver(frame);
  }

  /**
   * Compares the socket's user with the session's after an access error: another tab may have started another session. When
   * they differ, the socket is replaced; otherwise the errors are delivered.
   */
  private verifyUser(frame: ErrorFrame): void {
    if (this.unverifiedErrors.push(frame) > 1) return;
    const socket = this.socket;
    this.http
      .startSession()
      .then(
        ({ user_id }) => user_id === this.socketUser,
        () => true,
      )
      .then((same) => {
        const frames = this.unverifiedErrors.splice(0);
        if (socket === null || socket !== this.socket) return;
        if (!same) socket.abandon();
        else for (const one of frames) this.deliver(one);
      });
  }

  private onSocketEnd(code: number, stable: boolean): void {
    this.socket = null;
    for (const subscriber of this.watched.values()) subscriber.onDisconnect();
    clearTimeout(this.silenceTimer);
    if (code === SESSION_ENDED) {
      this.checkSession();
      return;
    }
    if (afterClose(code) === "stop") {
      this.stopEvents();
      this.subject.set({ status: "offline", transport: "socket", refusal: code });
      return;
    }
    if (stable) this.backoff.reset();
    // Push sends a close code. A socket that ends without one is evidence against sockets on this network.
    this.failures = stable || isPushCloseCode(code) ? 0 : this.failures + 1;
    if (this.failures >= FAILURES_BEFORE_EVENTS) this.startEvents();
    this.updateStatus();
    this.retryIn(this.eventsReady() ? this.socketRetryDelay() : this.backoff.next());
  }

  private retryIn(delay: number): void {
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.connect(), delay);
  }

  private sendWatch(chatId: string, subscriber: Subscriber, timeout: number): void {
    this.expectFrameWithin(timeout);
    this.socket?.send({ type: "watch", chat_id: chatId, after: subscriber.cursor() });
  }

  // --- liveness: browsers do not expose a socket's pings ------------------------------------------------------------

  private restartSilenceTimer(): void {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => this.probe(PROBE_TIMEOUT), SILENCE_TIMEOUT);
  }

  private expectFrameWithin(timeout: number): void {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => this.socket?.abandon(), timeout);
  }

  /** Probes the socket by watching a chat again, which returns what is new since the cursor: usually one small frame. */
  private probe(timeout: number): void {
    const first = this.watched.entries().next();
    if (first.done || this.environment.isHidden() || !this.socket?.isReady) return;
    this.sendWatch(first.value[0], first.value[1], timeout);
  }

  private onPageEvent(event: PageEvent): void {
    const { refusal } = this.subject.getSnapshot();
    if (event === "visible" && refusal === SESSION_ENDED) this.checkSession();
    if (event === "hidden" || refusal !== null) return;
    if (event === "offline") {
      // The socket stays open until it times out; the page shows the state at once.
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
    // A person who returns does not wait for the rest of the backoff.
    this.backoff.reset();
    this.updateStatus();
    if (!this.connecting) this.connect();
  }

  // --- server-sent events ---------------------------------------------------------------------------------------

  private startEvents(): void {
    if (this.subject.getSnapshot().transport === "events") return;
    this.subject.update({ transport: "events" });
    for (const [chatId, subscriber] of this.watched) this.openEvents(chatId, subscriber);
  }

  private openEvents(chatId: string, subscriber: Subscriber): void {
    this.eventStreams.get(chatId)?.close();
    const chat = new ReconnectingEventStream(this.http, chatId, subscriber, this.environment.random, {
      onReady: () => {
        this.wasOnline = true;
        this.updateStatus();
        this.retryIn(this.socketRetryDelay());
      },
      onFrame: (frame) => {
        if (!isUserFrame(frame)) this.deliver(frame);
      },
      onEnd: (code) => {
        if (code === SESSION_ENDED) {
          this.checkSession();
          return;
        }
        this.updateStatus();
        // Events fail as well as sockets: both are retried with backoff, and the first to connect is used.
        if (this.socket === null) this.retryIn(this.backoff.next());
      },
    });
    this.eventStreams.set(chatId, chat);
  }

  private stopEvents(): void {
    for (const chat of this.eventStreams.values()) chat.close();
    this.eventStreams.clear();
  }

  private eventsReady(): boolean {
    if (this.subject.getSnapshot().transport !== "events") return false;
    return [...this.eventStreams.values()].every((chat) => chat.isReady);
  }

  private socketRetryDelay(): number {
    return SOCKET_RETRY_INTERVAL * (0.5 + this.environment.random() / 2);
  }

  // --- delivery and status --------------------------------------------------------------------------------------

  private deliver(frame: ListenerFrame): void {
    if (frame.chat_id !== undefined && frame.chat_id !== null) {
      this.watched.get(frame.chat_id)?.onFrame(frame);
    }
  }

  /** Sets the status, unless a socket is ready. */
  private updateStatus(): void {
    if (this.closed || this.socket?.isReady || this.subject.getSnapshot().refusal !== null) return;
    const status = this.eventsReady()
      ? "online"
      : this.environment.isOffline()
        ? "offline"
        : this.wasOnline
          ? "reconnecting"
          : "connecting";
    if (status !== this.subject.getSnapshot().status) this.subject.update({ status });
  }
}

/** A chat's server-sent events: reconnects from the subscriber's cursor with backoff whenever the stream ends. */
class ReconnectingEventStream {
  private readonly backoff: Backoff;
  private readonly open: () => EventStreamTransport;
  private stream: EventStreamTransport;
  private retry: ReturnType<typeof setTimeout> | undefined;
  isReady = false;

  constructor(
    http: Http,
    chatId: string,
    subscriber: Subscriber,
    random: () => number,
    listener: TransportListener,
  ) {
    this.backoff = new Backoff(RECONNECT_BACKOFF, random);
    this.open = () =>
      new EventStreamTransport(http, chatId, subscriber.cursor(), {
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
          if (code !== SESSION_ENDED) {
            this.retry = setTimeout(() => {
              this.stream = this.open();
            }, this.backoff.next());
          }
          listener.onEnd(code);
        },
      });
    this.stream = this.open();
  }

  close(): void {
    clearTimeout(this.retry);
    this.stream.close();
  }
}
