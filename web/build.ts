import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

/** Kilobytes of compressed script, at most. */
const BUDGETS = {
  /** The page's entry and its static imports, which load before the first answer. */
  first: 250,
  /** Each module that is loaded on use, except Mermaid's, which belong to another document. */
  part: 100,
};

/** Fails the build when the page exceeds a budget. */
export function budgets(): Plugin {
  return {
    name: "budgets",
    apply: "build",
    generateBundle(_, bundle) {
      const chunks = Object.values(bundle).filter((file) => file.type === "chunk");
      const size = (name: string) => {
        const chunk = chunks.find(({ fileName }) => fileName === name);
        return chunk === undefined ? 0 : gzipSync(chunk.code).length / 1000;
      };
      const closure = (name: string, seen = new Set<string>()): Set<string> => {
        if (seen.has(name)) return seen;
        seen.add(name);
        for (const imported of chunks.find(({ fileName }) => fileName === name)?.imports ?? [])
          closure(imported, seen);
        return seen;
      };
      const entry = chunks.find(({ isEntry, name }) => isEntry && name === "index");
      if (entry === undefined) return this.error("The page has no entry.");
      const first = [...closure(entry.fileName)];
      const total = first.reduce((sum, name) => sum + size(name), 0);
      if (total > BUDGETS.first) {
        this.error(
          `The page loads ${total.toFixed(0)} KB of script at first; the budget is ${BUDGETS.first} KB.`,
        );
      }
      for (const name of entry.dynamicImports) {
        if (size(name) > BUDGETS.part) {
          this.error(
            `${name} has ${size(name).toFixed(0)} KB; a module that is loaded on use may have ${BUDGETS.part} KB.`,
          );
        }
      }
    },
  };
}

/** Removes fonts in older formats: all supported browsers read WOFF2. */
export function onlyWoff2(): Plugin {
  return {
    name: "only-woff2",
    enforce: "pre",
    transform(code, id) {
      if (!id.endsWith("katex.min.css")) return null;
      return {
        code: code.replace(/,url\([^)]*\.(?:woff|ttf)\) format\("(?:woff|truetype)"\)/g, ""),
        map: null,
      };
    },
  };
}
