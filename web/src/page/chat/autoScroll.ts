import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

/** Pixels from the end within which scrolling down means: follow again. */
const NEAR = 32;
/** Milliseconds after a wheel, a finger or a key in which a move of the view is the reader's for certain. */
const RECENT = 1_000;
const INPUTS = ["wheel", "touchmove", "pointerdown", "keydown"] as const;

interface Follow {
  /** Whether the end is kept in sight. */
  readonly following: boolean;
  /** Goes to the end, and follows from there. */
  jump(): void;
  /** Follows no more, until the reader comes to the end. */
  release(): void;
}

/**
 * Keeps the end of a growing content in sight, until the reader scrolls up, by whatever means.
 *
 * A reader who scrolls up by a single pixel while text comes in is let go at once: scroll events come before the next
 * layout, so that nothing pulls back what was just scrolled. The end is followed again when the reader comes near it.
 */
export function useFollow(
  scroller: RefObject<HTMLElement | null>,
  content: RefObject<HTMLElement | null>,
): Follow {
  const [following, setFollowing] = useState(true);
  const followed = useRef(true);

  const follow = useCallback(
    (wanted: boolean) => {
      followed.current = wanted;
      setFollowing(wanted);
      // What is drawn above the view must not move a view that is kept at the end: that looks like a reader's move.
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
    const keep = () => {
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
      // At the very end also a move up is none of the reader's: the content became shorter.
      // And before the view is kept at a new end, it may have grown again.
      const readers = element.scrollHeight === height || performance.now() - input < RECENT;
      if (distance <= 1) follow(true);
      else if (top < last && readers) follow(false);
      else if (top > last && distance <= NEAR) follow(true);
      keep();
      last = element.scrollTop;
    };
    element.style.overflowAnchor = followed.current ? "none" : "auto";
    keep();
    const observer = new ResizeObserver(keep);
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

/** Keeps what the reader looks at where it is when messages are put in above `firstId`, the first one so far. */
export function usePlaceKept(scroller: RefObject<HTMLElement | null>, firstId: string | null): void {
  const place = useRef<{ readonly element: Element; readonly top: number } | null>(null);

  // The browser does this by itself, but not at the very top, and Safari not at all.
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
