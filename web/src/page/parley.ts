import { createContext, use, useCallback, useSyncExternalStore } from "react";
import type { Observable, Parley } from "../client";

export const ParleyContext = createContext<Parley | null>(null);

/** The client that the page is built on. */
export function useParley(): Parley {
  const parley = use(ParleyContext);
  if (parley === null) throw new Error("ParleyContext is missing.");
  return parley;
}

/** The value of an observable; renders at most once for each frame of the screen, however often it changes. */
export function useObservable<Value>(observable: Observable<Value>): Value {
  const subscribe = useCallback(
    (render: () => void) => {
      const frame = new Frame(render);
      const unsubscribe = observable.subscribe(() => frame.request());
      return () => {
        unsubscribe();
        frame.cancel();
      };
    },
    [observable],
  );
  return useSyncExternalStore(subscribe, () => observable.getSnapshot());
}

/** Milliseconds between renders of a page that nobody sees, for which browsers paint no frames. */
const HIDDEN_INTERVAL = 250;

/** Calls back in the next frame of the screen, once for all requests before it. */
class Frame {
  private readonly callback: () => void;
  private cancelPending: (() => void) | null = null;

  constructor(callback: () => void) {
    this.callback = callback;
  }

  request(): void {
    if (this.cancelPending !== null) return;
    const run = () => {
      this.cancelPending = null;
      this.callback();
    };
    if (document.hidden) {
      const timer = setTimeout(run, HIDDEN_INTERVAL);
      this.cancelPending = () => clearTimeout(timer);
    } else {
      const frame = requestAnimationFrame(run);
      this.cancelPending = () => cancelAnimationFrame(frame);
    }
  }

  cancel(): void {
    this.cancelPending?.();
    this.cancelPending = null;
  }
}
