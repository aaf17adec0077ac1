import { createParser } from "eventsource-parser";
import { type Cursor, decodeFrame, SESSION_ENDED } from "../protocol/protocol.ts";
import { type Http, ProblemError, SessionError } from "./http.ts";
import { ABNORMAL, type TransportListener } from "./socket.ts";

/** Milliseconds of silence after which the stream counts as dead: the server sends comments more often than that. */
const SILENCE_TIMEOUT = 60_000;

/**
 * One stream of server-sent events for one chat, with the same frames as a socket. The event id is the cursor as JSON, sent
 * as `Last-Event-ID`. It uses `fetch`: `EventSource` cannot start from a cursor and does not expose the error.
 */
export class EventStreamTransport {
  private readonly abort = new AbortController();
  private readonly listener: TransportListener;
  private silenceTimer: ReturnType<typeof setTimeout> | undefined;
  private ended = false;

  constructor(http: Http, chatId: string, after: Cursor | null, listener: TransportListener) {
    this.listener = listener;
    void this.run(http, chatId, after === null ? null : JSON.stringify(after));
  }

  /** Closes the stream without calling the listener. */
  close(): void {
    this.ended = true;
    clearTimeout(this.silenceTimer);
    this.abort.abort();
  }

  private async run(http: Http, chatId: string, lastEventId: string | null): Promise<void> {
    this.restartSilenceTimer();
    try {
      const response = await http.openStream(chatId, lastEventId, this.abort.signal);
      if (this.ended) return;
      this.listener.onReady();
      await this.read(response);
      this.end(ABNORMAL);
    } catch (error) {
      if (error instanceof SessionError) {
        this.end(SESSION_ENDED);
        return;
      }
      if (error instanceof ProblemError && !error.transient) {
        // A socket would deliver this as an error frame of the chat.
        const { code = "refused" } = error.problem;
        if (!this.ended) {
          this.listener.onFrame({ type: "error", code, message: error.message, chat_id: chatId });
        }
      }
      this.end(ABNORMAL);
    }
  }

  private async read(response: Response): Promise<void> {
    const parser = createParser({
      onEvent: (event) => {
        const frame = decodeFrame(event.data);
        if (frame === null || frame.type === "ready" || this.ended) return;
        if (frame.type === "error" && frame.code === "session_ended") this.end(SESSION_ENDED);
        else this.listener.onFrame(frame);
      },
    });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    if (reader === undefined) return;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (this.ended) return;
      this.restartSilenceTimer();
      parser.feed(part.value);
    }
  }

  private restartSilenceTimer(): void {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => {
      this.abort.abort();
      this.end(ABNORMAL);
    }, SILENCE_TIMEOUT);
  }

  private end(code: number): void {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.silenceTimer);
    this.listener.onEnd(code);
  }
}
