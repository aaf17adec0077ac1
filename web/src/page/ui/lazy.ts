import { Subject } from "parley-client";
import { useEffect, useState } from "react";

/** Milliseconds before a part of the page that did not load is asked for a second time. */
const SECOND_TRY = 1_000;

/** Whether a part of the page could not be loaded, as when the server has a newer version. */
export const incomplete = new Subject(false);

/** Where a browser says which module it could not load. */
const ADDRESS = /https?:\/\/[^\s?]+\.js/;

/** Loads a part of the page when it is first needed; a failure is tried again once, and again at the next need. */
export class Part<Module> {
  private readonly load: () => Promise<Module>;
  private readonly importFrom: (address: string) => Promise<Module>;
  private loading: Promise<Module> | null = null;
  private failures = 0;
  /** The part, once it is there. */
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
        await new Promise((resolve) => setTimeout(resolve, SECOND_TRY));
        return this.loadAgain(error);
      })
      .then(
        (module) => {
          this.module = module;
          return module;
        },
        (error: unknown) => {
          this.loading = null;
          incomplete.set(true);
          throw error;
        },
      );
    return this.loading;
  }

  /** Some browsers remember that an address gave no module, and do not ask there again: then at one like it. */
  private loadAgain(error: unknown): Promise<Module> {
    const address = ADDRESS.exec(error instanceof Error ? error.message : "")?.[0];
    this.failures += 1;
    return address === undefined ? this.load() : this.importFrom(`${address}?again=${this.failures}`);
  }
}

/** A part of the page; null until it is loaded, and for good when it does not load. Asked for only when `wanted`. */
export function usePart<Module>(part: Part<Module>, wanted = true): Module | null {
  const [module, setModule] = useState(part.module);
  useEffect(() => {
    if (!wanted || module !== null) return;
    let current = true;
    part.get().then(
      (loaded) => current && setModule(loaded),
      () => undefined,
    );
    return () => {
      current = false;
    };
  }, [part, wanted, module]);
  return module;
}
