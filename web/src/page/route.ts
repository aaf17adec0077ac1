import { useCallback, useSyncExternalStore } from "react";
import { isId } from "../client";

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

/** Where the page is served: `/`, or a path that ends with a slash. */
const BASE = new URL(".", document.baseURI).pathname;

function chatIdOf(pathname: string): string | null {
  const id = pathname.startsWith(BASE)
    ? (/^c\/([^/]+)\/?$/.exec(pathname.slice(BASE.length))?.[1] ?? "")
    : "";
  return isId(id) ? id : null;
}

/** The path of a chat's own page; of the page for a new chat without an id. */
export function pathOf(chatId: string | null): string {
  return chatId === null ? BASE : `${BASE}c/${chatId}`;
}

/** The chat named by the address, null for a new one, and a function that goes to another. */
export function useRoute(): readonly [chatId: string | null, open: (chatId: string | null) => void] {
  const chatId = useSyncExternalStore(subscribe, () => chatIdOf(location.pathname));
  const open = useCallback((id: string | null) => {
    if (location.pathname !== pathOf(id)) history.pushState(null, "", pathOf(id));
    for (const listener of [...listeners]) listener();
  }, []);
  return [chatId, open];
}
