import type { ConnectionState } from "parley-client";
import { useEffect, useState } from "react";
import { useObservable, useParley } from "./context";
import { StartOverButton, useSessionProblem } from "./NoSession";
import { SignInButton } from "./signIn";

/** Milliseconds of disconnection before the notice is shown. */
const NOTICE_DELAY = 1_000;

/** Shows that the connection is lost, which the page retries by itself, or that there is no session. */
export function ConnectionNotice() {
  const parley = useParley();
  const { status, transport, refusal } = useObservable(parley.connection);
  const session = useObservable(parley.session);
  const [late, setLate] = useState(false);
  const problem = useSessionProblem();
  const online = status === "online" && problem === null;

  useEffect(() => {
    if (online) {
      setLate(false);
      return;
    }
    const timer = setTimeout(() => setLate(true), NOTICE_DELAY);
    return () => clearTimeout(timer);
  }, [online]);

  const shown = !online && (late || problem !== null);
  return (
    <div
      className={
        shown ? "mb-2 flex items-center justify-center gap-2 py-1 text-muted-foreground text-sm" : "sr-only"
      }
      data-session={session}
      data-status={status}
      data-testid="connection"
      data-transport={transport}
      role="status"
    >
      {shown && (
        <>
          <span
            aria-hidden="true"
            className={`size-2 shrink-0 rounded-full ${status === "offline" || session === "refused" ? "bg-muted-foreground" : "animate-pulse bg-amber-500"}`}
          />
          {problem?.message ?? messageFor(status, refusal)}
          {problem?.remedy === "start-over" && <StartOverButton />}
          {problem?.remedy === "sign-in" && (
            <SignInButton className="link-button shrink-0 font-medium" label="Sign in again" />
          )}
          {refusal !== null && problem === null && (
            <button className="link-button" onClick={() => parley.reconnect()} type="button">
              Connect again
            </button>
          )}
        </>
      )}
    </div>
  );
}

function messageFor(status: ConnectionState["status"], refusal: number | null): string {
  if (refusal === 4429) return "Too many pages are open.";
  if (refusal !== null) return "The server ended the connection.";
  if (status === "offline") return "You are offline. Messages are sent when you are back.";
  return status === "connecting" ? "Connecting…" : "Reconnecting…";
}
