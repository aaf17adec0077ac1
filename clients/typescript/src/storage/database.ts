import { type DBSchema, type IDBPDatabase, type IDBPObjectStore, type IDBPTransaction, openDB } from "idb";
import { newId } from "../ids.ts";
import {
  joinTexts,
  NOBODY,
  type OutgoingRecord,
  type Store,
  type StoreChange,
  type StoredUser,
} from "./store.ts";

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
  /** The key is an auto-incremented number: the order of writing, independent of the clock. */
  outgoing: { key: number; value: OutgoingRecord; indexes: { id: string; user_id: string } };
  drafts: { key: [userId: string, chatId: string]; value: Draft };
  leases: { key: string; value: Lease };
  /** `user`: the id of the last user of this browser; `guest`: whether that is a guest. */
  values: { key: string; value: string };
}

type WriteTransaction = IDBPTransaction<Schema, StoreName[], "readwrite">;
type StoreName = "outgoing" | "drafts" | "leases" | "values";

/** Milliseconds after which an operation of the database counts as refused. */
const RESPONSE_TIMEOUT = 5_000;
/** Milliseconds after which drafts and messages of other users are deleted. */
const RETENTION = 30 * 24 * 60 * 60 * 1000;
/** Milliseconds from the owner's last heartbeat to the expiry of its lease. */
const LEASE_DURATION = 5_000;
const HEARTBEAT_INTERVAL = 1_000;
/** Milliseconds between two attempts to take a lease. */
const LEASE_POLL_INTERVAL = 100;

/** Drafts, outgoing messages and leases in IndexedDB, one database for each base path. */
export class IndexedStore implements Store {
  private readonly name: string;
  private readonly channel: BroadcastChannel | null;
  private opening: Promise<IDBPDatabase<Schema>> | null = null;

  constructor(name: string) {
    this.name = name;
    this.channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel(name);
  }

  lastUser(): Promise<StoredUser> {
    return this.run(async (database) => storedUser(database.transaction("values").store));
  }

  async setUser({ id: userId, guest }: StoredUser): Promise<StoredUser> {
    let before = NOBODY;
    await this.write(["outgoing", "drafts", "values"], async (transaction) => {
      const [outgoing, drafts] = [transaction.objectStore("outgoing"), transaction.objectStore("drafts")];
      const values = transaction.objectStore("values");
      before = await storedUser(values);
      await values.put(userId, "user");
      await values.put(String(guest), "guest");
      for (let cursor = await outgoing.openCursor(); cursor !== null; cursor = await cursor.continue()) {
        const { user_id, created_at } = cursor.value;
        if (user_id === "" && userId !== "") await cursor.update({ ...cursor.value, user_id: userId });
        else if (user_id !== userId && isExpired(Date.parse(created_at))) await cursor.delete();
      }
      for (let cursor = await drafts.openCursor(); cursor !== null; cursor = await cursor.continue()) {
        const [owner, chatId] = cursor.key;
        const unowned = owner === "" && userId !== "";
        if (unowned) await drafts.put(cursor.value, [userId, chatId]);
        if (unowned || (owner !== userId && isExpired(cursor.value.saved_at))) await cursor.delete();
      }
      return before.id === userId ? [] : [{ kind: "user", user_id: userId }];
    });
    return before;
  }

  outgoing(userId: string): Promise<readonly OutgoingRecord[]> {
    return this.run((database) => database.getAllFromIndex("outgoing", "user_id", userId));
  }

  add(record: OutgoingRecord, draft: string | null): Promise<void> {
    const { user_id, chat_id, content } = record;
    return this.write(
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
      // The page shows the message as being sent: it has to survive a crash of the machine.
      "strict",
    );
  }

  change(ids: readonly string[], change: Partial<OutgoingRecord>): Promise<void> {
    return this.write(["outgoing"], async (transaction) => {
      const chats = new Set<string>();
      for (const id of ids) {
        const cursor = await transaction.objectStore("outgoing").index("id").openCursor(id);
        if (cursor === null) continue;
        chats.add(cursor.value.chat_id);
        await cursor.update({ ...cursor.value, ...change });
      }
      return [...chats].map((chat_id) => ({ kind: "outgoing", chat_id }));
    });
  }

  remove(id: string): Promise<void> {
    return this.write(["outgoing"], async (transaction) => {
      const cursor = await transaction.objectStore("outgoing").index("id").openCursor(id);
      if (cursor === null) return [];
      await cursor.delete();
      return [{ kind: "outgoing", chat_id: cursor.value.chat_id }];
    });
  }

  draft(userId: string, chatId: string): Promise<string> {
    return this.run(async (database) => (await database.get("drafts", [userId, chatId]))?.text ?? "");
  }

  setDraft(userId: string, chatId: string, text: string): Promise<void> {
    return this.write(["drafts"], async (transaction) => {
      const drafts = transaction.objectStore("drafts");
      const key: [string, string] = [userId, chatId];
      const done = text === "" ? drafts.delete(key) : drafts.put({ text, saved_at: Date.now() }, key);
      // Without waiting for the request's result, which a page that ends now does not get.
      transaction.commit();
      await done;
      return [{ kind: "draft", user_id: userId, chat_id: chatId, text, sent: null }];
    });
  }

  transfer(from: string, to: string, chatId: string): Promise<void> {
    return this.write(["outgoing", "drafts"], async (transaction) => {
      const [outgoing, drafts] = [transaction.objectStore("outgoing"), transaction.objectStore("drafts")];
      const draft = await drafts.get([from, chatId]);
      const text = joinTexts(await outgoing.index("user_id").getAll(from), draft?.text ?? "");
      await deleteAll(transaction, from);
      if (text === "") return [];
      await drafts.put({ text, saved_at: Date.now() }, [to, ""]);
      return [{ kind: "draft", user_id: to, chat_id: "", text, sent: null }];
    });
  }

  forget(userId: string): Promise<void> {
    return this.write(["outgoing", "drafts"], async (transaction) => {
      await deleteAll(transaction, userId);
      return [];
    });
  }

  onChange(listener: (change: StoreChange) => void): () => void {
    const onMessage = ({ data }: MessageEvent) => listener(data as StoreChange);
    this.channel?.addEventListener("message", onMessage);
    return () => this.channel?.removeEventListener("message", onMessage);
  }

  /** Closes the database and the channel. */
  close(): void {
    this.channel?.close();
    this.opening?.then(
      (database) => database.close(),
      () => undefined,
    );
    this.opening = null;
  }

  /**
   * Runs `work` while no other tab holds the lease of that name: for pages without Web Locks. A lease is a record with an
   * owner and a time of expiry, taken in a transaction. Without a database, or when another tab holds the lease for longer
   * than `timeout` milliseconds, the work runs all the same.
   */
  async withLease<Result>(name: string, timeout: number, work: () => Promise<Result>): Promise<Result> {
    const owner = newId();
    const begun = performance.now();
    try {
      while (!(await this.lease(name, owner)) && performance.now() - begun < timeout) {
        await new Promise((resolve) => setTimeout(resolve, LEASE_POLL_INTERVAL));
      }
    } catch {
      return work();
    }
    const heartbeat = setInterval(() => void this.lease(name, owner).catch(() => false), HEARTBEAT_INTERVAL);
    try {
      return await work();
    } finally {
      clearInterval(heartbeat);
      await this.release(name, owner).catch(() => undefined);
    }
  }

  /** Takes or extends a lease; false while another tab holds it. */
  private async lease(name: string, owner: string): Promise<boolean> {
    let taken = false;
    await this.write(["leases"], async (transaction) => {
      const leases = transaction.objectStore("leases");
      const current = await leases.get(name);
      const remaining = (current?.until ?? 0) - Date.now();
      // More time than a lease can have: the clock was set back.
      taken =
        current === undefined || current.owner === owner || remaining <= 0 || remaining > LEASE_DURATION;
      if (taken) await leases.put({ owner, until: Date.now() + LEASE_DURATION }, name);
      return [];
    });
    return taken;
  }

  private release(name: string, owner: string): Promise<void> {
    return this.write(["leases"], async (transaction) => {
      const leases = transaction.objectStore("leases");
      if ((await leases.get(name))?.owner === owner) await leases.delete(name);
      return [];
    });
  }

  /** Writes in one transaction and notifies the other tabs after its commit. */
  private write(
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

  /** Runs an operation, once more after the connection was closed. Transactions run in the order of their creation. */
  private async run<Result>(work: (database: IDBPDatabase<Schema>) => Promise<Result>): Promise<Result> {
    try {
      return await withTimeout(work(await this.open()));
    } catch (error) {
      if (!isClosed(error)) throw error;
      this.opening = null;
      return await withTimeout(work(await this.open()));
    }
  }

  private open(): Promise<IDBPDatabase<Schema>> {
    this.opening ??= withTimeout(
      openDB<Schema>(this.name, 1, {
        upgrade(database) {
          const outgoing = database.createObjectStore("outgoing", { autoIncrement: true });
          outgoing.createIndex("id", "id", { unique: true });
          outgoing.createIndex("user_id", "user_id");
          database.createObjectStore("drafts");
          database.createObjectStore("leases");
          database.createObjectStore("values");
        },
        // A newer version of the page upgrades the schema: this tab closes, and opens again if its version still fits.
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

type Values = Pick<IDBPObjectStore<Schema, ["values"], "values", "readonly">, "get">;

async function storedUser(values: Values): Promise<StoredUser> {
  const id = await values.get("user");
  // Without `guest`, the user is from a version of the page that knew only guests.
  return id === undefined ? NOBODY : { id, guest: (await values.get("guest")) !== "false" };
}

/** Deletes the drafts and messages of a user. */
async function deleteAll(transaction: WriteTransaction, userId: string): Promise<void> {
  const [outgoing, drafts] = [transaction.objectStore("outgoing"), transaction.objectStore("drafts")];
  for (const key of await outgoing.index("user_id").getAllKeys(userId)) await outgoing.delete(key);
  for (const key of await drafts.getAllKeys()) {
    if (key[0] === userId) await drafts.delete(key);
  }
}

function isExpired(time: number): boolean {
  return Date.now() - time > RETENTION;
}

/** Whether the connection to the database was closed, so that a new one may work. */
function isClosed(error: unknown): boolean {
  return (
    error instanceof DOMException && (error.name === "InvalidStateError" || error.name === "UnknownError")
  );
}

function withTimeout<Result>(work: Promise<Result>): Promise<Result> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("The browser's database does not respond.")), RESPONSE_TIMEOUT);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
