import { useCallback, useLayoutEffect, useRef } from "react";

/**
 * Returns a function with a stable identity that calls the newest render's `action`: for memoized components, which keep
 * the callback of an earlier render.
 */
export function useStableCallback<Arguments extends unknown[], Result>(
  action: (...given: Arguments) => Result,
): (...given: Arguments) => Result {
  const newest = useRef(action);
  useLayoutEffect(() => {
    newest.current = action;
  });
  return useCallback((...given: Arguments) => newest.current(...given), []);
}
