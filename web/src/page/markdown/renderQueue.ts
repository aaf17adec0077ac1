import { startTransition, useEffect, useState } from "react";

/** Characters that are rendered in one step. */
const STEP = 6_000;

/**
 * Renders texts step by step: each step is rendered in the background with a commit of its own, so that neither a page of
 * messages nor one long answer blocks the page. Last in, first out: the newest message, which is in view, comes first.
 */
class RenderQueue {
  private readonly waiting: (() => void)[] = [];
  private readonly channel = new MessageChannel();
  private current: (() => void) | null = null;

  constructor() {
    this.channel.port1.onmessage = () => this.next();
  }

  add(task: () => void): void {
    this.waiting.push(task);
    this.channel.port2.postMessage(null);
  }

  /** Removes a task that has run or is cancelled. */
  remove(task: () => void): void {
    const index = this.waiting.indexOf(task);
    if (index >= 0) this.waiting.splice(index, 1);
    if (this.current !== task) return;
    this.current = null;
    this.channel.port2.postMessage(null);
  }

  private next(): void {
    if (this.current !== null) return;
    this.current = this.waiting.pop() ?? null;
    this.current?.();
  }
}

const queue = new RenderQueue();

/** Returns how many characters of a text to render now: all at once, or more with each step. */
export function useRenderedLength(length: number, atOnce: boolean): number {
  const [rendered, setRendered] = useState(atOnce ? Number.POSITIVE_INFINITY : 0);

  useEffect(() => {
    if (rendered >= length) return;
    const task = () => startTransition(() => setRendered(rendered + STEP));
    queue.add(task);
    return () => queue.remove(task);
  }, [rendered, length]);

  return rendered;
}
