import { type RefObject, useEffect, useLayoutEffect, useRef } from "react";
import { ChatMemory } from "../ui/storage";

/** Where a reader was in a chat: a message, and how far its top was below the top of the view, in pixels. */
export interface Place {
  readonly id: string;
  readonly top: number;
}

const places = new ChatMemory<Place>("session", "places");

/** Milliseconds after scrolling until the place is noted. */
const PAUSE = 150;
/** Frames over which a place is held while what is around it is laid out. */
const FRAMES = 30;
/** Pixels above a message that was looked for. */
const MARGIN = 16;

/** Where to go in the chat that is opened: to the message that was looked for, or to where the reader was. */
export function placeOf(chatId: string, message: string | null): Place | null {
  return message === null ? places.get(chatId) : { id: message, top: MARGIN };
}

/** Notes where the reader is, for the next time; whoever is at the end will be at the end. */
export function useNotedPlace(
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
    const note = () => {
      clearTimeout(timer);
      timer = undefined;
      places.set(chatId, follows.current ? null : placeIn(element));
    };
    const onScroll = () => {
      clearTimeout(timer);
      timer = setTimeout(note, PAUSE);
    };
    // A page that is left has no time for the pause.
    const onLeave = () => timer !== undefined && note();
    element.addEventListener("scroll", onScroll, { passive: true });
    window.addEventListener("pagehide", onLeave);
    return () => {
      onLeave();
      element.removeEventListener("scroll", onScroll);
      window.removeEventListener("pagehide", onLeave);
    };
  }, [chatId, scroller]);
}

/** The first message that reaches into the view. */
function placeIn(scroller: HTMLElement): Place | null {
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

interface Arrival {
  readonly place: Place | null;
  /** Whether the message was looked for: it is shown, and takes the focus. */
  readonly found: boolean;
  /** Changes with each wish to go somewhere. */
  readonly visit: string;
  /** Whether the message is drawn. */
  readonly drawn: boolean;
  /** Called before the view moves, so that nothing else moves it. */
  release(): void;
  onArrived(): void;
}

/** Goes to a place once its message is drawn, and holds it while what is around it gets its size. */
export function useArrival(scroller: RefObject<HTMLElement | null>, arrival: Arrival): void {
  const newest = useRef(arrival);
  newest.current = arrival;
  const { visit, drawn } = arrival;

  // biome-ignore lint/correctness/useExhaustiveDependencies: a visit is made once
  useLayoutEffect(() => {
    const { place, found, release, onArrived } = newest.current;
    const element = scroller.current;
    const message =
      place === null
        ? null
        : element?.querySelector<HTMLElement>(`[data-message-id="${CSS.escape(place.id)}"]`);
    if (!element || !message || place === null) return;
    release();
    let frames = 0;
    let frame = 0;
    const hold = () => {
      const off = message.getBoundingClientRect().top - element.getBoundingClientRect().top - place.top;
      if (Math.abs(off) >= 1) element.scrollTop += off;
      frames += 1;
      if (frames < FRAMES) frame = requestAnimationFrame(hold);
    };
    const stop = () => cancelAnimationFrame(frame);
    hold();
    if (found) show(message);
    onArrived();
    const events = ["wheel", "touchstart", "pointerdown", "keydown"] as const;
    for (const event of events) window.addEventListener(event, stop, { passive: true, once: true });
    return () => {
      stop();
      for (const event of events) window.removeEventListener(event, stop);
    };
  }, [scroller, visit, drawn]);
}

function show(message: HTMLElement): void {
  message.tabIndex = -1;
  message.focus({ preventScroll: true });
  message.dataset.found = "";
  message.addEventListener("blur", () => delete message.dataset.found, { once: true });
}
