import { Backoff } from "./backoff";
import { type Http, isTransient, type NewChat, ProblemError } from "./http";
import { type Observable, Subject } from "./observable";

/** A message on its way: shown at once, until the chat itself shows it. */
export interface OutgoingMessage {
  readonly id: string;
  readonly content: string;
  /** Undefined: at the chat's tip. Null: a new root. */
  readonly parent_id: string | null | undefined;
  /** `accepted`: kept by the server, and about to appear in the chat. `failed`: it waits for a person. */
  readonly status: "sending" | "accepted" | "failed";
  /** Why it failed, for people. */
  readonly problem: string | null;
  /** ISO 8601, by this device's clock. */
  readonly created_at: string;
}

/** Milliseconds between tries. */
const RESEND = { base: 500, cap: 8_000 };
/** With {@link RESEND}, about half a minute on average; then a person decides. */
const TRIES = 10;

/**
 * Sends a chat's messages, one after the other so that their order holds.
 *
 * At least once, each with the id that it got here: when the network fails and the outcome is unknown, the same
 * message goes out again, and the server, which knows the id, makes one turn of it.
 */
export class Outbox {
  private readonly http: Http;
  private readonly chatId: string;
  private readonly random: () => number;
  private readonly subject = new Subject<readonly OutgoingMessage[]>([]);
  private creation: NewChat | null;
  private readonly onCreated: () => void;
  private working = false;
  private wake: () => void = () => {};

  /**
   * @param creation When the chat does not exist yet: what to create before the first message.
   * @param onCreated Called once the chat exists, if it had to be created.
   */
  constructor(
    http: Http,
    chatId: string,
    creation: NewChat | null,
    onCreated: () => void,
    random: () => number,
  ) {
    this.http = http;
    this.chatId = chatId;
    this.creation = creation;
    this.onCreated = onCreated;
    this.random = random;
  }

  get messages(): Observable<readonly OutgoingMessage[]> {
    return this.subject;
  }

  add(message: Pick<OutgoingMessage, "id" | "content" | "parent_id">): void {
    const outgoing: OutgoingMessage = {
      ...message,
      status: "sending",
      problem: null,
      created_at: new Date().toISOString(),
    };
    this.subject.set([...this.subject.getSnapshot(), outgoing]);
    void this.work();
  }

  /** Tries a failed message again, under the same id. */
  resend(id: string): void {
    this.change(id, { status: "sending", problem: null });
    void this.work();
  }

  /** Fails a message that the server accepted and could not store. */
  reject(id: string, problem: string): void {
    this.change(id, { status: "failed", problem });
  }

  /** Forgets a message: a person gave it up, or the chat shows it now. */
  remove(id: string): void {
    const rest = this.subject.getSnapshot().filter((message) => message.id !== id);
    if (rest.length !== this.subject.getSnapshot().length) this.subject.set(rest);
  }

  /** Ends the wait before the next try: the network came back. */
  hurry(): void {
    this.wake();
  }

  private async work(): Promise<void> {
    if (this.working) return;
    this.working = true;
    try {
      for (let message = this.nextToSend(); message !== undefined; message = this.nextToSend()) {
        await this.deliver(message);
      }
    } finally {
      this.working = false;
    }
  }

  private nextToSend(): OutgoingMessage | undefined {
    return this.subject.getSnapshot().find((message) => message.status === "sending");
  }

  private async deliver({ id, content, parent_id }: OutgoingMessage): Promise<void> {
    const backoff = new Backoff(RESEND, this.random);
    for (let tries = 1; this.isWanted(id); tries++) {
      try {
        await this.create();
        await this.http.submit(this.chatId, { id, content, ...(parent_id !== undefined && { parent_id }) });
        this.change(id, { status: "accepted" });
        return;
      } catch (error) {
        if (tries === TRIES || !isTransient(error)) {
          this.change(id, { status: "failed", problem: sentence(error) });
          return;
        }
        const asked = error instanceof ProblemError ? (error.retryAfter ?? 0) * 1000 : 0;
        await this.pause(Math.max(backoff.next(), Math.min(asked, RESEND.cap)));
      }
    }
  }

  private async create(): Promise<void> {
    if (this.creation === null) return;
    await this.http.createChat({ ...this.creation, id: this.chatId });
    this.creation = null;
    this.onCreated();
  }

  /** Whether nobody gave the message up, and the chat has not shown it, while it waited. */
  private isWanted(id: string): boolean {
    return this.subject.getSnapshot().some((message) => message.id === id && message.status === "sending");
  }

  private change(id: string, change: Partial<OutgoingMessage>): void {
    this.subject.set(
      this.subject.getSnapshot().map((message) => (message.id === id ? { ...message, ...change } : message)),
    );
  }

  private pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
