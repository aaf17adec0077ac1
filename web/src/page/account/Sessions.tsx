import type { Account, SessionSummary } from "parley-client";
import { Problem } from "../requests/Problem";
import { useLoaded } from "../requests/useLoaded";
import { timeAgo } from "../ui/time";
import { browserOf } from "./browserOf";

/** The browsers and programs that are signed in; each but this one can be signed out. */
export function Sessions({ account }: { readonly account: Account }) {
  const { value, problem, busy, run } = useLoaded("", () => account.sessions());
  return (
    <>
      <p className="text-muted-foreground text-sm">Where you are signed in.</p>
      <Problem text={problem} />
      <ul aria-label="Sessions" className="rows">
        {value?.map((session) => (
          <li className="row" data-testid="session" key={session.id}>
            <div className="min-w-0 flex-1">
              <p className="font-medium">
                {browserOf(session.user_agent)}
                {session.current && <span className="badge">This session</span>}
              </p>
              <p className="break-words text-muted-foreground text-sm">{detailsOf(session)}</p>
            </div>
            {!session.current && (
              <button
                aria-label={`Sign out ${browserOf(session.user_agent)}, last used ${timeAgo(session.last_used_at)}`}
                className="button"
                disabled={busy}
                onClick={() => run(() => account.endSession(session.id))}
                type="button"
              >
                Sign out
              </button>
            )}
          </li>
        ))}
      </ul>
    </>
  );
}

function detailsOf({ address, last_used_at, created_at }: SessionSummary): string {
  const parts = [`Last used ${timeAgo(last_used_at)}`, `signed in ${timeAgo(created_at)}`];
  return [...parts, ...(address === "" ? [] : [`from ${address}`])].join(", ");
}
