import { newId } from "../ids.ts";
import { type Observable, Subject } from "../observable.ts";
import type { NewChat } from "../protocol/bodies.ts";
import type { Chat, Cursor, ErrorFrame, ListenerFrame, PresentUser } from "../protocol/protocol.ts";
import type { Draft } from "../storage/drafts.ts";
import { type Delivery, Outbox, type OutgoingMessage } from "../storage/outbox.ts";
import { Backoff } from "../transport/backoff.ts";
import type { Connection, Subscriber } from "../transport/connection.ts";
import type { Http } from "../transport/http.ts";
import { type ChatState, cursorOf, emptyState, merge, mergeOlder } from "./merge.ts";

/** A chat as a page shows it. */
export interface ChatSnapshot {
  /** The state assembled from the server's frames. */
  readonly state: ChatState;
  /** Messages of this browser that the chat does not show yet. */
  readonly outbox: readonly OutgoingMessage[];
  /** `draft`: not created yet. `unavailable`: it does not exist, or not for this user; see `problem`. */
  readonly phase: "draft" | "loading" | "ready" | "unavailable";
  readonly problem: Pick<ErrorFrame, "code" | "message"> | null;
  /** Whether a page of older messages is being loaded. */
  readonly loadingOlder: boolean;
  /** Who has a shared chat open, this user included; empty in a chat with one member, and while not connected. */
  readonly presence: readonly PresentUser[];
}

/** Codes of permanent errors: watching the chat again returns the same error. */
const PERMANENT_ERRORS = new Set(["not_found", "forbidden", "invalid"]);
/** Milliseconds for which a chat stays watched after its last listener left, so that going back loads nothing. */
const UNWATCH_DELAY = 10_000;
/** Milliseconds between two reports that the user writes: others see it for twice as long. */
const TYPING_INTERVAL = 3_000;
/** Milliseconds between resyncs that return an error or another gap, as while chat-store is unavailable. */
const RESYNC_BACKOFF = { base: 250, cap: 10_000 };

/** One chat: watched while it has listeners; its state and cursor stay in memory after that. */
export class WatchedChat implements Observable<ChatSnapshot>, Subscriber {
  readonly id: string;
  private readonly http: Http;
  private readonly connection: Connection;
  private readonly subject: Subject<ChatSnapshot>;
  private readonly outbox: Outbox;
  private readonly onChat: (chat: Chat) => void;
  private readonly backoff: Backoff;
  private listeners = 0;
  private unwatchTimer: ReturnType<typeof setTimeout> | undefined;
  private resyncTimer: ReturnType<typeof setTimeout> | undefined;
  /** True from the detection of a gap to the snapshot that closes it: frames in between cannot be applied. */
  private resyncing = false;
  private fruitlessResyncs = 0;
  private typedAt = Number.NEGATIVE_INFINITY;

  /**
   * @param creation Not null: the chat is created with this before its first message.
   * @param onChat Called with each newer version of the chat's own fields.
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
    this.backoff = new Backoff(RESYNC_BACKOFF, delivery.random);
    this.subject = new Subject<ChatSnapshot>({
      state: emptyState(id),
      outbox: [],
      phase: creation === null ? "loading" : "draft",
      problem: null,
      loadingOlder: false,
      presence: [],
    });
    this.outbox = new Outbox(delivery, id, creation);
    this.outbox.messages.subscribe(() => this.onOutbox());
  }

  readonly getSnapshot = (): ChatSnapshot => this.subject.getSnapshot();

  readonly subscribe = (listener: () => void): (() => void) => {
    const unsubscribe = this.subject.subscribe(listener);
    clearTimeout(this.unwatchTimer);
    if (this.listeners++ === 0 && this.subject.getSnapshot().phase !== "draft") {
      this.connection.watch(this.id, this);
    }
    return () => {
      unsubscribe();
      if (--this.listeners > 0) return;
      this.unwatchTimer = setTimeout(() => this.unwatch(), UNWATCH_DELAY);
    };
  };

  /** Whether the chat has no listener and no outgoing message, and can be removed from memory. */
  get isIdle(): boolean {
    return this.listeners === 0 && this.subject.getSnapshot().outbox.length === 0;
  }

  /** Cancels the timers and stops watching and sending. */
  close(): void {
    clearTimeout(this.unwatchTimer);
    this.outbox.close();
    this.unwatch();
  }

  // --- actions --------------------------------------------------------------------------------------------------

  /**
   * Sends a message: it is shown at once and retried until it is accepted or refused.
   *
   * @param parentId Undefined continues at the chat's tip; null starts a new root; an id branches there.
   * @param draft The draft that becomes the message, and is cleared with it.
   * @returns The message's id.
   */
  send(content: string, parentId?: string | null, draft?: Draft): string {
    const id = newId();
    this.outbox.add({ id, content, parent_id: parentId }, draft?.chatId ?? null);
    draft?.clearSent();
    return id;
  }

  /** Reports to the other members of a shared chat that the user writes; called with every input. */
  typing(): void {
    const now = performance.now();
    if (this.subject.getSnapshot().presence.length === 0 || now - this.typedAt < TYPING_INTERVAL) return;
    this.typedAt = now;
    this.connection.typing(this.id);
  }

  /** Sends a failed message again, under the same id. */
  resend(id: string): void {
    this.outbox.resend(id);
  }

  /** Removes a message that is not accepted. */
  discard(id: string): void {
    this.outbox.remove(id);
  }

  /** Ends the wait before the next attempt to send. */
  retryNow(): void {
    this.outbox.retryNow();
  }

  /** Reads the outgoing messages again, which another tab changed. */
  reloadOutbox(): void {
    void this.outbox.reload();
  }

  /** Adopts the messages and permissions of another user of the browser. */
  onUser(): void {
    this.outbox.onUser();
    // The other user may have no access to the chat: the server decides again.
    if (this.listeners > 0 && !this.outbox.createsChat) this.connection.watch(this.id, this);
  }

  /**
   * Stops the answer that is shown as running, and no later one: the request names the answer's id, or the prompt's id
   * while the answer's is not known yet.
   */
  stop(): Promise<void> {
    const { state, outbox } = this.subject.getSnapshot();
    const pending = state.messages.find(({ status }) => status === "pending" || status === "streaming");
    const accepted = outbox.find(({ status }) => status === "accepted");
    return this.http.stop(this.id, state.generation?.message_id ?? pending?.id ?? accepted?.id ?? null);
  }

  /** Requests another version of an answer, or an answer to a prompt. */
  regenerate(messageId: string): Promise<void> {
    return this.http.regenerate(this.id, messageId);
  }

  /** Approves or denies a tool call that waits for approval. */
  decideToolCall(messageId: string, callId: string, approve: boolean): Promise<void> {
    return this.http.decideToolCall(this.id, messageId, callId, approve);
  }

  /** Deletes a prompt that is still queued. */
  deleteQueued(messageId: string): Promise<void> {
    return this.http.deleteMessage(this.id, messageId);
  }

  /** Sets the model of the next answers. */
  async setModel(model: string | null): Promise<void> {
    this.updateChat(await this.http.updateChat(this.id, { model }));
  }

  /** Loads the page of messages before the oldest one; does nothing at the beginning or while one is loading. */
  async loadOlder(): Promise<void> {
    const { state, loadingOlder } = this.subject.getSnapshot();
    if (state.next === null || loadingOlder) return;
    this.subject.update({ loadingOlder: true });
    try {
      const page = await this.http.listMessages(this.id, state.next);
      const now = this.subject.getSnapshot().state;
      // A snapshot may have replaced the messages meanwhile; then this page does not adjoin them.
      if (now.next === state.next) this.subject.update({ state: mergeOlder(now, page) });
    } finally {
      this.subject.update({ loadingOlder: false });
    }
  }

  // --- frames ---------------------------------------------------------------------------------------------------

  cursor(): Cursor | null {
    return cursorOf(this.subject.getSnapshot().state);
  }

  onDisconnect(): void {
    if (this.subject.getSnapshot().presence.length > 0) this.subject.update({ presence: [] });
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
    if (frame.type === "presence") {
      this.subject.update({ presence: frame.users });
      return;
    }
    const before = this.subject.getSnapshot();
    const { state, outcome } = merge(before.state, frame);
    if (frame.type === "snapshot") {
      this.resyncing = false;
      clearTimeout(this.resyncTimer);
    }
    if (outcome === "applied") {
      this.fruitlessResyncs = frame.type === "delta" ? 0 : this.fruitlessResyncs;
      this.subject.set({ ...before, state, phase: "ready", problem: null });
      this.removeDelivered();
      if (state.chat !== null && state.chat !== before.state.chat) this.onChat(state.chat);
    } else if (outcome === "gap" && !this.resyncing) {
      this.resyncing = true;
      this.subject.update({ state });
      this.resync();
    }
  }

  private onError(frame: ErrorFrame): void {
    if (!PERMANENT_ERRORS.has(frame.code)) {
      this.resyncLater();
      return;
    }
    this.connection.unwatch(this.id);
    const problem = { code: frame.code, message: frame.message };
    void this.outbox.restored.then(() => {
      // An earlier page may have been closed before it created the chat.
      this.subject.update(this.outbox.createsChat ? { phase: "draft" } : { phase: "unavailable", problem });
    });
  }

  private onOutbox(): void {
    this.subject.update({ outbox: this.outbox.messages.getSnapshot() });
    // The chat may already show what another tab sent.
    this.removeDelivered();
    if (this.subject.getSnapshot().phase === "draft" && !this.outbox.createsChat) this.onCreated();
  }

  /** Watches again from the cursor: at once after progress, with backoff when the previous resync brought none. */
  private resync(): void {
    if (this.fruitlessResyncs++ > 0) {
      this.resyncLater();
    } else {
      this.backoff.reset();
      this.connection.watch(this.id, this);
    }
  }

  private resyncLater(): void {
    clearTimeout(this.resyncTimer);
    this.resyncTimer = setTimeout(() => this.connection.watch(this.id, this), this.backoff.next());
  }

  private unwatch(): void {
    clearTimeout(this.resyncTimer);
    this.connection.unwatch(this.id);
  }

  private onCreated(): void {
    this.subject.update({ phase: "loading" });
    if (this.listeners > 0) this.connection.watch(this.id, this);
  }

  /** Applies a chat returned over HTTP unless a frame has brought a newer version. */
  private updateChat(chat: Chat): void {
    const { state } = this.subject.getSnapshot();
    if (state.chat !== null && state.chat.version >= chat.version) return;
    this.subject.update({ state: { ...state, chat } });
    this.onChat(chat);
  }

  /** Removes the messages that the chat shows from the outbox. */
  private removeDelivered(): void {
    const { state, outbox } = this.subject.getSnapshot();
    for (const { id } of outbox) {
      if (state.messages.some((message) => message.id === id)) this.outbox.remove(id);
    }
  }
}
