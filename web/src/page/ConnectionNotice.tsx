import { useEffect, useState } from "react";
import type { ConnectionState } from "../client";
import { useObservable, useParley } from "./parley";

/** Milliseconds: a line that is back so soon is not worth a word. */
const PATIENCE = 1_000;

const LOST =
  "This browser's session is not valid here, so its chats cannot be shown. Try again later, or start over without them.";

/** Says how the line is when it is not there. Not an error: the page goes on by itself. */
export function ConnectionNotice() {
  const parley = useParley();
  const { status, transport, refusal } = useObservable(parley.connection);
  const [shown, setShown] = useState(false);
  const lost = useObservable(parley.session) === "lost";
  const online = status === "online" && !lost;

  useEffect(() => {
    if (online) {
      setShown(false);
      return;
    }
    const timer = setTimeout(() => setShown(true), PATIENCE);
    return () => clearTimeout(timer);
  }, [online]);

  return (
    <div
      className={
        shown ? "mb-2 flex items-center justify-center gap-2 py-1 text-muted-foreground text-sm" : "sr-only"
      }
      data-status={status}
      data-testid="connection"
      data-transport={transport}
      role="status"
    >
      {shown && !online && (
        <>
          <span
            aria-hidden="true"
            className={`size-2 rounded-full ${status === "offline" ? "bg-muted-foreground" : "animate-pulse bg-amber-500"}`}
          />
          {lost ? LOST : sentence(status, refusal)}
          {lost && (
            <button
              className="underline"
              onClick={() => parley.startOver().catch(() => undefined)}
              type="button"
            >
              Start over
            </button>
          )}
          {refusal !== null && !lost && (
            <button className="underline" onClick={() => parley.reconnect()} type="button">
              Connect again
            </button>
          )}
        </>
      )}
    </div>
  );
}

function sentence(status: ConnectionState["status"], refusal: number | null): string {
  if (refusal === 4429) return "Too many pages are open.";
  if (refusal !== null) return "The server ended the connection.";
  if (status === "offline") return "You are offline. Messages are sent when you are back.";
  return status === "connecting" ? "Connecting…" : "Reconnecting…";
}
