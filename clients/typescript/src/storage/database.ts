import { type DBSchema, type IDBPDatabase, type IDBPTransaction, openDB } from "idb";
import { newId } from "../ids.ts";
import { joined, type OutgoingRecord, type Store, type StoreChange } from "./store.ts";

interface Draft {
  readonly text: string;
  /** Unix time in milliseconds. */
  readonly saved_at: number;
}

interface Lease {
  readonly owner: string;
  /** Unix time in milliseconds. */
  readonly until: number;
}

interface Schema extends DBSchema {
  /** By a number that grows: the order in which they were written, whatever the clock said. */
  outgoing: { key: number; value: OutgoingRecord; indexes: { id: string; user_id: string } };
  drafts: { key: [userId: string, chatId: string]; value: Draft };
  leases: { key: string; value: Lease };
  /** `user`: who this browser was last. */
  values: { key: string; value: string };
}

type WriteTransaction = IDBPTransaction<Schema, StoreName[], "readwrite">;
type StoreName = "outgoing" | "drafts" | "leases" | "values";

/** Milliseconds after which a database that does not answer counts as refused. */
const PATIENCE = 5_000;
/** Milliseconds that another user's drafts and messages are kept: nobody may ever come back for them. */
const KEPT = 30 * 24 * 60 * 60 * 1000;
/** A lease ends so many milliseconds after its owner was last alive. */
const LEASE = 5_000;
const HEARTBEAT = 1_000;
/** Milliseconds between two looks at a lease of another tab. */
const LOOK_AGAIN = 100;

/** Drafts, outgoing messages and leases in IndexedDB, one database for each path that Parley is served below. */
export class IndexedStore implements Store {
  private readonly name: string;
  private readonly channel: BroadcastChannel | null;
  private opening: Promise<IDBPDatabase<Schema>> | null = null;

  constructor(name: string) {
    this.name = name;
    this.channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel(name);
  }

  lastUser(): Promise<string> {
    return this.run(async (database) => (await database.get("values", "user")) ?? "");
  }

  async setUser(userId: string): Promise<string> {
    let before = "";
    await this.writing(["outgoing", "drafts", "values"], async (transaction) => {
      const [outgoing, drafts] = [transaction.objectStore("outgoing"), transaction.objectStore("drafts")];
      before = (await transaction.objectStore("values").get("user")) ?? "";
      await transaction.objectStore("values").put(userId, "user");
      for (let at = await outgoing.openCursor(); at !== null; at = await at.continue()) {
        const { user_id, created_at } = at.value;
        if (user_id === "") await at.update({ ...at.value, user_id: userId });
        else if (user_id !== userId && isOld(Date.parse(created_at))) await at.delete();
      }
      for (let at = await drafts.openCursor(); at !== null; at = await at.continue()) {
        const [owner, chatId] = at.key;
        if (owner === "") await drafts.put(at.value, [userId, chatId]);
        if (owner === "" || (owner !== userId && isOld(at.value.saved_at))) await at.delete();
      }
      return before === userId ? [] : [{ kind: "user", user_id: userId }];
    });
    return before;
  }

  outgoing(userId: string): Promise<readonly OutgoingRecord[]> {
    return this.run((database) => database.getAllFromIndex("outgoing", "user_id", userId));
  }

  add(record: OutgoingRecord, draft: string | null): Promise<void> {
    const { user_id, chat_id, content } = record;
    return this.writing(
      ["outgoing", "drafts"],
      async (transaction) => {
        await transaction.objectStore("outgoing").add(record);
        if (draft === null) return [{ kind: "outgoing", chat_id }];
        await transaction.objectStore("drafts").delete([user_id, draft]);
        return [
          { kind: "outgoing", chat_id },
          { kind: "draft", user_id, chat_id: draft, text: "", sent: content },
        ];
      },
      // A person was shown that it is on its way: it is on the disk, not only on its way there.
      "strict",
    );
  }

  change(ids: readonly string[], change: Partial<OutgoingRecord>): Promise<void> {
    return this.writing(["outgoing"], async (transaction) => {
      const chats = new Set<string>();
      for (const id of ids) {
        const at = await transaction.objectStore("outgoing").index("id").openCursor(id);
        if (at === null) continue;
        chats.add(at.value.chat_id);
        await at.update({ ...at.value, ...change });
      }
      return [...chats].map((chat_id) => ({ kind: "outgoing", chat_id }));
    });
  }

  remove(id: string): Promise<void> {
    return this.writing(["outgoing"], async (transaction) => {
      const at = await transaction.objectStore("outgoing").index("id").openCursor(id);
      if (at === null) return [];
      await at.delete();
      return [{ kind: "outgoing", chat_id: at.value.chat_id }];
    });
  }

  draft(userId: string, chatId: string): Promise<string> {
    return this.run(async (database) => (await database.get("drafts", [userId, chatId]))?.text ?? "");
  }

  setDraft(userId: string, chatId: string, text: string): Promise<void> {
    return this.writing(["drafts"], async (transaction) => {
      const drafts = transaction.objectStore("drafts");
      const key: [string, string] = [userId, chatId];
      const done = text === "" ? drafts.delete(key) : drafts.put({ text, saved_at: Date.now() }, key);
      // At once, and not after the answer to that: a page that ends now gets none.
      transaction.commit();
      await done;
      return [{ kind: "draft", user_id: userId, chat_id: chatId, text, sent: null }];
    });
  }

  handOver(from: string, to: string, chatId: string): Promise<void> {
    return this.writing(["outgoing", "drafts"], async (transaction) => {
      const [outgoing, drafts] = [transaction.objectStore("outgoing"), transaction.objectStore("drafts")];
      const draft = await drafts.get([from, chatId]);
      const text = joined(await outgoing.index("user_id").getAll(from), draft?.text ?? "");
      for (const key of await outgoing.index("user_id").getAllKeys(from)) await outgoing.delete(key);
      for (const key of await drafts.getAllKeys()) {
        if (key[0] === from) await drafts.delete(key);
      }
      if (text === "") return [];
      await drafts.put({ text, saved_at: Date.now() }, [to, ""]);
      return [{ kind: "draft", user_id: to, chat_id: "", text, sent: null }];
    });
  }

  onChange(listener: (change: StoreChange) => void): () => void {
    const hear = ({ data }: MessageEvent) => listener(data as StoreChange);
    this.channel?.addEventListener("message", hear);
    return () => this.channel?.removeEventListener("message", hear);
  }

  /** Ends the connections that it holds. */
  close(): void {
    this.channel?.close();
    this.opening?.then(
      (database) => database.close(),
      () => undefined,
    );
    this.opening = null;
  }

  /**
   * Does some work while no other tab holds a lease of that name: for pages that have no Web Locks. A lease is a record
   * with the time until which it is valid; transactions make taking it atomic. Without a database, or when another tab
   * keeps it for longer than `patience` milliseconds, the work is done all the same.
   */
  async whileLeased<Result>(name: string, patience: number, work: () => Promise<Result>): Promise<Result> {
    const owner = newId();
    const begun = performance.now();
    try {
      while (!(await this.lease(name, owner)) && performance.now() - begun < patience) {
        await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN));
      }
    } catch {
      return work();
    }
    const heartbeat = setInterval(() => void this.lease(name, owner).catch(() => false), HEARTBEAT);
    try {
      return await work();
    } finally {
      clearInterval(heartbeat);
      await this.release(name, owner).catch(() => undefined);
    }
  }

  /** Takes a lease, or makes it valid for longer; false while it is another tab's. */
  private async lease(name: string, owner: string): Promise<boolean> {
    let taken = false;
    await this.writing(["leases"], async (transaction) => {
      const leases = transaction.objectStore("leases");
      const held = await leases.get(name);
      const left = (held?.until ?? 0) - Date.now();
      // More than a lease can have left: the clock was set back.
      taken = held === undefined || held.owner === owner || left <= 0 || left > LEASE;
      if (taken) await leases.put({ owner, until: Date.now() + LEASE }, name);
      return [];
    });
    return taken;
  }

  private release(name: string, owner: string): Promise<void> {
    return this.writing(["leases"], async (transaction) => {
      const leases = transaction.objectStore("leases");
      if ((await leases.get(name))?.owner === owner) await leases.delete(name);
      return [];
    });
  }

  /** Does some writing, all of it or nothing, and tells the other tabs after it is done. */
  private writing(
    stores: StoreName[],
    work: (transaction: WriteTransaction) => Promise<StoreChange[]>,
    durability: IDBTransactionDurability = "default",
  ): Promise<void> {
    return this.run(async (database) => {
      const transaction = database.transaction(stores, "readwrite", { durability });
      const [changes] = await Promise.all([work(transaction), transaction.done]);
      for (const change of changes) this.channel?.postMessage(change);
    });
  }

  /** Transactions of one store run in the order in which they are begun: what is read is as new as what was written. */
  private async run<Result>(work: (database: IDBPDatabase<Schema>) => Promise<Result>): Promise<Result> {
    try {
      return await inTime(work(await this.open()));
    } catch (error) {
      if (!isClosed(error)) throw error;
      this.opening = null;
      return await inTime(work(await this.open()));
    }
  }

  private open(): Promise<IDBPDatabase<Schema>> {
    this.opening ??= inTime(
      openDB<Schema>(this.name, 1, {
        upgrade(database) {
          const outgoing = database.createObjectStore("outgoing", { autoIncrement: true });
          outgoing.createIndex("id", "id", { unique: true });
          outgoing.createIndex("user_id", "user_id");
          database.createObjectStore("drafts");
          database.createObjectStore("leases");
          database.createObjectStore("values");
        },
        // A newer version of the page wants to change it: it goes first, and this tab opens it again if it can.
        blocking: (_, __, event) => {
          (event.target as IDBDatabase).close();
          this.opening = null;
        },
        terminated: () => {
          this.opening = null;
        },
      }),
    ).catch((error: unknown) => {
      this.opening = null;
      throw error;
    });
    return this.opening;
  }
}

function isOld(time: number): boolean {
  return Date.now() - time > KEPT;
}

/** Whether the connection to the database had ended, so that a new one may work. */
function isClosed(error: unknown): boolean {
  return (
    error instanceof DOMException && (error.name === "InvalidStateError" || error.name === "UnknownError")
  );
}

function inTime<Result>(work: Promise<Result>): Promise<Result> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("The browser's database does not answer.")), PATIENCE);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
