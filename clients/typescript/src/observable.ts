/** A value that changes and says so; `subscribe` and `getSnapshot` are what React's `useSyncExternalStore` takes. */
export interface Observable<Value> {
  /** Calls `listener` after each change, until the returned function is called. */
  subscribe(listener: () => void): () => void;
  /** Returns the value now; the same object as long as nothing changed. */
  getSnapshot(): Value;
}

/** An observable held in memory. Bound methods, so that they can be passed around. */
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

  /** Sets the value and tells the listeners, unless it is the same. */
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
