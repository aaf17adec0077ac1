/** Delays in milliseconds: the upper bound doubles from `base` to `cap`. */
export interface BackoffOptions {
  readonly base: number;
  readonly cap: number;
}

/**
 * Exponential backoff with full jitter: each delay is drawn uniformly between zero and the bound, so that thousands of
 * readers who lost their connections at the same moment do not reconnect at the same moment.
 */
export class Backoff {
  private failures = 0;
  private readonly options: BackoffOptions;
  private readonly random: () => number;

  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.options = options;
    this.random = random;
  }

  /** Returns the next delay and raises the bound. */
  next(): number {
    const bound = Math.min(this.options.cap, this.options.base * 2 ** this.failures);
    this.failures += 1;
    return this.random() * bound;
  }

  reset(): void {
    this.failures = 0;
  }
}
