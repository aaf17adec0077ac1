import { type RefObject, useEffect } from "react";

/**
 * Moves the focus on when the element that had it goes away (Stop when the answer ends, a queued message that is taken
 * back): else the keyboard would begin at the top of the page again.
 *
 * @param next Where to, then.
 */
export function useKeptFocus(root: RefObject<HTMLElement | null>, next: () => HTMLElement | null): void {
  // biome-ignore lint/correctness/useExhaustiveDependencies: what it calls looks at the page as it is then
  useEffect(() => {
    const element = root.current;
    if (element === null) return;
    let focused: Element | null = null;
    const onFocus = (event: FocusEvent) => {
      focused = event.target as Element;
    };
    // A person who clicks beside everything takes the focus away, and the element stays.
    const observer = new MutationObserver(() => {
      if (focused === null || focused.isConnected) return;
      focused = null;
      if (document.activeElement === document.body) next()?.focus({ preventScroll: true });
    });
    observer.observe(element, { childList: true, subtree: true });
    element.addEventListener("focusin", onFocus);
    return () => {
      observer.disconnect();
      element.removeEventListener("focusin", onFocus);
    };
  }, [root]);
}

/** Where a message is written; on a touch screen the messages, since focus would open the keyboard over them. */
export function restingPlace(): HTMLElement | null {
  const target = window.matchMedia("(pointer: fine)").matches ? "composer" : "scroller";
  return document.querySelector<HTMLElement>(`[data-testid=${target}]`);
}
