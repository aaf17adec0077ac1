import { type Observable, Subject } from "../observable.ts";
import type { Invitation } from "../protocol/bodies.ts";
import type { UserFrame } from "../protocol/protocol.ts";
import type { Http } from "../transport/http.ts";
import { Sharing } from "./sharing.ts";

/** The user's pending invitations: read over HTTP, again whenever the socket reports a change. */
export class InvitationList implements Observable<readonly Invitation[]> {
  private readonly sharing: Sharing;
  private readonly random: () => number;
  private readonly subject = new Subject<readonly Invitation[]>([]);
  private reads = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(http: Http, random: () => number) {
    this.sharing = new Sharing(http);
    this.random = random;
  }

  readonly getSnapshot = (): readonly Invitation[] => this.subject.getSnapshot();
  readonly subscribe = (listener: () => void): (() => void) => this.subject.subscribe(listener);

  /** Reads the invitations; of several reads at a time the last counts. One that fails leaves the list as it is. */
  async refresh(): Promise<void> {
    const read = ++this.reads;
    const items = await this.sharing.invitations().catch(() => null);
    if (items !== null && read === this.reads) this.subject.set(items);
  }

  /** Accepts an invitation; it goes from the list when the server has agreed. */
  async accept(chatId: string): Promise<void> {
    await this.sharing.accept(chatId);
    this.drop(chatId);
  }

  async decline(chatId: string): Promise<void> {
    await this.sharing.decline(chatId);
    this.drop(chatId);
  }

  /** Applies a frame about the user. */
  onFrame(frame: UserFrame): void {
    if (frame.type === "listed") return;
    const within = frame.type === "relist" ? (frame.within ?? 0) : 0;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), within * 1_000 * this.random());
  }

  /** Empties the list, which belongs to another user. */
  clear(): void {
    this.reads += 1;
    this.subject.set([]);
  }

  close(): void {
    clearTimeout(this.timer);
  }

  private drop(chatId: string): void {
    this.reads += 1;
    this.subject.set(this.subject.getSnapshot().filter((other) => other.chat_id !== chatId));
  }
}
