import type { ConnectionState } from "parley-client";
import { useEffect, useState } from "react";
import { useObservable, useParley } from "./context";
import { SESSION_PROBLEMS, StartOverButton } from "./NoSession";

/** Milliseconds of disconnection before the notice is shown. */
const NOTICE_DELAY = 1_000;

interface ConnectionNoticeProps {
  onOpen(chatId: string | null): void;
}

/** Shows that the connection is lost, which the page retries by itself, or that there is no session. */
export function ConnectionNotice({ onOpen }: ConnectionNoticeProps) {
  const parley = useParley();
  const { status, transport, refusal } = useObservable(parley.connection);
  const session = useObservable(parley.session);
  const [late, setLate] = useState(false);
  const problem = SESSION_PROBLEMS[session];
  const online = status === "online" && problem === undefined;

  useEffect(() => {
    if (online) {
      setLate(false);
      return;
    }
    const timer = setTimeout(() => setLate(true), NOTICE_DELAY);
    return () => clearTimeout(timer);
  }, [online]);

  const shown = !online && (late || problem !== undefined);
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
          {problem ?? messageFor(status, refusal)}
          {session === "lost" && <StartOverButton onOpen={onOpen} />}
          {refusal !== null && problem === undefined && (
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
