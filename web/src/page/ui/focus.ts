import { type RefObject, useEffect } from "react";

/**
 * Moves the focus when the focused element is removed (Stop when the answer ends, a deleted queued message): otherwise
 * keyboard navigation would restart at the top of the page.
 *
 * @param next Returns the next element to focus.
 */
export function useFocusFallback(root: RefObject<HTMLElement | null>, next: () => HTMLElement | null): void {
  // biome-ignore lint/correctness/useExhaustiveDependencies: `next` reads the page when it is called
  useEffect(() => {
    const element = root.current;
    if (element === null) return;
    let focused: Element | null = null;
    const onFocus = (event: FocusEvent) => {
      focused = event.target as Element;
    };
    // A click on the background also removes the focus, but not the element.
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

/** Returns the composer; on a touch screen the messages, since focus on the composer would open the keyboard. */
export function defaultFocus(): HTMLElement | null {
  const target = window.matchMedia("(pointer: fine)").matches ? "composer" : "scroller";
  return document.querySelector<HTMLElement>(`[data-testid=${target}]`);
}
