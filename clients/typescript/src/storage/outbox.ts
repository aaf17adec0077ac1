import type { Environment } from "../environment.ts";
import { type Observable, Subject } from "../observable.ts";
import type { NewChat } from "../protocol/bodies.ts";
import { Backoff } from "../transport/backoff.ts";
import { type Http, isTransient, ProblemError, SessionError, UnreachableError } from "../transport/http.ts";
import type { OutgoingRecord } from "./store.ts";

/** An outgoing message: shown at once, until the chat itself shows it. */
export interface OutgoingMessage {
  readonly id: string;
  readonly content: string;
  /** Undefined: at the chat's tip. Null: a new root. */
  readonly parent_id: string | null | undefined;
  /** `accepted`: persisted by the server, not in the chat yet. `failed`: a person decides what to do with it. */
  readonly status: "sending" | "accepted" | "failed";
  /** Why it failed, or which limit delays it, for people. */
  readonly problem: string | null;
  /** When a limit allows it again: ISO 8601, by this device's clock. Null: no limit delays it. */
  readonly retry_at?: string | null;
  /** Whether a failed message may be accepted when it is sent again. */
  readonly retryable: boolean;
  /** ISO 8601, by this device's clock. */
  readonly created_at: string;
}

/** The dependencies of all outboxes of a tab. */
export interface Delivery extends Pick<Environment, "store" | "withLock" | "random"> {
  readonly http: Http;
  /** The current user; empty while unknown. */
  user(): string;
}

/** Milliseconds between attempts. */
const RESEND_BACKOFF = { base: 500, cap: 8_000 };
/**
 * With {@link RESEND_BACKOFF}, about half a minute on average; then a person decides. Attempts that do not reach the
 * server are not counted: a message waits for the network without a limit.
 */
const MAX_ATTEMPTS = 10;
/** Milliseconds that a message waits for a limit without a person's decision. */
const MAX_LIMIT_WAIT = 60_000;
/** The problem code of a request for another user than the session's. */
export const OTHER_USER = "other_user";

/**
 * Sends a chat's messages in order.
 *
 * Delivery is at least once. A message gets its id here: when the network fails and the outcome is unknown, the same
 * message is sent again, and the server deduplicates by the id.
 *
 * The messages are in the store, which all tabs of the browser share, and all tabs show them. Each attempt sends the
 * oldest message that is not accepted, under a lock: one tab sends, and the others then find the message accepted. If two
 * tabs sent at once, they would send the same message, so the order does not depend on the lock.
 */
export class Outbox {
  private readonly delivery: Delivery;
  private readonly chatId: string;
  private readonly subject = new Subject<readonly OutgoingRecord[]>([]);
  private readonly backoff: Backoff;
  private creation: NewChat | null;
  /** Attempts that ended with a transient error, by message. */
  private readonly attempts = new Map<string, number>();
  /** Messages that are shown and not in the store yet. */
  private readonly unsaved = new Map<string, OutgoingRecord>();
  private saving: Promise<unknown> = Promise.resolve();
  /** Raised with each local change: records that were read before it are outdated. */
  private revision = 0;
  private sending = false;
  private closed = false;
  private endWait: () => void = () => {};
  private restoring: Promise<void>;

  /** @param creation The chat to create before the first message; null when it exists. */
  constructor(delivery: Delivery, chatId: string, creation: NewChat | null) {
    this.delivery = delivery;
    this.chatId = chatId;
    this.creation = creation;
    this.backoff = new Backoff(RESEND_BACKOFF, delivery.random);
    this.restoring = this.restore();
  }

  get messages(): Observable<readonly OutgoingMessage[]> {
    return this.subject;
  }

  /** Resolves when the messages of earlier pages are shown. */
  get restored(): Promise<void> {
    return this.restoring;
  }

  /** Whether the chat has yet to be created. */
  get createsChat(): boolean {
    return this.creation !== null || this.subject.getSnapshot().some(({ creation }) => creation !== null);
  }

  /** @param draft The id of the chat whose draft becomes the message, and is cleared in the same transaction. */
  add(message: Pick<OutgoingMessage, "id" | "content" | "parent_id">, draft: string | null): void {
    const record: OutgoingRecord = {
      ...message,
      chat_id: this.chatId,
      user_id: this.delivery.user(),
      creation:
        this.creation ?? this.subject.getSnapshot().find(({ creation }) => creation)?.creation ?? null,
      status: "sending",
      problem: null,
      retryable: true,
      created_at: new Date().toISOString(),
    };
    this.revision += 1;
    this.unsaved.set(record.id, record);
    this.subject.set([...this.subject.getSnapshot(), record]);
    const saved = this.delivery.store.add(record, draft).finally(() => this.unsaved.delete(record.id));
    this.saving = Promise.allSettled([this.saving, saved]);
    this.startSending();
  }

  /** Sends a failed message again, under the same id. */
  resend(id: string): void {
    this.attempts.delete(id);
    this.change([id], { status: "sending", problem: null, retry_at: null });
    this.startSending();
  }

  /** Marks a message as failed that the server accepted and could not store. */
  reject(id: string, problem: string, retryable: boolean): void {
    this.change([id], { status: "failed", problem, retryable });
  }

  /** Removes a message: a person discarded it, or the chat shows it now. */
  remove(id: string): void {
    const rest = this.subject.getSnapshot().filter((message) => message.id !== id);
    if (rest.length === this.subject.getSnapshot().length) return;
    this.revision += 1;
    this.unsaved.delete(id);
    this.subject.set(rest);
    void this.saving.then(() => this.delivery.store.remove(id));
  }

  /** Ends the wait before the next attempt: the network is back. */
  retryNow(): void {
    this.backoff.reset();
    this.endWait();
  }

  /** Reads the store again, which another tab changed, and sends what is not accepted. */
  async reload(): Promise<void> {
    await this.read();
    this.startSending();
  }

  /** Switches to the messages of another user. */
  onUser(): void {
    this.restoring = this.restore();
  }

  /** Stops sending. */
  close(): void {
    this.closed = true;
    this.endWait();
  }

  // --- sending ----------------------------------------------------------------------------------------------------

  private startSending(): void {
    if (this.sending) return;
    this.sending = true;
    this.sendAll()
      .catch(() => undefined)
      .finally(() => {
        this.sending = false;
      });
  }

  private async sendAll(): Promise<void> {
    while (this.next !== undefined && !this.closed) {
      const delay = await this.delivery.withLock(`parley-send-${this.chatId}`, () => this.sendNext());
      if (delay > 0) await this.wait(delay);
    }
  }

  private get next(): OutgoingRecord | undefined {
    return this.subject.getSnapshot().find((message) => message.status === "sending");
  }

  /** Sends the oldest message that is not accepted; returns the milliseconds to wait before the next attempt. */
  private async sendNext(): Promise<number> {
    const { http } = this.delivery;
    try {
      // The session decides whose messages are sent: those of another user are not.
      await http.currentSession();
      await this.saving;
      await this.read();
      const message = this.next;
      if (message === undefined) return 0;
      await this.create(message);
      const { id, content, parent_id, user_id } = message;
      await http.submit(this.chatId, { id, content, ...(parent_id !== undefined && { parent_id }) }, user_id);
      this.backoff.reset();
      await this.change([id], { status: "accepted", problem: null, retry_at: null });
      return 0;
    } catch (error) {
      return this.fail(error);
    }
  }

  private async create({ creation, user_id }: OutgoingRecord): Promise<void> {
    if (creation === null) return;
    await this.delivery.http.createChat({ ...creation, id: this.chatId }, user_id);
    this.creation = null;
    await this.change(
      this.subject.getSnapshot().map(({ id }) => id),
      { creation: null },
    );
  }

  private async fail(error: unknown): Promise<number> {
    const message = this.next;
    if (message === undefined) return 0;
    if (error instanceof ProblemError && error.problem.code === OTHER_USER) {
      // Another tab started a session of another user meanwhile; the next attempt uses that session.
      await this.delivery.http.startSession().catch(() => undefined);
      return this.backoff.next();
    }
    if (error instanceof UnreachableError) return this.backoff.next();
    const problem = error instanceof Error ? error.message : String(error);
    const limit = error instanceof ProblemError && error.problem.status === 429 ? error.retryAfter : null;
    if (limit !== null) return this.waitForLimit(message, problem, limit * 1000);
    const attempts = (this.attempts.get(message.id) ?? 0) + 1;
    if (isTransient(error) && attempts < MAX_ATTEMPTS) {
      this.attempts.set(message.id, attempts);
      const asked = error instanceof ProblemError ? (error.retryAfter ?? 0) * 1000 : 0;
      return Math.max(this.backoff.next(), Math.min(asked, RESEND_BACKOFF.cap));
    }
    // After a transient error all messages fail, so that none is sent before the first; a permanent one fails alone.
    const retryable = isTransient(error) || error instanceof SessionError;
    const failed = this.subject.getSnapshot().filter(({ status }) => status === "sending");
    this.attempts.clear();
    const ids = retryable ? failed.map(({ id }) => id) : [message.id];
    await this.change(ids, { status: "failed", problem, retryable });
    return 0;
  }

  /** Waits until a limit allows the message again; a person decides about a longer wait, as until the next day. */
  private async waitForLimit(
    message: OutgoingRecord,
    problem: string,
    milliseconds: number,
  ): Promise<number> {
    const retry_at = new Date(Date.now() + milliseconds).toISOString();
    if (milliseconds <= MAX_LIMIT_WAIT) {
      await this.change([message.id], { problem, retry_at });
      return milliseconds;
    }
    const waiting = this.subject.getSnapshot().filter(({ status }) => status === "sending");
    await this.change(
      waiting.map(({ id }) => id),
      { status: "failed", problem, retry_at, retryable: true },
    );
    return 0;
  }

  private wait(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.endWait = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  // --- the store --------------------------------------------------------------------------------------------------

  private async restore(): Promise<void> {
    await this.read();
    const accepted = this.subject.getSnapshot().filter(({ status }) => status === "accepted");
    for (const { id } of accepted) void this.resolveAccepted(id);
    this.startSending();
  }

  /** Reads the status of a message that an earlier page saw accepted. */
  private async resolveAccepted(id: string): Promise<void> {
    try {
      const { status, error } = await this.delivery.http.getMessage(this.chatId, id);
      if (status === "rejected")
        this.reject(id, error?.message ?? "It was not stored.", error?.retryable === true);
      else this.remove(id);
    } catch (error) {
      // A permanent error: the chat was deleted. After others, the next page asks again.
      if (!isTransient(error) && !(error instanceof SessionError)) this.remove(id);
    }
  }

  private async read(): Promise<void> {
    for (;;) {
      const { revision } = this;
      const user = this.delivery.user();
      const records = await this.delivery.store.outgoing(user);
      if (revision !== this.revision || user !== this.delivery.user()) continue;
      const stored = records.filter(({ chat_id }) => chat_id === this.chatId);
      const ids = new Set(stored.map(({ id }) => id));
      this.setRecords([...stored, ...[...this.unsaved.values()].filter(({ id }) => !ids.has(id))]);
      return;
    }
  }

  private async change(ids: readonly string[], change: Partial<OutgoingRecord>): Promise<void> {
    this.revision += 1;
    this.setRecords(
      this.subject
        .getSnapshot()
        .map((message) => (ids.includes(message.id) ? { ...message, ...change } : message)),
    );
    await this.saving;
    await this.delivery.store.change(ids, change);
  }

  private setRecords(records: readonly OutgoingRecord[]): void {
    const before = this.subject.getSnapshot();
    const same =
      records.length === before.length &&
      records.every((record, index) => JSON.stringify(record) === JSON.stringify(before[index]));
    if (!same) this.subject.set(records);
  }
}
