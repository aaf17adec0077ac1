import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

/** Pixels from the end within which scrolling down resumes following. */
const NEAR_END = 32;
/** Milliseconds after an input event in which a scroll event counts as the reader's. */
const INPUT_WINDOW = 1_000;
const INPUTS = ["wheel", "touchmove", "pointerdown", "keydown"] as const;

interface AutoScroll {
  /** Whether the view follows the end. */
  readonly following: boolean;
  /** Scrolls to the end and follows it. */
  jump(): void;
  /** Stops following until the reader scrolls to the end. */
  release(): void;
}

/**
 * Scrolls with the end of growing content until the reader scrolls up.
 *
 * Scrolling up by a single pixel stops following at once: scroll events fire before the next layout, so that no update
 * reverts the reader's scroll. Following resumes when the reader scrolls near the end.
 */
export function useAutoScroll(
  scroller: RefObject<HTMLElement | null>,
  content: RefObject<HTMLElement | null>,
): AutoScroll {
  const [following, setFollowing] = useState(true);
  const followed = useRef(true);

  const follow = useCallback(
    (wanted: boolean) => {
      followed.current = wanted;
      setFollowing(wanted);
      // Scroll anchoring would move a view that follows the end, which would look like the reader's scroll.
      if (scroller.current !== null) scroller.current.style.overflowAnchor = wanted ? "none" : "auto";
    },
    [scroller],
  );

  const jump = useCallback(() => {
    const element = scroller.current;
    if (element === null) return;
    element.scrollTop = element.scrollHeight;
    follow(true);
  }, [scroller, follow]);

  useLayoutEffect(() => {
    const element = scroller.current;
    const inner = content.current;
    if (element === null || inner === null) return;
    let height = element.scrollHeight;
    const scrollToEnd = () => {
      if (followed.current) element.scrollTop = element.scrollHeight;
      height = element.scrollHeight;
    };
    let last = element.scrollTop;
    let input = Number.NEGATIVE_INFINITY;
    const onInput = () => {
      input = performance.now();
    };
    const onScroll = () => {
      const top = element.scrollTop;
      const distance = element.scrollHeight - element.clientHeight - top;
      // At the very end, a scroll up means that the content became shorter. The content may also have grown between
      // two scroll events.
      const byReader = element.scrollHeight === height || performance.now() - input < INPUT_WINDOW;
      if (distance <= 1) follow(true);
      else if (top < last && byReader) follow(false);
      else if (top > last && distance <= NEAR_END) follow(true);
      scrollToEnd();
      last = element.scrollTop;
    };
    element.style.overflowAnchor = followed.current ? "none" : "auto";
    scrollToEnd();
    const observer = new ResizeObserver(scrollToEnd);
    observer.observe(inner);
    observer.observe(element);
    element.addEventListener("scroll", onScroll, { passive: true });
    for (const event of INPUTS) window.addEventListener(event, onInput, { passive: true, capture: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", onScroll);
      for (const event of INPUTS) window.removeEventListener(event, onInput, { capture: true });
    };
  }, [scroller, content, follow]);

  const release = useCallback(() => follow(false), [follow]);

  return { following, jump, release };
}

/** Keeps the visible messages in place when messages are inserted above `firstId`, the first one so far. */
export function useScrollAnchor(scroller: RefObject<HTMLElement | null>, firstId: string | null): void {
  const place = useRef<{ readonly element: Element; readonly top: number } | null>(null);

  // Browsers anchor the scroll position, but not at the very top, and Safari not at all.
  // biome-ignore lint/correctness/useExhaustiveDependencies: what comes first decides
  useLayoutEffect(() => {
    const before = place.current;
    if (before?.element.isConnected && scroller.current !== null) {
      scroller.current.scrollTop += before.element.getBoundingClientRect().top - before.top;
    }
    place.current = null;
  }, [scroller, firstId]);

  useEffect(() => {
    const element = scroller.current;
    const first =
      firstId === null ? null : element?.querySelector(`[data-message-id="${CSS.escape(firstId)}"]`);
    if (!element || !first) return;
    const remember = () => {
      place.current = { element: first, top: first.getBoundingClientRect().top };
    };
    remember();
    element.addEventListener("scroll", remember, { passive: true });
    return () => element.removeEventListener("scroll", remember);
  });
}
