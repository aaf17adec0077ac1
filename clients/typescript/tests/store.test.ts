import "fake-indexeddb/auto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  FallbackStore,
  MemoryStore,
  type OutgoingRecord,
  type Store,
  type StoreChange,
} from "../src/index.ts";
import { IndexedStore } from "../src/storage/database.ts";

const open: IndexedStore[] = [];
let count = 0;

function indexed(name = `parley-${count}`): IndexedStore {
  const store = new IndexedStore(name);
  open.push(store);
  return store;
}

beforeEach(() => {
  count += 1;
});

afterEach(() => {
  for (const store of open.splice(0)) store.close();
  vi.restoreAllMocks();
});

function record(id: string, fields: Partial<OutgoingRecord> = {}): OutgoingRecord {
  return {
    id,
    chat_id: "c",
    user_id: "u",
    content: `text of ${id}`,
    parent_id: undefined,
    creation: null,
    status: "sending",
    problem: null,
    retryable: true,
    created_at: new Date().toISOString(),
    ...fields,
  };
}

/** A store whose every write is refused, as when the disk is full; what it has can be read. */
function full(store: Store): Store {
  const refuse = () => Promise.reject(new DOMException("full", "QuotaExceededError"));
  return Object.assign(Object.create(store) as Store, {
    setUser: refuse,
    add: refuse,
    change: refuse,
    remove: refuse,
    setDraft: refuse,
    transfer: refuse,
  });
}

const ids = async (store: Store, user = "u") => (await store.outgoing(user)).map(({ id }) => id);

const stores: [name: string, make: () => Store][] = [
  ["in IndexedDB", () => indexed()],
  ["in memory", () => new MemoryStore()],
  ["in IndexedDB, with memory where that refuses", () => new FallbackStore(indexed())],
  ["in memory, where IndexedDB refuses", () => new FallbackStore(full(new MemoryStore()))],
];

describe.each(stores)("a store %s", (_, make) => {
  it("returns messages in the order of writing, independent of the clock and the ids", async () => {
    const store = make();
    await store.add(record("b", { created_at: "2026-11-28T12:00:00Z" }), null);
    await store.add(record("a", { created_at: "1999-01-01T00:00:00Z" }), null);
    await Promise.all([store.add(record("d"), null), store.add(record("c"), null)]);
    expect(await ids(store)).toEqual(["b", "a", "d", "c"]);
  });

  it("changes and removes messages", async () => {
    const store = make();
    await store.add(record("a", { creation: { title: "t" } }), null);
    await store.add(record("b"), null);
    await store.change(["a", "b", "unknown"], { status: "accepted", creation: null });
    await store.remove("b");
    await store.remove("unknown");
    expect(await store.outgoing("u")).toMatchObject([{ id: "a", status: "accepted", creation: null }]);
  });

  it("has messages and drafts of each user apart", async () => {
    const store = make();
    await store.add(record("a"), null);
    await store.add(record("b", { user_id: "other" }), null);
    await store.setDraft("u", "c", "mine");
    expect(await ids(store, "other")).toEqual(["b"]);
    expect(await store.draft("other", "c")).toBe("");
    expect(await store.draft("u", "c")).toBe("mine");
    expect(await store.draft("u", "")).toBe("");
  });

  it("ends a draft in the step that stores the message that it became", async () => {
    const store = make();
    await store.setDraft("u", "c", "text of a");
    await store.setDraft("u", "", "of a new chat");
    await store.add(record("a"), "c");
    expect(await store.draft("u", "c")).toBe("");
    expect(await store.draft("u", "")).toBe("of a new chat");
    await store.setDraft("u", "", "");
    expect(await store.draft("u", "")).toBe("");
  });

  it("gives the first user what was written before there was one", async () => {
    const store = make();
    await store.add(record("a", { user_id: "" }), null);
    await store.setDraft("", "c", "early");
    expect(await store.setUser({ id: "u", guest: false })).toEqual({ id: "", guest: true });
    expect(await store.setUser({ id: "u", guest: false })).toEqual({ id: "u", guest: false });
    expect(await store.lastUser()).toEqual({ id: "u", guest: false });
    expect(await ids(store)).toEqual(["a"]);
    expect(await store.draft("u", "c")).toBe("early");
    expect(await store.draft("", "c")).toBe("");
  });

  it("makes what a user did not send the draft of the next one, and forgets the user", async () => {
    const store = make();
    await store.add(record("a"), null);
    await store.add(record("b", { status: "accepted" }), null);
    await store.add(record("c", { status: "failed" }), null);
    await store.setDraft("u", "c", "seen");
    await store.setDraft("u", "d", "elsewhere");
    await store.transfer("u", "next", "c");
    expect(await store.draft("next", "")).toBe("text of a\n\ntext of c\n\nseen");
    expect(await ids(store)).toEqual([]);
    expect(await ids(store, "next")).toEqual([]);
    expect(await store.draft("u", "d")).toBe("");
  });
});

describe("the tabs of a browser", () => {
  it("hear what one of them stored", async () => {
    const [one, other] = [indexed(), indexed()];
    const changes: StoreChange[] = [];
    other.onChange((change) => changes.push(change));
    await one.setUser({ id: "u", guest: true });
    await one.add(record("a"), "c");
    await one.setDraft("u", "c", "more");
    await vi.waitFor(() => expect(changes).toHaveLength(4));
    expect(changes).toEqual([
      { kind: "user", user_id: "u" },
      { kind: "outgoing", chat_id: "c" },
      { kind: "draft", user_id: "u", chat_id: "c", text: "", sent: "text of a" },
      { kind: "draft", user_id: "u", chat_id: "c", text: "more", sent: null },
    ]);
    expect(await ids(other)).toEqual(["a"]);
  });

  it("take turns by a lease where there are no locks", async () => {
    let running = 0;
    let most = 0;
    const work = async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 20));
      running -= 1;
      return running;
    };
    const tabs = [indexed(), indexed(), indexed()];
    expect(await Promise.all(tabs.map((tab) => tab.withLease("name", 8_000, work)))).toEqual([0, 0, 0]);
    expect(most).toBe(1);
  });

  it("do not wait for a lease that has run out, or that seems to be from the future", async () => {
    const [one, other] = [indexed(), indexed()];
    for (const later of [60_000, -24 * 60 * 60_000]) {
      await new Promise<void>((begun) => {
        void one.withLease("name", 60_000, () => {
          begun();
          return new Promise(() => undefined);
        });
      });
      const now = Date.now();
      vi.spyOn(Date, "now").mockReturnValue(now + later);
      expect(await other.withLease("name", 60_000, async () => "done")).toBe("done");
      vi.restoreAllMocks();
    }
  });

  it("run without a lease when another tab holds it for too long, or when there is no database", async () => {
    const [one, other] = [indexed(), indexed()];
    let end: () => void = () => undefined;
    let holding: Promise<void> = Promise.resolve();
    await new Promise<void>((begun) => {
      holding = one.withLease("name", 60_000, () => {
        begun();
        return new Promise<void>((resolve) => {
          end = resolve;
        });
      });
    });
    expect(await other.withLease("name", 200, async () => "done")).toBe("done");
    end();
    await holding;
    vi.spyOn(indexedDB, "open").mockImplementation(() => {
      throw new DOMException("denied", "SecurityError");
    });
    expect(await indexed("denied").withLease("name", 60_000, async () => "done")).toBe("done");
  });
});

describe("a store that refuses", () => {
  it("sends what it has in the order in which it was written, and not again what was sent", async () => {
    const durable = new MemoryStore();
    await durable.add(record("a"), null);
    const store = new FallbackStore(full(durable));
    await store.add(record("b"), null);
    expect(await ids(store)).toEqual(["a", "b"]);
    await store.change(["a"], { status: "accepted" });
    expect((await store.outgoing("u")).map(({ status }) => status)).toEqual(["accepted", "sending"]);
    await store.remove("a");
    expect(await ids(store)).toEqual(["b"]);
  });

  it("has a message once that was stored after it counted as refused", async () => {
    const durable = new MemoryStore();
    const store = new FallbackStore(durable);
    const add = durable.add.bind(durable);
    vi.spyOn(durable, "add").mockImplementationOnce(async (...message) => {
      await add(...message);
      throw new Error("The browser's database does not answer.");
    });
    await store.add(record("a"), null);
    await store.add(record("b"), null);
    expect(await ids(store)).toEqual(["a", "b"]);
    await store.remove("a");
    expect(await ids(store)).toEqual(["b"]);
  });

  it("takes no message before one that it could not store", async () => {
    const durable = new MemoryStore();
    const refused = vi
      .spyOn(durable, "add")
      .mockRejectedValueOnce(new DOMException("full", "QuotaExceededError"));
    const store = new FallbackStore(durable);
    await store.add(record("a"), null);
    await store.add(record("b"), null);
    expect(refused).toHaveBeenCalledTimes(1);
    expect(await ids(store)).toEqual(["a", "b"]);
  });

  it("is opened again after the browser closed its connection", async () => {
    const store = indexed();
    await store.add(record("a"), null);
    // As Safari does to a page in the background.
    const original = IDBDatabase.prototype.transaction;
    vi.spyOn(IDBDatabase.prototype, "transaction").mockImplementationOnce(() => {
      throw new DOMException("The database connection is closing.", "InvalidStateError");
    });
    expect(await ids(store)).toEqual(["a"]);
    expect(IDBDatabase.prototype.transaction).not.toBe(original);
  });
});
