import type { Parley, SearchHit } from "parley-client";
import { useEffect, useState } from "react";

/** Milliseconds without a key until what was typed is looked for. */
const PAUSE = 200;

export interface Results {
  /** What they are the results of. */
  readonly query: string;
  readonly hits: readonly SearchHit[];
  /** Where they go on; null at the end. */
  readonly next: string | null;
  readonly problem: string | null;
}

const NOTHING: Results = { query: "", hits: [], next: null, problem: null };

interface Search {
  readonly results: Results;
  /** Whether something newer than the results is looked for. */
  readonly searching: boolean;
  more(): void;
}

/** Looks for what is typed, one request at a time: the server carries out only a few of a user's at once. */
export function useSearch(parley: Parley, typed: string): Search {
  const query = typed.trim();
  const [results, setResults] = useState(NOTHING);
  const [asked, setAsked] = useState<{ query: string; before: string | null } | null>(null);
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    if (query === "") {
      setResults(NOTHING);
      setAsked(null);
      return;
    }
    const timer = setTimeout(() => setAsked({ query, before: null }), PAUSE);
    return () => clearTimeout(timer);
  }, [query]);

  useEffect(() => {
    if (asked === null || busy) return;
    setAsked(null);
    setBusy(true);
    parley.http
      .search(asked.query, asked.before)
      .then(
        (page) =>
          setResults((before) => ({
            query: asked.query,
            hits: asked.before === null ? page.items : [...before.hits, ...page.items],
            next: page.next,
            problem: null,
          })),
        (error: unknown) => {
          const problem = error instanceof Error ? error.message : String(error);
          setResults((before) =>
            asked.before === null
              ? { query: asked.query, hits: [], next: null, problem }
              : { ...before, problem },
          );
        },
      )
      .finally(() => setBusy(false));
  }, [parley, asked, busy]);

  const current = query === "" ? NOTHING : results;
  return {
    results: current,
    searching: query !== "" && current.query !== query,
    more: () => current.next !== null && setAsked({ query: current.query, before: current.next }),
  };
}
