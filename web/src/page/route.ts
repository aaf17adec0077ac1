import { isId } from "parley-client";
import { useCallback, useSyncExternalStore } from "react";

/** The chat and message of the address. */
export interface Route {
  /** The chat; null for a new one. */
  readonly chatId: string | null;
  /** The message to go to. */
  readonly messageId: string | null;
  /** The token of a share link. */
  readonly shared: string | null;
  /** Whether the address names nothing. */
  readonly unknown: boolean;
  /** Changes with each navigation. */
  readonly visit: string;
}

const listeners = new Set<() => void>();
let visits = 0;

function notifyVisit(): void {
  visits += 1;
  for (const listener of [...listeners]) listener();
}

function subscribe(listener: () => void): () => void {
  if (listeners.size === 0) window.addEventListener("popstate", notifyVisit);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) window.removeEventListener("popstate", notifyVisit);
  };
}

/** The base path of the page: `/`, or a path with a trailing slash. */
const BASE = new URL(".", document.baseURI).pathname;

let last: Route | null = null;

function current(): Route {
  const visit = `${visits} ${location.pathname}`;
  if (last?.visit !== visit) {
    const path = location.pathname.startsWith(BASE) ? location.pathname.slice(BASE.length) : "";
    const id = /^c\/([^/]+)\/?$/.exec(path)?.[1];
    const shared = /^shared\/([\w-]+)\/?$/.exec(path)?.[1] ?? null;
    const chatId = id !== undefined && isId(id) ? id : null;
    const message = location.hash.slice(1);
    last = {
      chatId,
      messageId: chatId !== null && isId(message) ? message : null,
      shared,
      unknown: chatId === null && shared === null && path !== "" && path !== "index.html",
      visit,
    };
  }
  return last;
}

/** Returns the token of the share link that the page was opened with; null for any other address. */
export function sharedToken(): string | null {
  return current().shared;
}

/** Returns the address of a share link, with the origin: to be sent to others. */
export function sharedAddressOf(token: string): string {
  return new URL(`${BASE}shared/${token}`, location.origin).href;
}

/** Returns the path of a chat; null: of a new chat. */
export function pathOf(chatId: string | null): string {
  return chatId === null ? BASE : `${BASE}c/${chatId}`;
}

/** Returns the route, and a function that navigates to a chat and one of its messages. */
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
    notifyVisit();
  }, []);
  return [route, open];
}

/** Removes the message from the address after the page has scrolled to it. */
export function clearMessageHash(): void {
  if (location.hash !== "") history.replaceState(null, "", location.pathname);
}
