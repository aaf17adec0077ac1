import { Subject } from "parley-client";
import { useEffect, useState } from "react";
import { useStableCallback } from "../ui/useStableCallback";

/** Milliseconds before the second attempt to load a module. */
const RETRY_DELAY = 1_000;

/** Whether a module could not be loaded, for example because the server has a newer version. */
export const loadFailed = new Subject(false);
const failedModules = new Set<LazyModule<unknown>>();

/** The address of a module in a browser's error message. */
const ADDRESS = /https?:\/\/[^\s?]+\.js/;

/** Loads a module on first use; retries a failure once, and again at the next use. */
export class LazyModule<Module> {
  private readonly load: () => Promise<Module>;
  private readonly importFrom: (address: string) => Promise<Module>;
  private loading: Promise<Module> | null = null;
  private failures = 0;
  /** The module; null until it is loaded. */
  module: Module | null = null;

  constructor(
    load: () => Promise<Module>,
    importFrom = (address: string): Promise<Module> => import(/* @vite-ignore */ address),
  ) {
    this.load = load;
    this.importFrom = importFrom;
  }

  get(): Promise<Module> {
    this.loading ??= this.load()
      .catch(async (error: unknown) => {
        await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY));
        return this.loadAgain(error);
      })
      .then(
        (module) => {
          this.module = module;
          failedModules.delete(this);
          loadFailed.set(failedModules.size > 0);
          return module;
        },
        (error: unknown) => {
          this.loading = null;
          failedModules.add(this);
          loadFailed.set(true);
          throw error;
        },
      );
    return this.loading;
  }

  /** Some browsers cache a failed import by its address: the retry uses another query string. */
  private loadAgain(error: unknown): Promise<Module> {
    const address = ADDRESS.exec(error instanceof Error ? error.message : "")?.[0];
    this.failures += 1;
    return address === undefined ? this.load() : this.importFrom(`${address}?again=${this.failures}`);
  }
}

/**
 * Returns a module, loaded when `wanted`; null until it is loaded, and when it cannot be.
 *
 * @param onFailed Called when it cannot be loaded; it is requested again when `wanted` changes to true again.
 */
export function useLazyModule<Module>(
  part: LazyModule<Module>,
  wanted = true,
  onFailed: () => void = () => undefined,
): Module | null {
  const [module, setModule] = useState(part.module);
  const failed = useStableCallback(onFailed);
  useEffect(() => {
    if (!wanted || module !== null) return;
    let current = true;
    part.get().then(
      (loaded) => current && setModule(loaded),
      () => current && failed(),
    );
    return () => {
      current = false;
    };
  }, [part, wanted, module, failed]);
  return module;
}
