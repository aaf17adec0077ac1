import type { Environment } from "../environment.ts";
import { type Observable, Subject } from "../observable.ts";
import type { StoreChange } from "./store.ts";

/** The draft of one chat, as this tab shows it. */
export class Draft implements Observable<string> {
  readonly chatId: string;
  private readonly subject = new Subject("");
  private readonly drafts: Drafts;
  /** Whether its text was written in this tab: then no other tab may replace it. */
  private written = false;
  /** Whether a person wrote or sent here: from then on this tab does not show what others write. */
  private touched = false;
  private saving = false;
  private unsaved = false;

  constructor(drafts: Drafts, chatId: string) {
    this.drafts = drafts;
    this.chatId = chatId;
    void this.load();
  }

  readonly getSnapshot = (): string => this.subject.getSnapshot();
  readonly subscribe = (listener: () => void): (() => void) => this.subject.subscribe(listener);

  /** Takes what a person writes, and stores it at once: one write at a time, the newest text next. */
  write(text: string): void {
    this.touched = true;
    this.written = text !== "";
    this.subject.set(text);
    this.store();
  }

  /** Ends the draft with the message that it became, which is stored in the same step. */
  sent(): void {
    this.touched = true;
    this.written = false;
    this.unsaved = false;
    this.subject.set("");
  }

  /** Shows what is stored, unless something else was written here. */
  async load(): Promise<void> {
    const user = this.drafts.user();
    const text = await this.drafts.store.draft(user, this.chatId);
    if (this.touched || user !== this.drafts.user()) return;
    const last = this.drafts.lastWords.get(this.name);
    if (last === null) this.subject.set(text);
    else this.write(last);
  }

  /** Stores what was written here: another tab may have stored its own since. */
  save(): void {
    if (!this.written) return;
    this.store();
    // Should the page end before that is done.
    this.drafts.lastWords.set(this.name, this.getSnapshot());
  }

  /** The browser is another user's now: what stands here goes on as that user's. */
  onUser(): void {
    if (this.written) this.save();
    else void this.load();
  }

  /** Shows what is stored now, whatever was written here. */
  reset(): void {
    this.touched = false;
    this.written = false;
    this.unsaved = false;
    void this.load();
  }

  /** Another tab wrote, or sent: a text that was not written here is the same text, one that was stays. */
  onChange({ text, sent }: Extract<StoreChange, { kind: "draft" }>): void {
    if (sent !== null && sent === this.getSnapshot()) {
      this.written = false;
      this.subject.set("");
    } else if (!this.touched) {
      this.subject.set(text);
    } else if (text === "") {
      this.save();
    }
  }

  private store(): void {
    this.unsaved = true;
    if (!this.saving) void this.storeAll();
  }

  private async storeAll(): Promise<void> {
    this.saving = true;
    while (this.unsaved) {
      this.unsaved = false;
      await this.drafts.store.setDraft(this.drafts.user(), this.chatId, this.getSnapshot());
    }
    this.saving = false;
    this.drafts.lastWords.set(this.name, null);
  }

  private get name(): string {
    return `${this.drafts.user()} ${this.chatId}`;
  }
}

/** The drafts of this browser's user. */
export class Drafts {
  readonly store: Environment["store"];
  readonly lastWords: Environment["lastWords"];
  /** Who writes here; empty while that is not known. */
  readonly user: () => string;
  private readonly drafts = new Map<string, Draft>();
  /** The chat whose draft was asked for last: the one that is shown. */
  shown = "";

  constructor({ store, lastWords }: Pick<Environment, "store" | "lastWords">, user: () => string) {
    this.store = store;
    this.lastWords = lastWords;
    this.user = user;
  }

  /** The draft of a chat; of one that does not exist yet, for null. */
  of(chatId: string | null): Draft {
    const key = chatId ?? "";
    this.shown = key;
    const draft = this.drafts.get(key) ?? new Draft(this, key);
    this.drafts.set(key, draft);
    return draft;
  }

  onChange(change: Extract<StoreChange, { kind: "draft" }>): void {
    if (change.user_id === this.user()) this.drafts.get(change.chat_id)?.onChange(change);
  }

  onUser(): void {
    for (const draft of this.drafts.values()) draft.onUser();
  }

  reset(): void {
    for (const draft of this.drafts.values()) draft.reset();
  }

  /** The page may end now: what another tab stored since is replaced by what is shown here. */
  save(): void {
    for (const draft of this.drafts.values()) draft.save();
  }

  /** The page was away, and may not have heard of what other tabs did. */
  reload(): void {
    for (const draft of this.drafts.values()) void draft.load();
  }
}
