import { startTransition, useEffect, useState } from "react";

/** Characters that are drawn in one turn. */
const STEP = 6_000;

/**
 * What waits to be drawn, drawn piece by piece: each piece is rendered in the background and has a commit of its own, so
 * that neither a page of messages nor one long answer stops the page. The piece that came last goes first: that is the
 * newest message, which is in view.
 */
class Turns {
  private readonly waiting: (() => void)[] = [];
  private readonly channel = new MessageChannel();
  private current: (() => void) | null = null;

  constructor() {
    this.channel.port1.onmessage = () => this.next();
  }

  take(turn: () => void): void {
    this.waiting.push(turn);
    this.channel.port2.postMessage(null);
  }

  /** The turn was taken, or is not wanted any more. */
  over(turn: () => void): void {
    const index = this.waiting.indexOf(turn);
    if (index >= 0) this.waiting.splice(index, 1);
    if (this.current !== turn) return;
    this.current = null;
    this.channel.port2.postMessage(null);
  }

  private next(): void {
    if (this.current !== null) return;
    this.current = this.waiting.pop() ?? null;
    this.current?.();
  }
}

const turns = new Turns();

/** How many characters of a text to draw now; all of them at once, or some more with each turn. */
export function useDrawn(length: number, atOnce: boolean): number {
  const [drawn, setDrawn] = useState(atOnce ? Number.POSITIVE_INFINITY : 0);

  useEffect(() => {
    if (drawn >= length) return;
    const turn = () => startTransition(() => setDrawn(drawn + STEP));
    turns.take(turn);
    return () => turns.over(turn);
  }, [drawn, length]);

  return drawn;
}
