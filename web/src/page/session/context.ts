import type { Observable, Parley } from "parley-client";
import { createContext, use, useCallback, useSyncExternalStore } from "react";

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
/** After a render, so many times its duration belongs to everything else: what a person types, above all. */
const REST = 2;
/** Milliseconds of rest that are not worth a timer: the next frame comes later anyway. */
const SHORT_REST = 16;

/** Calls back in the next frame of the screen, once for all requests before it; less often when that takes long. */
class Frame {
  private readonly callback: () => void;
  private cancelPending: (() => void) | null = null;
  private restUntil = 0;

  constructor(callback: () => void) {
    this.callback = callback;
  }

  request(): void {
    if (this.cancelPending !== null) return;
    const rest = document.hidden ? HIDDEN_INTERVAL : this.restUntil - performance.now();
    if (rest > SHORT_REST) {
      const timer = setTimeout(() => this.run(), rest);
      this.cancelPending = () => clearTimeout(timer);
    } else {
      const frame = requestAnimationFrame(() => this.run());
      this.cancelPending = () => cancelAnimationFrame(frame);
    }
  }

  cancel(): void {
    this.cancelPending?.();
    this.cancelPending = null;
  }

  private run(): void {
    this.cancelPending = null;
    const start = performance.now();
    this.callback();
    // React renders a changed store in a microtask of its own, which is before this one.
    queueMicrotask(() => {
      const end = performance.now();
      this.restUntil = end + (end - start) * REST;
    });
  }
}
