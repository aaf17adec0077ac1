/** A value with listeners; `subscribe` and `getSnapshot` have the signatures of React's `useSyncExternalStore`. */
export interface Observable<Value> {
  /** Calls `listener` after each change, until the returned function is called. */
  subscribe(listener: () => void): () => void;
  /** Returns the current value: the same object until it changes. */
  getSnapshot(): Value;
}

/** A mutable observable. Its methods are bound, so that they can be passed as callbacks. */
export class Subject<Value> implements Observable<Value> {
  private value: Value;
  private readonly listeners = new Set<() => void>();

  constructor(value: Value) {
    this.value = value;
  }

  readonly getSnapshot = (): Value => this.value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  };

  /** Sets the value and calls the listeners, unless it is the same. */
  set(value: Value): void {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const listener of [...this.listeners]) listener();
  }

  /** Sets some fields of an object value. */
  update(change: Partial<Value>): void {
    this.set({ ...this.value, ...change });
  }
}
