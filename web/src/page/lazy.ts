import { useEffect, useState } from "react";
import { Subject } from "../client/observable";

/** Milliseconds before a part of the page that did not load is asked for a second time. */
const SECOND_TRY = 1_000;

/** Whether a part of the page could not be loaded, as when the server has a newer version. */
export const incomplete = new Subject(false);

/** Loads a part of the page when it is first needed; a failure is tried again once, and again at the next need. */
export class Part<Module> {
  private readonly load: () => Promise<Module>;
  private loading: Promise<Module> | null = null;
  /** The part, once it is there. */
  module: Module | null = null;

  constructor(load: () => Promise<Module>) {
    this.load = load;
  }

  get(): Promise<Module> {
    this.loading ??= this.load()
      .catch(async () => {
        await new Promise((resolve) => setTimeout(resolve, SECOND_TRY));
        return this.load();
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
