import { createParser } from "eventsource-parser";
import { type Cursor, decodeFrame } from "../protocol/protocol.ts";
import { type Http, ProblemError } from "./http.ts";
import { ABNORMAL, type LineListener } from "./socket.ts";

/** The server sends a comment at least this often, so that a longer silence means a dead line; milliseconds. */
const SILENCE = 60_000;

/**
 * One chat over server-sent events, from opening to its end: the same frames as over a socket. The event id is the
 * cursor, as JSON, and is sent as `Last-Event-ID`. It is read with `fetch` and not with `EventSource`, which cannot
 * start from a cursor nor say why it failed.
 */
export class EventLine {
  private readonly abort = new AbortController();
  private readonly listener: LineListener;
  private watchdog: ReturnType<typeof setTimeout> | undefined;
  private ended = false;

  constructor(http: Http, chatId: string, after: Cursor | null, listener: LineListener) {
    this.listener = listener;
    void this.run(http, chatId, after === null ? null : JSON.stringify(after));
  }

  /** Closes the stream without telling the listener. */
  close(): void {
    this.ended = true;
    clearTimeout(this.watchdog);
    this.abort.abort();
  }

  private async run(http: Http, chatId: string, lastEventId: string | null): Promise<void> {
    this.feedWatchdog();
    try {
      const response = await http.openStream(chatId, lastEventId, this.abort.signal);
      if (this.ended) return;
      this.listener.onReady();
      await this.read(response);
      this.end(ABNORMAL);
    } catch (error) {
      if (error instanceof ProblemError && !error.transient) {
        // Over a socket this would be an error frame, and the line would stay for other chats; here it is one chat's.
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
        if (frame !== null && frame.type !== "ready" && !this.ended) this.listener.onFrame(frame);
      },
    });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    if (reader === undefined) return;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (this.ended) return;
      this.feedWatchdog();
      parser.feed(part.value);
    }
  }

  private feedWatchdog(): void {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => {
      this.abort.abort();
      this.end(ABNORMAL);
    }, SILENCE);
  }

  private end(code: number): void {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.watchdog);
    this.listener.onEnd(code);
  }
}
