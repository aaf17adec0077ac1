import fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { connect, type Environment, MemoryStore, type Parley, type Store } from "../src/index.ts";
import { CHAT } from "../src/testing/room.ts";
import { FakeServer, json } from "../src/testing/server.ts";
import { flush, pass } from "./support/client";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A tab that can crash: its pending operations end without a result. */
class Tab {
  readonly parley: Parley;
  private crashed = false;

  constructor(server: FakeServer, withLock: Environment["withLock"]) {
    const alive = <Result>(work: Promise<Result>): Promise<Result> =>
      new Promise((resolve, reject) => {
        work.then(
          (result) => !this.crashed && resolve(result),
          (error: unknown) => !this.crashed && reject(error as Error),
        );
      });
    const store = new Proxy(server.store, {
      get: (target, name: keyof Store) => {
        const method = target[name] as (...args: unknown[]) => unknown;
        return (...args: unknown[]) => {
          const result =
            this.crashed && name !== "onChange" ? new Promise(() => undefined) : method.apply(target, args);
          return result instanceof Promise ? alive(result) : result;
        };
      },
    });
    const fetch: Environment["fetch"] = (input, init) =>
      this.crashed ? new Promise(() => undefined) : alive(server.fetch(input, init));
    const environment = Object.assign(Object.create(server) as Environment, {
      fetch,
      store,
      withLock: <Result>(name: string, work: () => Promise<Result>) => alive(withLock(name, work)),
    });
    this.parley = connect(environment);
  }

  crash(): void {
    this.crashed = true;
    this.parley.close();
  }
}

/** A lock that expires after some seconds, as Web Locks with a timeout and leases do. */
function expiringLock(): Environment["withLock"] {
  const last = new Map<string, Promise<unknown>>();
  return async (name, work) => {
    const before = last.get(name) ?? Promise.resolve();
    const turn = Promise.race([before, new Promise((resolve) => setTimeout(resolve, 8_000))]).then(work);
    last.set(
      name,
      turn.catch(() => undefined),
    );
    return turn;
  };
}

const tab = fc.nat({ max: 2 });
const event = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("send" as const), tab }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("crash" as const), tab }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("network" as const), away: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("wait" as const), time: fc.integer({ min: 1, max: 20_000 }) }),
  },
);
/** The fate of a request: its latency in milliseconds, and whether its response is lost. */
const fate = fc.record({
  late: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 12_000 })),
  lost: fc.boolean(),
});

it.each([
  ["with a lock that expires", expiringLock],
  ["without a lock", (): Environment["withLock"] => (_, work) => work()],
])(
  "whatever the network and the tabs do, %s: each message is stored once, in the order in which they were written",
  async (_, exclusion) => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 25 }), fc.infiniteStream(fate), async (events, fates) => {
        const server = new FakeServer();
        server.store = new MemoryStore();
        let faulty = true;
        server.overrides.set(`POST /v1/chats/${CHAT}/messages`, async ({ body }) => {
          const { id, content } = body as { id: string; content: string };
          const { late, lost } = faulty
            ? (fates.next().value ?? { late: 0, lost: false })
            : { late: 0, lost: false };
          if (late > 0) await new Promise((resolve) => setTimeout(resolve, late));
          server.publish(server.room.ask(content, id));
          if (lost) throw new TypeError("Failed to fetch");
          return json({}, 202);
        });
        const withLock = exclusion();
        const tabs = [0, 1, 2].map(() => new Tab(server, withLock));
        const listen = ({ parley }: Tab) => parley.watch(CHAT).subscribe(() => undefined);
        for (const one of tabs) listen(one);
        await flush();
        const written: string[] = [];
        for (const what of events) {
          if (what.do === "send") {
            written.push(`message ${written.length}`);
            tabs[what.tab]?.parley.watch(CHAT).send(written.at(-1) ?? "");
            await flush();
          } else if (what.do === "crash") {
            tabs[what.tab]?.crash();
            const next = new Tab(server, withLock);
            tabs[what.tab] = next;
            listen(next);
            await flush();
          } else if (what.do === "network") {
            server.unreachable = what.away;
          } else {
            await pass(what.time);
          }
        }
        faulty = false;
        server.unreachable = false;
        await pass(60_000);
        const stored = server.room.messages.filter(({ role }) => role === "user");
        expect(stored.map(({ content }) => content)).toEqual(written);
        for (const { parley } of tabs) expect(parley.watch(CHAT).getSnapshot().outbox).toEqual([]);
        expect(await server.store.outgoing("u")).toEqual([]);
        for (const one of tabs) one.crash();
        vi.clearAllTimers();
      }),
      { numRuns: 40, interruptAfterTimeLimit: 45_000 },
    );
  },
  90_000,
);
