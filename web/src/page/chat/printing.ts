import type { WatchedChat } from "parley-client";
import { useEffect, useState } from "react";

/** Milliseconds in which the last rendered code is highlighted. */
const HIGHLIGHT_INTERVAL = 500;

/**
 * Prints a whole chat: loads all older messages first. Only the keyboard shortcut can be delayed; a print from the
 * browser's menu contains a note that older messages are missing.
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

  // biome-ignore lint/correctness/useExhaustiveDependencies: once for each request
  useEffect(() => {
    if (wanted === null) return;
    let current = true;
    const load = async () => {
      while (current && wanted.getSnapshot().state.next !== null) await loadOlder(wanted);
      // All messages are rendered and their code is highlighted before printing.
      do await new Promise((resolve) => setTimeout(resolve, HIGHLIGHT_INTERVAL));
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
