import type { Environment, SocketLike } from "../environment.ts";
import { type ClientFrame, decodeFrame, type ListenerFrame, type UserFrame } from "../protocol/protocol.ts";

/** The events of a transport. */
export interface TransportListener {
  /** The transport is authenticated; a socket reports its user. */
  onReady(userId?: string): void;
  onFrame(frame: ListenerFrame | UserFrame): void;
  /** The transport has ended. Called once, after all other events. */
  onEnd(code: number): void;
}

/** Milliseconds for connecting and authenticating. */
const READY_TIMEOUT = 15_000;
/** The close code of a socket that ended without a close frame (RFC 6455 §7.1.5). */
export const ABNORMAL = 1006;

/** One websocket: opens, authenticates and decodes; calls its listener no more after its end. */
export class SocketTransport {
  private readonly socket: SocketLike;
  private readonly listener: TransportListener;
  private readonly deadline: ReturnType<typeof setTimeout>;
  private ready = false;
  private ended = false;

  constructor(environment: Environment, url: string, ticket: string, listener: TransportListener) {
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

  /** Ends the transport now: after a loss of the network, the browser reports the close only minutes later. */
  abandon(): void {
    this.end(ABNORMAL);
    this.socket.close(1000);
  }

  /** Closes the socket without calling the listener. */
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
