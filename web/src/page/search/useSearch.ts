import type { Parley, SearchHit } from "parley-client";
import { useEffect, useState } from "react";
import { messageOf } from "../requests/errors";

/** Milliseconds without input before the search. */
const DEBOUNCE = 200;

export interface Results {
  /** The query of these results. */
  readonly query: string;
  readonly hits: readonly SearchHit[];
  /** The cursor of the next page; null at the end. */
  readonly next: string | null;
  readonly problem: string | null;
}

const NO_RESULTS: Results = { query: "", hits: [], next: null, problem: null };

interface Search {
  readonly results: Results;
  /** Whether a newer query than that of the results is running. */
  readonly searching: boolean;
  more(): void;
}

/** Searches for the typed text, one request at a time: the server limits concurrent searches of a user. */
export function useSearch(parley: Parley, typed: string): Search {
  const query = typed.trim();
  const [results, setResults] = useState(NO_RESULTS);
  const [asked, setAsked] = useState<{ query: string; before: string | null } | null>(null);
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    if (query === "") {
      setResults(NO_RESULTS);
      setAsked(null);
      return;
    }
    const timer = setTimeout(() => setAsked({ query, before: null }), DEBOUNCE);
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
          const problem = messageOf(error);
          setResults((before) =>
            asked.before === null
              ? { query: asked.query, hits: [], next: null, problem }
              : { ...before, problem },
          );
        },
      )
      .finally(() => setBusy(false));
  }, [parley, asked, busy]);

  const current = query === "" ? NO_RESULTS : results;
  return {
    results: current,
    searching: query !== "" && current.query !== query,
    more: () => current.next !== null && setAsked({ query: current.query, before: current.next }),
  };
}
