import type { WatchedChat } from "parley-client";
import { useEffect, useState } from "react";

/** Milliseconds in which the code that was drawn last is coloured. */
const COLOURING = 500;

/**
 * Prints the whole of a chat: what is not loaded yet is loaded before. Only the keys can be waited with; whoever prints
 * by the browser's menu is told on the paper that older messages are missing.
 */
export function usePrinting(chat: WatchedChat | null, onProblem: (action: Promise<void>) => void): void {
  const [wanted, setWanted] = useState<WatchedChat | null>(null);

  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const command = event.ctrlKey || event.metaKey;
      if (!command || event.shiftKey || event.altKey || event.key.toLowerCase() !== "p") return;
      if (chat === null || chat.getSnapshot().state.next === null) return;
      event.preventDefault();
      setWanted(chat);
    };
    window.addEventListener("keydown", onKeyDown);
    return () => window.removeEventListener("keydown", onKeyDown);
  }, [chat]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: once for each wish
  useEffect(() => {
    if (wanted === null) return;
    let current = true;
    const load = async () => {
      while (current && wanted.getSnapshot().state.next !== null) await loadOlder(wanted);
      // Drawn, and its code coloured, before it is printed.
      do await new Promise((resolve) => setTimeout(resolve, COLOURING));
      while (current && document.querySelector(".markdown[data-drawn=false]") !== null);
      if (current) window.print();
    };
    onProblem(load().finally(() => current && setWanted(null)));
    return () => {
      current = false;
    };
  }, [wanted]);
}

async function loadOlder(chat: WatchedChat): Promise<void> {
  if (!chat.getSnapshot().loadingOlder) return chat.loadOlder();
  await new Promise<void>((resolve) => {
    const unsubscribe = chat.subscribe(() => {
      if (chat.getSnapshot().loadingOlder) return;
      unsubscribe();
      resolve();
    });
  });
}
