import { useObservable, useParley } from "./context";

/** What a person without a session is told. */
export interface SessionProblem {
  readonly message: string;
  /** `sign-in`: a user's session has ended. `start-over`: a guest's is lost. */
  readonly remedy: "sign-in" | "start-over" | null;
}

const ENDED: SessionProblem = {
  message: "Your session has ended. What you wrote is kept.",
  remedy: "sign-in",
};
const LOST: SessionProblem = {
  message:
    "This browser's session is not valid here, so its chats cannot be shown. Try again later, or start over without them.",
  remedy: "start-over",
};
const REFUSED: SessionProblem = {
  message: "This server does not allow guests, and this browser has no session. Ask its operator for access.",
  remedy: null,
};

/** Returns why there is no session; null when there is one, or while that is not known. */
export function useSessionProblem(): SessionProblem | null {
  const parley = useParley();
  const session = useObservable(parley.session);
  const { guest } = useObservable(parley.user);
  if (session === "refused") return REFUSED;
  if (session !== "lost") return null;
  return guest ? LOST : ENDED;
}

/** Starts a new guest's session; unsent messages become the draft of a new chat. */
export function StartOverButton() {
  const parley = useParley();
  const startOver = () => {
    // After an error the session stays lost, and its notice stays.
    parley.startOver().catch(() => undefined);
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
