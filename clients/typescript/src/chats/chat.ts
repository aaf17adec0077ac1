import { newId } from "../ids.ts";
import { type Observable, Subject } from "../observable.ts";
import type { Chat, Cursor, ErrorFrame, ListenerFrame } from "../protocol/protocol.ts";
import type { Draft } from "../storage/drafts.ts";
import { type Delivery, Outbox, type OutgoingMessage } from "../storage/outbox.ts";
import { Backoff } from "../transport/backoff.ts";
import type { Connection, Subscriber } from "../transport/connection.ts";
import type { Http, NewChat } from "../transport/http.ts";
import { type ChatState, cursorOf, emptyState, merge, mergeOlder } from "./merge.ts";

/** A chat as a page shows it. */
export interface ChatSnapshot {
  /** What the server said. */
  readonly state: ChatState;
  /** What this device said and the server has not shown yet. */
  readonly outbox: readonly OutgoingMessage[];
  /** `draft`: not created yet. `unavailable`: it does not exist, or not for this user; see `problem`. */
  readonly phase: "draft" | "loading" | "ready" | "unavailable";
  readonly problem: Pick<ErrorFrame, "code" | "message"> | null;
  /** Whether older messages are on their way. */
  readonly loadingOlder: boolean;
}

/** Errors that watching again does not cure. */
const FINAL = new Set(["not_found", "forbidden", "invalid"]);
/** Milliseconds: how long a chat stays watched after its last listener went, so that going back is no loading. */
const LINGER = 10_000;
/** Milliseconds between watches that do not help, as while chat-store is away. */
const REWATCH = { base: 250, cap: 10_000 };

/** One chat: watched while somebody listens, and remembered with its cursor after that. */
export class WatchedChat implements Observable<ChatSnapshot>, Subscriber {
  readonly id: string;
  private readonly http: Http;
  private readonly connection: Connection;
  private readonly subject: Subject<ChatSnapshot>;
  private readonly outbox: Outbox;
  private readonly onChat: (chat: Chat) => void;
  private readonly backoff: Backoff;
  private listeners = 0;
  private linger: ReturnType<typeof setTimeout> | undefined;
  private rewatch: ReturnType<typeof setTimeout> | undefined;
  /** From noticing a gap to the snapshot that fills it: what comes between is known to be missing something. */
  private healing = false;
  private fruitless = 0;

  /**
   * @param creation Not null: the chat is created with this before its first message.
   * @param onChat Told of each newer version of the chat's own fields.
   */
  constructor(
    id: string,
    creation: NewChat | null,
    delivery: Delivery,
    connection: Connection,
    onChat: (chat: Chat) => void,
  ) {
    this.id = id;
    this.http = delivery.http;
    this.connection = connection;
    this.onChat = onChat;
    this.backoff = new Backoff(REWATCH, delivery.random);
    this.subject = new Subject<ChatSnapshot>({
      state: emptyState(id),
      outbox: [],
      phase: creation === null ? "loading" : "draft",
      problem: null,
      loadingOlder: false,
    });
    this.outbox = new Outbox(delivery, id, creation);
    this.outbox.messages.subscribe(() => this.onOutbox());
  }

  readonly getSnapshot = (): ChatSnapshot => this.subject.getSnapshot();

  readonly subscribe = (listener: () => void): (() => void) => {
    const unsubscribe = this.subject.subscribe(listener);
    clearTimeout(this.linger);
    if (this.listeners++ === 0 && this.subject.getSnapshot().phase !== "draft") {
      this.connection.watch(this.id, this);
    }
    return () => {
      unsubscribe();
      if (--this.listeners > 0) return;
      this.linger = setTimeout(() => this.unwatch(), LINGER);
    };
  };

  /** Whether nobody listens and nothing is on its way: it can be forgotten. */
  get isIdle(): boolean {
    return this.listeners === 0 && this.subject.getSnapshot().outbox.length === 0;
  }

  /** Forgets timers, and stops watching and sending. */
  close(): void {
    clearTimeout(this.linger);
    this.outbox.close();
    this.unwatch();
  }

  // --- what a person does ---------------------------------------------------------------------------------------

  /**
   * Sends a message: shown at once, sent until it is accepted or refused.
   *
   * @param parentId Undefined continues at the chat's tip; null starts a new root; an id branches there.
   * @param draft The draft that the message was, which ends with it.
   * @returns The message's id.
   */
  send(content: string, parentId?: string | null, draft?: Draft): string {
    const id = newId();
    this.outbox.add({ id, content, parent_id: parentId }, draft?.chatId ?? null);
    draft?.sent();
    return id;
  }

  /** Sends a failed message again, under the same id. */
  resend(id: string): void {
    this.outbox.resend(id);
  }

  /** Gives up a failed message. */
  discard(id: string): void {
    this.outbox.remove(id);
  }

  /** Tries at once what waits for its next try. */
  hurry(): void {
    this.outbox.hurry();
  }

  /** Shows and sends what other tabs did with the messages on their way. */
  reloadOutbox(): void {
    void this.outbox.reload();
  }

  /** The browser is another user's now. */
  onUser(): void {
    this.outbox.onUser();
    // What the former user could see is not this one's: asked anew, and told when it is not there.
    if (this.listeners > 0 && !this.outbox.creates) this.connection.watch(this.id, this);
  }

  /**
   * Stops the answer that is shown as running, and no other, however late the request comes: named by its id, or in the
   * first moment, when only the prompt is known, by the prompt's.
   */
  stop(): Promise<void> {
    const { state, outbox } = this.subject.getSnapshot();
    const pending = state.messages.find(({ status }) => status === "pending" || status === "streaming");
    const accepted = outbox.find(({ status }) => status === "accepted");
    return this.http.stop(this.id, state.generation?.message_id ?? pending?.id ?? accepted?.id ?? null);
  }

  /** Asks for another answer beside this one (or, of a prompt, for an answer). */
  regenerate(messageId: string): Promise<void> {
    return this.http.regenerate(this.id, messageId);
  }

  /** Takes back a prompt that is still queued. */
  deleteQueued(messageId: string): Promise<void> {
    return this.http.deleteMessage(this.id, messageId);
  }

  /** Chooses the model for what comes next. */
  async setModel(model: string | null): Promise<void> {
    this.takeChat(await this.http.updateChat(this.id, { model }));
  }

  /** Loads the page of messages before the oldest one; does nothing at the beginning or while one is loading. */
  async loadOlder(): Promise<void> {
    const { state, loadingOlder } = this.subject.getSnapshot();
    if (state.next === null || loadingOlder) return;
    this.subject.update({ loadingOlder: true });
    try {
      const page = await this.http.listMessages(this.id, state.next);
      const now = this.subject.getSnapshot().state;
      // A snapshot may have replaced everything meanwhile; then this page is no longer next to what is there.
      if (now.next === state.next) this.subject.update({ state: mergeOlder(now, page) });
    } finally {
      this.subject.update({ loadingOlder: false });
    }
  }

  // --- what the server says -------------------------------------------------------------------------------------

  cursor(): Cursor | null {
    return cursorOf(this.subject.getSnapshot().state);
  }

  onFrame(frame: ListenerFrame): void {
    if (frame.type === "error") {
      this.onError(frame);
      return;
    }
    if (frame.type === "rejected") {
      this.outbox.reject(frame.message_id, frame.error.message, frame.error.retryable);
      return;
    }
    const before = this.subject.getSnapshot();
    const { state, outcome } = merge(before.state, frame);
    if (frame.type === "snapshot") {
      this.healing = false;
      clearTimeout(this.rewatch);
    }
    if (outcome === "applied") {
      this.fruitless = frame.type === "delta" ? 0 : this.fruitless;
      this.subject.set({ ...before, state, phase: "ready", problem: null });
      this.dropDelivered();
      if (state.chat !== null && state.chat !== before.state.chat) this.onChat(state.chat);
    } else if (outcome === "gap" && !this.healing) {
      this.healing = true;
      this.subject.update({ state });
      this.watchAgain();
    }
  }

  private onError(frame: ErrorFrame): void {
    if (!FINAL.has(frame.code)) {
      this.watchLater();
      return;
    }
    this.connection.unwatch(this.id);
    const problem = { code: frame.code, message: frame.message };
    void this.outbox.restored.then(() => {
      // An earlier page may have been closed before it could create the chat.
      this.subject.update(this.outbox.creates ? { phase: "draft" } : { phase: "unavailable", problem });
    });
  }

  private onOutbox(): void {
    this.subject.update({ outbox: this.outbox.messages.getSnapshot() });
    // What another tab sent may be here already.
    this.dropDelivered();
    if (this.subject.getSnapshot().phase === "draft" && !this.outbox.creates) this.onCreated();
  }

  /** At once, the first time; with backoff when that did not help. */
  private watchAgain(): void {
    if (this.fruitless++ > 0) {
      this.watchLater();
    } else {
      this.backoff.reset();
      this.connection.watch(this.id, this);
    }
  }

  private watchLater(): void {
    clearTimeout(this.rewatch);
    this.rewatch = setTimeout(() => this.connection.watch(this.id, this), this.backoff.next());
  }

  private unwatch(): void {
    clearTimeout(this.rewatch);
    this.connection.unwatch(this.id);
  }

  private onCreated(): void {
    this.subject.update({ phase: "loading" });
    if (this.listeners > 0) this.connection.watch(this.id, this);
  }

  /** Takes the chat's fields from an answer over HTTP, which may be older than what a frame brought. */
  private takeChat(chat: Chat): void {
    const { state } = this.subject.getSnapshot();
    if (state.chat !== null && state.chat.version >= chat.version) return;
    this.subject.update({ state: { ...state, chat } });
    this.onChat(chat);
  }

  /** What the chat shows is no longer on its way. */
  private dropDelivered(): void {
    const { state, outbox } = this.subject.getSnapshot();
    for (const { id } of outbox) {
      if (state.messages.some((message) => message.id === id)) this.outbox.remove(id);
    }
  }
}
