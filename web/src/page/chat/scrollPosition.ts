import { type RefObject, useEffect, useLayoutEffect, useRef } from "react";
import { ChatMemory } from "../ui/storage";

/** A scroll position: a message, and the distance of its top from the top of the view in pixels. */
export interface ScrollPosition {
  readonly id: string;
  readonly top: number;
}

const positions = new ChatMemory<ScrollPosition>("session", "places");

/** Milliseconds after the last scroll event until the position is saved. */
const SAVE_DELAY = 150;
/** Frames for which the position is corrected while the messages around it are laid out. */
const HOLD_FRAMES = 30;
/** Pixels above a message of the address. */
const MARGIN = 16;

/** Returns the position for an opened chat: the message of the address, or the saved position. */
export function scrollTargetOf(chatId: string, message: string | null): ScrollPosition | null {
  return message === null ? positions.get(chatId) : { id: message, top: MARGIN };
}

/** Saves the reader's position in a chat; none while the view follows the end. */
export function useSavedScrollPosition(
  chatId: string,
  scroller: RefObject<HTMLElement | null>,
  following: boolean,
): void {
  const follows = useRef(following);
  follows.current = following;

  useEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const save = () => {
      clearTimeout(timer);
      timer = undefined;
      positions.set(chatId, follows.current ? null : positionIn(element));
    };
    const onScroll = () => {
      clearTimeout(timer);
      timer = setTimeout(save, SAVE_DELAY);
    };
    // A page that is unloaded saves at once.
    const onLeave = () => timer !== undefined && save();
    element.addEventListener("scroll", onScroll, { passive: true });
    window.addEventListener("pagehide", onLeave);
    return () => {
      onLeave();
      element.removeEventListener("scroll", onScroll);
      window.removeEventListener("pagehide", onLeave);
    };
  }, [chatId, scroller]);
}

/** Returns the position of the first visible message. */
function positionIn(scroller: HTMLElement): ScrollPosition | null {
  const top = scroller.getBoundingClientRect().top;
  const messages = scroller.querySelectorAll<HTMLElement>("[data-message-id]");
  let [low, high] = [0, messages.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((messages[middle]?.getBoundingClientRect().bottom ?? 0) > top) high = middle;
    else low = middle + 1;
  }
  const message = messages[low];
  const id = message?.dataset.messageId;
  return message === undefined || id === undefined
    ? null
    : { id, top: message.getBoundingClientRect().top - top };
}

interface ScrollTarget {
  readonly place: ScrollPosition | null;
  /** Whether the address names the message, which is then highlighted and focused. */
  readonly found: boolean;
  /** Changes with each navigation. */
  readonly visit: string;
  /** Whether the message is rendered. */
  readonly drawn: boolean;
  /** Called before scrolling, to stop following the end. */
  release(): void;
  onReached(): void;
}

/**
 * Scrolls to a position once its message is rendered, and corrects it while the messages around are laid out; once for
 * each visit.
 */
export function useScrollTo(scroller: RefObject<HTMLElement | null>, target: ScrollTarget): void {
  const newest = useRef(target);
  newest.current = target;
  const { visit, drawn } = target;
  const reached = useRef<string | null>(null);

  // biome-ignore lint/correctness/useExhaustiveDependencies: once for each visit
  useLayoutEffect(() => {
    const { place, found, release, onReached } = newest.current;
    const element = scroller.current;
    const message =
      place === null
        ? null
        : element?.querySelector<HTMLElement>(`[data-message-id="${CSS.escape(place.id)}"]`);
    if (!element || !message || place === null || reached.current === visit) return;
    reached.current = visit;
    release();
    let frames = 0;
    let frame = 0;
    const hold = () => {
      const off = message.getBoundingClientRect().top - element.getBoundingClientRect().top - place.top;
      if (Math.abs(off) >= 1) element.scrollTop += off;
      frames += 1;
      if (frames < HOLD_FRAMES) frame = requestAnimationFrame(hold);
    };
    const stop = () => cancelAnimationFrame(frame);
    hold();
    if (found) focusMessage(message);
    onReached();
    const events = ["wheel", "touchstart", "pointerdown", "keydown"] as const;
    for (const event of events) window.addEventListener(event, stop, { passive: true, once: true });
    return () => {
      stop();
      for (const event of events) window.removeEventListener(event, stop);
    };
  }, [scroller, visit, drawn]);
}

function focusMessage(message: HTMLElement): void {
  message.tabIndex = -1;
  message.focus({ preventScroll: true });
  message.dataset.found = "";
  message.addEventListener("blur", () => delete message.dataset.found, { once: true });
}
