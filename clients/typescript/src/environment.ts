import { IndexedStore } from "./storage/database.ts";
import { LenientStore, type Store } from "./storage/store.ts";
import type { Fetch } from "./transport/http.ts";

/** What a socket tells. */
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
 * What happened to the page: the network went or came, a person looks at it again or looks away (after which it may end
 * without a word), or the device slept.
 */
export type PageEvent = "online" | "offline" | "visible" | "hidden" | "awake";

export interface LastWords {
  get(name: string): string | null;
  /** Null forgets it. */
  set(name: string, text: string | null): void;
}

/** Milliseconds between two looks at the clock. */
const CLOCK_EVERY = 5_000;
/** A look that comes so much later (milliseconds) was held up by sleep. */
const SLEPT = 10_000;

/** Everything outside that the library touches, so that tests can stand in for it. */
export interface Environment {
  readonly fetch: Fetch;
  openSocket(url: string, handlers: SocketHandlers): SocketLike;
  /** Evenly from 0 (inclusive) to 1. */
  random(): number;
  /** The page's origin. */
  readonly origin: string;
  /** The path that Parley is served below, without a slash at its end: empty, or such as `/chat`. */
  readonly base: string;
  /** Does some work while no other tab of this browser does work of the same name. */
  exclusively<Result>(name: string, work: () => Promise<Result>): Promise<Result>;
  /** What all tabs of this browser share. */
  readonly store: Store;
  /** Texts that this tab alone has, written while its page ends, when there is no time for the store. */
  readonly lastWords: LastWords;
  onPageEvent(listener: (event: PageEvent) => void): () => void;
  /** Whether the browser believes that there is no network. */
  isOffline(): boolean;
  /** Whether nobody looks at the page. */
  isHidden(): boolean;
}

/** How long to wait for other tabs, in milliseconds: one that hangs must not hold up all. */
const PATIENCE = 8_000;

async function whileLocked<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
  let begun = false;
  const begin = () => {
    begun = true;
    return work();
  };
  try {
    return await navigator.locks.request(name, { signal: AbortSignal.timeout(PATIENCE) }, begin);
  } catch (error) {
    if (begun) throw error;
    return work();
  }
}

/** In the tab's own storage, where the browser has that: it survives a reload, and is written at once. */
const lastWords: LastWords = {
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
      // Refused; then only what is stored already survives.
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
    store: new LenientStore(store),
    lastWords,
    // Pages have Web Locks over HTTPS and on this machine; over plain HTTP they have the database.
    exclusively: (name, work) =>
      navigator.locks === undefined ? store.whileLeased(name, PATIENCE, work) : whileLocked(name, work),
    isOffline: () => !navigator.onLine,
    isHidden: () => document.hidden,
    onPageEvent(listener) {
      const online = () => listener("online");
      const offline = () => listener("offline");
      const visible = () => listener(document.hidden ? "hidden" : "visible");
      const hidden = () => listener("hidden");
      // A page that comes back from the back/forward cache has lost its socket without being told.
      const shown = (event: PageTransitionEvent) => {
        if (event.persisted) listener("visible");
      };
      let lookedAt = Date.now();
      const clock = setInterval(() => {
        const late = Date.now() - lookedAt - CLOCK_EVERY;
        lookedAt = Date.now();
        // A hidden page's timers are slowed down to one a minute: that is no sleep, and nobody waits.
        if (late > SLEPT && !document.hidden) listener("awake");
      }, CLOCK_EVERY);
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
