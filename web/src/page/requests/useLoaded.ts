import { useEffect, useState } from "react";
import { useStableCallback } from "../ui/useStableCallback";
import { messageOf } from "./errors";

/** A value that is loaded from the server, and actions that change it there. */
export interface Loaded<Value> {
  /** Null until it is loaded. */
  readonly value: Value | null;
  /** The error of the last request, for people. */
  readonly problem: string | null;
  /** Whether an action runs. */
  readonly busy: boolean;
  reload(): void;
  /** Runs an action and loads the value again; shows the error of either. Returns the result, null after an error. */
  run<Result>(action: () => Promise<Result>): Promise<Result | null>;
}

/** Loads a value, at first and again when `key` changes. */
export function useLoaded<Value>(key: string, load: () => Promise<Value>): Loaded<Value> {
  const [value, setValue] = useState<Value | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const [round, setRound] = useState(0);
  const newestLoad = useStableCallback(load);

  // biome-ignore lint/correctness/useExhaustiveDependencies: each round and each key loads again
  useEffect(() => {
    let current = true;
    newestLoad().then(
      (loaded) => current && setValue(() => loaded),
      (error: unknown) => current && setProblem(messageOf(error)),
    );
    return () => {
      current = false;
    };
  }, [newestLoad, key, round]);

  const reload = () => {
    setProblem(null);
    setRound((before) => before + 1);
  };

  const run = async <Result>(action: () => Promise<Result>): Promise<Result | null> => {
    setBusy(true);
    setProblem(null);
    try {
      const result = await action();
      setRound((before) => before + 1);
      return result;
    } catch (error) {
      setProblem(messageOf(error));
      return null;
    } finally {
      setBusy(false);
    }
  };

  return { value, problem, busy, reload, run };
}
