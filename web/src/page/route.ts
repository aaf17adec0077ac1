import { isId } from "parley-client";
import { useCallback, useSyncExternalStore } from "react";

/** What the address names. */
export interface Route {
  /** The chat; null for a new one. */
  readonly chatId: string | null;
  /** The message to go to. */
  readonly messageId: string | null;
  /** Whether this page has nothing at the address. */
  readonly unknown: boolean;
  /** Another one each time something is gone to. */
  readonly visit: string;
}

const listeners = new Set<() => void>();
let visits = 0;

function visited(): void {
  visits += 1;
  for (const listener of [...listeners]) listener();
}

function subscribe(listener: () => void): () => void {
  if (listeners.size === 0) window.addEventListener("popstate", visited);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) window.removeEventListener("popstate", visited);
  };
}

/** Where the page is served: `/`, or a path that ends with a slash. */
const BASE = new URL(".", document.baseURI).pathname;

let last: Route | null = null;

function current(): Route {
  const visit = `${visits} ${location.pathname}`;
  if (last?.visit !== visit) {
    const path = location.pathname.startsWith(BASE) ? location.pathname.slice(BASE.length) : "";
    const id = /^c\/([^/]+)\/?$/.exec(path)?.[1];
    const chatId = id !== undefined && isId(id) ? id : null;
    const message = location.hash.slice(1);
    last = {
      chatId,
      messageId: chatId !== null && isId(message) ? message : null,
      unknown: chatId === null && path !== "" && path !== "index.html",
      visit,
    };
  }
  return last;
}

/** The path of a chat's own page; of the page for a new chat without an id. */
export function pathOf(chatId: string | null): string {
  return chatId === null ? BASE : `${BASE}c/${chatId}`;
}

/** What the address names, and a function that goes to a chat and a message of it. */
export function useRoute(): readonly [
  route: Route,
  open: (chatId: string | null, messageId?: string | null) => void,
] {
  const route = useSyncExternalStore(subscribe, current);
  const open = useCallback((id: string | null, messageId: string | null = null) => {
    const path = pathOf(id);
    const address = messageId === null ? path : `${path}#${messageId}`;
    if (location.pathname === path) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
    visited();
  }, []);
  return [route, open];
}

/** The message of the address was gone to: from now on the address names its chat, and the reader may be anywhere. */
export function arrived(): void {
  if (location.hash !== "") history.replaceState(null, "", location.pathname);
}
