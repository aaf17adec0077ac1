import type { Config, Observable, Parley } from "parley-client";
import { createContext, use, useCallback, useEffect, useState, useSyncExternalStore } from "react";

export const ParleyContext = createContext<Parley | null>(null);

/** Returns the page's client. */
export function useParley(): Parley {
  const parley = use(ParleyContext);
  if (parley === null) throw new Error("ParleyContext is missing.");
  return parley;
}

/** Milliseconds until the configuration is requested again after an error. */
const CONFIG_RETRY_DELAY = 5_000;

/** Returns the server's configuration; null until it is known. */
export function useConfig(): Config | null {
  const parley = useParley();
  const [config, setConfig] = useState<Config | null>(null);
  useEffect(() => {
    let current = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = () => {
      parley.config().then(
        (loaded) => current && setConfig(loaded),
        () => {
          if (current) timer = setTimeout(load, CONFIG_RETRY_DELAY);
        },
      );
    };
    load();
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [parley]);
  return config;
}

/** Returns the value of an observable; renders at most once for each animation frame, however often it changes. */
export function useObservable<Value>(observable: Observable<Value>): Value {
  const subscribe = useCallback(
    (render: () => void) => {
      const frame = new RenderScheduler(render);
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

/** Milliseconds between renders of a hidden page, for which browsers run no animation frames. */
const HIDDEN_INTERVAL = 250;
/** The minimum pause after a render, as a multiple of its duration, so that input is handled. */
const REST_FACTOR = 2;
/** Milliseconds of pause below which no timer is needed: the next frame comes later anyway. */
const MIN_REST = 16;

/** Calls back in the next animation frame, once for all requests before it; less often when renders are slow. */
class RenderScheduler {
  private readonly callback: () => void;
  private cancelPending: (() => void) | null = null;
  private restUntil = 0;

  constructor(callback: () => void) {
    this.callback = callback;
  }

  request(): void {
    if (this.cancelPending !== null) return;
    const rest = document.hidden ? HIDDEN_INTERVAL : this.restUntil - performance.now();
    if (rest > MIN_REST) {
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
    // React renders a changed store in a microtask, which runs before this one.
    queueMicrotask(() => {
      const end = performance.now();
      this.restUntil = end + (end - start) * REST_FACTOR;
    });
  }
}
