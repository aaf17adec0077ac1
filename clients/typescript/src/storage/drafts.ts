import type { Environment } from "../environment.ts";
import { type Observable, Subject } from "../observable.ts";
import type { StoreChange } from "./store.ts";

/** The draft of one chat as this tab shows it. */
export class Draft implements Observable<string> {
  readonly chatId: string;
  private readonly subject = new Subject("");
  private readonly drafts: Drafts;
  /** Whether the text was written in this tab: then a change by another tab does not replace it. */
  private hasOwnText = false;
  /** Whether a person wrote or sent in this tab: from then on it does not follow other tabs. */
  private edited = false;
  private saving = false;
  private unsaved = false;

  constructor(drafts: Drafts, chatId: string) {
    this.drafts = drafts;
    this.chatId = chatId;
    void this.load();
  }

  readonly getSnapshot = (): string => this.subject.getSnapshot();
  readonly subscribe = (listener: () => void): (() => void) => this.subject.subscribe(listener);

  /** Sets and stores the text: one write at a time, the newest text next. */
  write(text: string): void {
    this.edited = true;
    this.hasOwnText = text !== "";
    this.subject.set(text);
    this.store();
  }

  /** Clears the draft that became a message; the outbox deletes it from the store with the same transaction. */
  clearSent(): void {
    this.edited = true;
    this.hasOwnText = false;
    this.unsaved = false;
    this.subject.set("");
  }

  /** Loads the stored text, unless the draft was edited in this tab. */
  async load(): Promise<void> {
    const user = this.drafts.user();
    const text = await this.drafts.store.draft(user, this.chatId);
    if (this.edited || user !== this.drafts.user()) return;
    const last = this.drafts.tabStorage.get(this.name);
    if (last === null) this.subject.set(text);
    else this.write(last);
  }

  /** Stores this tab's own text, which another tab may have overwritten since. */
  save(): void {
    if (!this.hasOwnText) return;
    this.store();
    // The page may end before the store has finished.
    this.drafts.tabStorage.set(this.name, this.getSnapshot());
  }

  /** Assigns the text of this tab to another user of the browser. */
  onUser(): void {
    if (this.hasOwnText) this.save();
    else void this.load();
  }

  /** Leaves the text of this tab to the user before, and loads the one of the user now. */
  leave(before: string): void {
    if (this.hasOwnText) void this.drafts.store.setDraft(before, this.chatId, this.getSnapshot());
    this.subject.set("");
    this.reset();
  }

  /** Loads the stored text, also over an edited one. */
  reset(): void {
    this.edited = false;
    this.hasOwnText = false;
    this.unsaved = false;
    void this.load();
  }

  /** Applies a change by another tab: a tab without its own text follows, a tab with one keeps it. */
  onChange({ text, sent }: Extract<StoreChange, { kind: "draft" }>): void {
    if (sent !== null && sent === this.getSnapshot()) {
      this.hasOwnText = false;
      this.subject.set("");
    } else if (!this.edited) {
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
    this.drafts.tabStorage.set(this.name, null);
  }

  private get name(): string {
    return `${this.drafts.user()} ${this.chatId}`;
  }
}

/** The drafts of this browser's user. */
export class Drafts {
  readonly store: Environment["store"];
  readonly tabStorage: Environment["tabStorage"];
  /** The current user; empty while unknown. */
  readonly user: () => string;
  private readonly drafts = new Map<string, Draft>();
  /** The id of the chat whose draft is shown: the one that was requested last. */
  shown = "";

  constructor({ store, tabStorage }: Pick<Environment, "store" | "tabStorage">, user: () => string) {
    this.store = store;
    this.tabStorage = tabStorage;
    this.user = user;
  }

  /** Returns the draft of a chat; null: of a chat that does not exist yet. */
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

  /** Leaves the texts of this tab to the user before, who can sign in again. */
  leave(before: string): void {
    for (const draft of this.drafts.values()) draft.leave(before);
  }

  reset(): void {
    for (const draft of this.drafts.values()) draft.reset();
  }

  /** Stores all texts of this tab, since the page may end now. */
  save(): void {
    for (const draft of this.drafts.values()) draft.save();
  }

  /** Loads the drafts again: a hidden page may have missed changes by other tabs. */
  reload(): void {
    for (const draft of this.drafts.values()) void draft.load();
  }
}
