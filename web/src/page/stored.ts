import { useState } from "react";

/** A state that this browser remembers, where it may; of what can be written as JSON. */
export function useStored<Value>(name: string, initial: Value): [Value, (value: Value) => void] {
  const [value, setValue] = useState<Value>(() => {
    try {
      return (JSON.parse(localStorage.getItem(name) ?? "null") as Value | null) ?? initial;
    } catch {
      return initial;
    }
  });
  const set = (next: Value) => {
    setValue(next);
    try {
      localStorage.setItem(name, JSON.stringify(next));
    } catch {
      // Without storage it is remembered as long as the page is open.
    }
  };
  return [value, set];
}
