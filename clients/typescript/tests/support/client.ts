import { afterEach, beforeEach, vi } from "vitest";
import {
  type ChatSnapshot,
  connect,
  type Environment,
  type Parley,
  textOf,
  visibleBranch,
  type WatchedChat,
} from "../../src/index.ts";
import { CHAT } from "../../src/testing/room.ts";
import { FakeServer } from "../../src/testing/server.ts";

/** A client of a server in memory, created for each test, with fake timers. */
export class Setup {
  server = new FakeServer();
  parley!: Parley;
  private readonly releases: (() => void)[] = [];

  /** Starts and ends with each test of the file. */
  static use(): Setup {
    const setup = new Setup();
    beforeEach(async () => {
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] });
      setup.server = new FakeServer();
      setup.parley = connect(setup.server);
      await flush();
    });
    afterEach(() => {
      for (const release of setup.releases.splice(0)) release();
      setup.parley.close();
      vi.useRealTimers();
    });
    return setup;
  }

  get status(): string {
    return this.parley.connection.getSnapshot().status;
  }

  get transport(): string {
    return this.parley.connection.getSnapshot().transport;
  }

  /** Opens a chat as a page does, by listening to it; returns how to stop that. */
  listen(chat: WatchedChat, listener: (snapshot: ChatSnapshot) => void = () => undefined): () => void {
    const release = chat.subscribe(() => listener(chat.getSnapshot()));
    this.releases.push(release);
    return release;
  }

  /** Opens another tab of the same browser, or the page again after it was closed. */
  async open(environment: Environment = this.server): Promise<Parley> {
    const parley = connect(environment);
    this.releases.push(() => parley.close());
    await flush();
    return parley;
  }

  async watch(chatId: string = CHAT, parley: Parley = this.parley): Promise<WatchedChat> {
    const chat = parley.watch(chatId);
    this.listen(chat);
    await flush();
    return chat;
  }
}

/** Lets everything happen that needs no time. */
export async function flush(): Promise<void> {
  // Streams take several turns of the event loop, which the standing clock does not hold up.
  for (let turn = 0; turn < 4; turn++) {
    await vi.advanceTimersByTimeAsync(0);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Lets time pass. */
export async function pass(milliseconds: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(milliseconds);
  await flush();
}

/** The text of the newest answer as a page shows it. */
export function newestText(chat: WatchedChat): string {
  const item = visibleBranch(chat.getSnapshot().state).findLast(
    ({ message }) => message.role === "assistant",
  );
  return item === undefined ? "" : textOf(item);
}
