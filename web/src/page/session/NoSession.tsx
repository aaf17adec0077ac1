import type { SessionState } from "parley-client";
import { useParley } from "./context";

/** Messages for a person without a session. */
export const SESSION_PROBLEMS: Readonly<Partial<Record<SessionState, string>>> = {
  lost: "This browser's session is not valid here, so its chats cannot be shown. Try again later, or start over without them.",
  refused: "This server does not allow guests, and this browser has no session. Ask its operator for access.",
};

interface StartOverButtonProps {
  onOpen(chatId: string | null): void;
}

/** Starts a new guest's session; unsent messages become the draft of a new chat. */
export function StartOverButton({ onOpen }: StartOverButtonProps) {
  const parley = useParley();
  const startOver = () => {
    // After an error the session stays lost, and its notice stays.
    parley.startOver().then(
      (newGuest) => newGuest && onOpen(null),
      () => undefined,
    );
  };
  return (
    <button className="link-button shrink-0" data-testid="start-over" onClick={startOver} type="button">
      Start over
    </button>
  );
}

/** Shown in place of a chat that cannot be loaded without a session. */
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
