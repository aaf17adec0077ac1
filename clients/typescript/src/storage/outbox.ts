import type { Environment } from "../environment.ts";
import { type Observable, Subject } from "../observable.ts";
import { Backoff } from "../transport/backoff.ts";
import {
  type Http,
  isTransient,
  type NewChat,
  ProblemError,
  SessionError,
  UnreachableError,
} from "../transport/http.ts";
import type { OutgoingRecord } from "./store.ts";

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
  /** Whether sending it again can help, when it failed. */
  readonly retryable: boolean;
  /** ISO 8601, by this device's clock. */
  readonly created_at: string;
}

/** What all outboxes of a tab send with. */
export interface Delivery extends Pick<Environment, "store" | "exclusively" | "random"> {
  readonly http: Http;
  /** Who writes here; empty while that is not known. */
  user(): string;
}

/** Milliseconds between tries. */
const RESEND = { base: 500, cap: 8_000 };
/**
 * With {@link RESEND}, about half a minute on average; then a person decides. While the server cannot be reached,
 * tries are not counted: a message waits for the network as long as it takes.
 */
const TRIES = 10;
/** The code of a request for another user than the session's. */
export const OTHER_USER = "other_user";

/**
 * Sends a chat's messages, one after the other so that their order holds.
 *
 * At least once, each with the id that it got here: when the network fails and the outcome is unknown, the same
 * message goes out again, and the server, which knows the id, makes one turn of it.
 *
 * The messages are in the store, which all tabs of the browser share, and all show them. Each try takes the oldest
 * message that is not sent, alone among the tabs: whichever tab can send does, and the others find it done. Were two to
 * send at once, it would be the same message, so the order held as well.
 */
export class Outbox {
  private readonly delivery: Delivery;
  private readonly chatId: string;
  private readonly subject = new Subject<readonly OutgoingRecord[]>([]);
  private readonly backoff: Backoff;
  private creation: NewChat | null;
  /** Tries that the server answered and refused for the moment, by message. */
  private readonly tries = new Map<string, number>();
  /** Messages that are shown and not stored yet. */
  private readonly unsaved = new Map<string, OutgoingRecord>();
  private saving: Promise<unknown> = Promise.resolve();
  /** Raised with each change made here: what was read before it is old. */
  private edits = 0;
  private working = false;
  private closed = false;
  private wake: () => void = () => {};
  private restoring: Promise<void>;

  /** @param creation When the chat does not exist yet: what to create before the first message. */
  constructor(delivery: Delivery, chatId: string, creation: NewChat | null) {
    this.delivery = delivery;
    this.chatId = chatId;
    this.creation = creation;
    this.backoff = new Backoff(RESEND, delivery.random);
    this.restoring = this.restore();
  }

  get messages(): Observable<readonly OutgoingMessage[]> {
    return this.subject;
  }

  /** Resolves when what an earlier page left is shown. */
  get restored(): Promise<void> {
    return this.restoring;
  }

  /** Whether its chat is still to be created. */
  get creates(): boolean {
    return this.creation !== null || this.subject.getSnapshot().some(({ creation }) => creation !== null);
  }

  /** @param draft The chat whose draft this was, which ends with it. */
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
    this.edits += 1;
    this.unsaved.set(record.id, record);
    this.subject.set([...this.subject.getSnapshot(), record]);
    const saved = this.delivery.store.add(record, draft).finally(() => this.unsaved.delete(record.id));
    this.saving = Promise.allSettled([this.saving, saved]);
    this.work();
  }

  /** Tries a failed message again, under the same id. */
  resend(id: string): void {
    this.tries.delete(id);
    this.change([id], { status: "sending", problem: null });
    this.work();
  }

  /** Fails a message that the server accepted and could not store. */
  reject(id: string, problem: string, retryable: boolean): void {
    this.change([id], { status: "failed", problem, retryable });
  }

  /** Forgets a message: a person gave it up, or the chat shows it now. */
  remove(id: string): void {
    const rest = this.subject.getSnapshot().filter((message) => message.id !== id);
    if (rest.length === this.subject.getSnapshot().length) return;
    this.edits += 1;
    this.unsaved.delete(id);
    this.subject.set(rest);
    void this.saving.then(() => this.delivery.store.remove(id));
  }

  /** Ends the wait before the next try: the network came back. */
  hurry(): void {
    this.backoff.reset();
    this.wake();
  }

  /** Shows what the store has now, which another tab changed, and sends what waits there. */
  async reload(): Promise<void> {
    await this.read();
    this.work();
  }

  /** Begins anew with the messages of the user who writes here now. */
  onUser(): void {
    this.restoring = this.restore();
  }

  /** Sends nothing any more. */
  close(): void {
    this.closed = true;
    this.wake();
  }

  // --- sending ----------------------------------------------------------------------------------------------------

  private work(): void {
    if (this.working) return;
    this.working = true;
    this.sendAll()
      .catch(() => undefined)
      .finally(() => {
        this.working = false;
      });
  }

  private async sendAll(): Promise<void> {
    while (this.next !== undefined && !this.closed) {
      const delay = await this.delivery.exclusively(`parley-send-${this.chatId}`, () => this.sendNext());
      if (delay > 0) await this.pause(delay);
    }
  }

  private get next(): OutgoingRecord | undefined {
    return this.subject.getSnapshot().find((message) => message.status === "sending");
  }

  /** Tries to send the oldest message that is not sent; returns how many milliseconds to wait before the next try. */
  private async sendNext(): Promise<number> {
    const { http } = this.delivery;
    try {
      // First whose session it is: what another user wrote here is not this one's to send.
      await http.currentSession();
      await this.saving;
      await this.read();
      const message = this.next;
      if (message === undefined) return 0;
      await this.create(message);
      const { id, content, parent_id, user_id } = message;
      await http.submit(this.chatId, { id, content, ...(parent_id !== undefined && { parent_id }) }, user_id);
      this.backoff.reset();
      await this.change([id], { status: "accepted" });
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
      // Another tab began a session of another user meanwhile; the next try finds out whose.
      await this.delivery.http.startSession().catch(() => undefined);
      return this.backoff.next();
    }
    if (error instanceof UnreachableError) return this.backoff.next();
    const problem = error instanceof Error ? error.message : String(error);
    const tries = (this.tries.get(message.id) ?? 0) + 1;
    if (isTransient(error) && tries < TRIES) {
      this.tries.set(message.id, tries);
      const asked = error instanceof ProblemError ? (error.retryAfter ?? 0) * 1000 : 0;
      return Math.max(this.backoff.next(), Math.min(asked, RESEND.cap));
    }
    // What waits behind it would come before it, if it went on alone; unless only this one is refused.
    const retryable = isTransient(error) || error instanceof SessionError;
    const failed = this.subject.getSnapshot().filter(({ status }) => status === "sending");
    this.tries.clear();
    const ids = retryable ? failed.map(({ id }) => id) : [message.id];
    await this.change(ids, { status: "failed", problem, retryable });
    return 0;
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

  // --- the store --------------------------------------------------------------------------------------------------

  private async restore(): Promise<void> {
    await this.read();
    const accepted = this.subject.getSnapshot().filter(({ status }) => status === "accepted");
    for (const { id } of accepted) void this.settle(id);
    this.work();
  }

  /** Finds out what became of a message that an earlier page saw accepted. */
  private async settle(id: string): Promise<void> {
    try {
      const { status, error } = await this.delivery.http.getMessage(this.chatId, id);
      if (status === "rejected")
        this.reject(id, error?.message ?? "It was not stored.", error?.retryable === true);
      else this.remove(id);
    } catch (error) {
      // Deleted with its chat, else asked again by the next page.
      if (!isTransient(error) && !(error instanceof SessionError)) this.remove(id);
    }
  }

  private async read(): Promise<void> {
    for (;;) {
      const { edits } = this;
      const user = this.delivery.user();
      const records = await this.delivery.store.outgoing(user);
      if (edits !== this.edits || user !== this.delivery.user()) continue;
      const stored = records.filter(({ chat_id }) => chat_id === this.chatId);
      const ids = new Set(stored.map(({ id }) => id));
      this.show([...stored, ...[...this.unsaved.values()].filter(({ id }) => !ids.has(id))]);
      return;
    }
  }

  private async change(ids: readonly string[], change: Partial<OutgoingRecord>): Promise<void> {
    this.edits += 1;
    this.show(
      this.subject
        .getSnapshot()
        .map((message) => (ids.includes(message.id) ? { ...message, ...change } : message)),
    );
    await this.saving;
    await this.delivery.store.change(ids, change);
  }

  private show(records: readonly OutgoingRecord[]): void {
    const before = this.subject.getSnapshot();
    const same =
      records.length === before.length &&
      records.every((record, index) => JSON.stringify(record) === JSON.stringify(before[index]));
    if (!same) this.subject.set(records);
  }
}
