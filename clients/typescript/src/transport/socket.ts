import type { Environment, SocketLike } from "../environment.ts";
import { type ClientFrame, decodeFrame, type ListenerFrame, type ListFrame } from "../protocol/protocol.ts";

/** What a line to the server tells its owner. */
export interface LineListener {
  /** The line carries frames from now on; a socket says whose. */
  onReady(userId?: string): void;
  onFrame(frame: ListenerFrame | ListFrame): void;
  /** The line is over; nothing more comes from it. Told once. */
  onEnd(code: number): void;
}

/** How long connecting and authenticating may take, in milliseconds. */
const READY_TIMEOUT = 15_000;
/** The code of a socket that ended without saying why (RFC 6455 §7.1.5). */
export const ABNORMAL = 1006;

/** One socket, from opening to its end: authenticates, decodes, and is silent after it has ended. */
export class SocketLine {
  private readonly socket: SocketLike;
  private readonly listener: LineListener;
  private readonly deadline: ReturnType<typeof setTimeout>;
  private ready = false;
  private ended = false;

  constructor(environment: Environment, url: string, ticket: string, listener: LineListener) {
    this.listener = listener;
    this.socket = environment.openSocket(url, {
      onOpen: () =>
        this.socket.send(JSON.stringify({ type: "auth", ticket, chats: true } satisfies ClientFrame)),
      onMessage: (data) => this.receive(data),
      onClose: (code) => this.end(code),
    });
    this.deadline = setTimeout(() => this.abandon(), READY_TIMEOUT);
  }

  get isReady(): boolean {
    return this.ready && !this.ended;
  }

  send(frame: ClientFrame): void {
    if (this.isReady) this.socket.send(JSON.stringify(frame));
  }

  /** Gives the socket up now: one whose network is gone would say that it is closed only after minutes. */
  abandon(): void {
    this.end(ABNORMAL);
    this.socket.close(1000);
  }

  /** Closes the socket without telling the listener. */
  close(): void {
    this.ended = true;
    clearTimeout(this.deadline);
    this.socket.close(1000);
  }

  private receive(data: unknown): void {
    const frame = decodeFrame(data);
    if (frame === null || this.ended) return;
    if (frame.type !== "ready") {
      this.listener.onFrame(frame);
    } else if (!this.ready) {
      this.ready = true;
      clearTimeout(this.deadline);
      this.listener.onReady(frame.user_id);
    }
  }

  private end(code: number): void {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.deadline);
    this.listener.onEnd(code);
  }
}
