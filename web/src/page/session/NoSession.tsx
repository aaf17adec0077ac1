import type { SessionState } from "parley-client";
import { useParley } from "./context";

/** What it means for a person that there is no session. */
export const NO_SESSION: Readonly<Partial<Record<SessionState, string>>> = {
  lost: "This browser's session is not valid here, so its chats cannot be shown. Try again later, or start over without them.",
  refused:
    "This server takes no guests, and this browser has no session here. Ask whoever runs it for access.",
};

interface StartOverButtonProps {
  onOpen(chatId: string | null): void;
}

/** Begins as a new guest; what was not sent is in the composer of a new chat then. */
export function StartOverButton({ onOpen }: StartOverButtonProps) {
  const parley = useParley();
  const startOver = () => {
    // What fails here leaves the session lost, and the notice that says so.
    parley.startOver().then(
      (anew) => anew && onOpen(null),
      () => undefined,
    );
  };
  return (
    <button className="link-button shrink-0" data-testid="start-over" onClick={startOver} type="button">
      Start over
    </button>
  );
}

/** In place of a chat that cannot be loaded without a session. */
export function NoSessionPage() {
  return (
    <div
      className="flex flex-1 items-center justify-center px-6 text-center"
      data-testid="no-session"
      role="status"
    >
      <p className="font-medium">This chat cannot be shown without a session.</p>
    </div>
  );
}
