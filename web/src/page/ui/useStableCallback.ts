import { useCallback, useLayoutEffect, useRef } from "react";

/**
 * A function that stays the same over renders and does what the newest render's would: for parts that are drawn again
 * only when what they show has changed, and are used later.
 */
export function useStable<Arguments extends unknown[], Result>(
  action: (...given: Arguments) => Result,
): (...given: Arguments) => Result {
  const newest = useRef(action);
  useLayoutEffect(() => {
    newest.current = action;
  });
  return useCallback((...given: Arguments) => newest.current(...given), []);
}
