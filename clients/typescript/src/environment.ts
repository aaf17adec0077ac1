import { IndexedStore } from "./storage/database.ts";
import { FallbackStore, type Store } from "./storage/store.ts";
import type { Fetch } from "./transport/http.ts";

/** The events of a socket. */
export interface SocketHandlers {
  onOpen(): void;
  onMessage(data: unknown): void;
  onClose(code: number): void;
}

/** The part of a `WebSocket` that the library uses. */
export interface SocketLike {
  send(data: string): void;
  close(code?: number): void;
}

/**
 * An event of the page: the network is lost or restored, the page becomes visible or hidden (after which the browser may
 * end it without another event), or the device wakes from sleep.
 */
export type PageEvent = "online" | "offline" | "visible" | "hidden" | "awake";

/** Storage of one tab, with synchronous writes. */
export interface TabStorage {
  get(name: string): string | null;
  /** Null removes the entry. */
  set(name: string, text: string | null): void;
}

/** Milliseconds between two readings of the clock, which detect sleep. */
const CLOCK_INTERVAL = 5_000;
/** Milliseconds by which a reading must be late to count as sleep. */
const SLEEP_THRESHOLD = 10_000;

/** Everything that the library uses of the browser; tests pass another implementation. */
export interface Environment {
  readonly fetch: Fetch;
  openSocket(url: string, handlers: SocketHandlers): SocketLike;
  /** A number from 0 (inclusive) to 1 (exclusive), uniformly distributed. */
  random(): number;
  /** The page's origin. */
  readonly origin: string;
  /** The path under which Parley is served, without a trailing slash: empty, or for example `/chat`. */
  readonly base: string;
  /** Runs `work` while no other tab of this browser holds the lock of that name. */
  withLock<Result>(name: string, work: () => Promise<Result>): Promise<Result>;
  /** The storage shared by the tabs of this browser. */
  readonly store: Store;
  /** Drafts that are written while the page ends, when the asynchronous store may not finish. */
  readonly tabStorage: TabStorage;
  onPageEvent(listener: (event: PageEvent) => void): () => void;
  /** Whether the browser reports that there is no network. */
  isOffline(): boolean;
  /** Whether the page is hidden. */
  isHidden(): boolean;
}

/** Milliseconds after which a lock is given up on: a tab that hangs must not block the others. */
const LOCK_TIMEOUT = 8_000;

async function withWebLock<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
  let started = false;
  const start = () => {
    started = true;
    return work();
  };
  try {
    return await navigator.locks.request(name, { signal: AbortSignal.timeout(LOCK_TIMEOUT) }, start);
  } catch (error) {
    if (started) throw error;
    return work();
  }
}

/** `sessionStorage`, where the browser allows it: it survives a reload, and its writes are synchronous. */
const tabStorage: TabStorage = {
  get(name) {
    try {
      return sessionStorage.getItem(`parley-draft ${name}`);
    } catch {
      return null;
    }
  },
  set(name, text) {
    try {
      if (text === null) sessionStorage.removeItem(`parley-draft ${name}`);
      else sessionStorage.setItem(`parley-draft ${name}`, text);
    } catch {
      // The browser refuses storage: only drafts that the store has survive.
    }
  },
};

/** The environment of a page in a browser. */
export function browserEnvironment(): Environment {
  const base = new URL(".", document.baseURI).pathname.replace(/\/$/, "");
  const store = new IndexedStore(`parley${base}`);
  return {
    fetch: (input, init) => fetch(input, init),
    openSocket(url, handlers) {
      const socket = new WebSocket(url);
      socket.onopen = () => handlers.onOpen();
      socket.onmessage = (event) => handlers.onMessage(event.data);
      socket.onclose = (event) => handlers.onClose(event.code);
      return socket;
    },
    random: Math.random,
    origin: location.origin,
    base,
    store: new FallbackStore(store),
    tabStorage,
    // Web Locks exist on secure origins only; on others, leases in the database replace them.
    withLock: (name, work) =>
      navigator.locks === undefined ? store.withLease(name, LOCK_TIMEOUT, work) : withWebLock(name, work),
    isOffline: () => !navigator.onLine,
    isHidden: () => document.hidden,
    onPageEvent(listener) {
      const online = () => listener("online");
      const offline = () => listener("offline");
      const visible = () => listener(document.hidden ? "hidden" : "visible");
      const hidden = () => listener("hidden");
      // A page restored from the back/forward cache lost its socket without a close event.
      const shown = (event: PageTransitionEvent) => {
        if (event.persisted) listener("visible");
      };
      let checkedAt = Date.now();
      const clock = setInterval(() => {
        const late = Date.now() - checkedAt - CLOCK_INTERVAL;
        checkedAt = Date.now();
        // Browsers throttle the timers of a hidden page to one per minute, which is not sleep.
        if (late > SLEEP_THRESHOLD && !document.hidden) listener("awake");
      }, CLOCK_INTERVAL);
      window.addEventListener("online", online);
      window.addEventListener("offline", offline);
      window.addEventListener("pageshow", shown);
      window.addEventListener("pagehide", hidden);
      document.addEventListener("visibilitychange", visible);
      return () => {
        clearInterval(clock);
        window.removeEventListener("online", online);
        window.removeEventListener("offline", offline);
        window.removeEventListener("pageshow", shown);
        window.removeEventListener("pagehide", hidden);
        document.removeEventListener("visibilitychange", visible);
      };
    },
  };
}
