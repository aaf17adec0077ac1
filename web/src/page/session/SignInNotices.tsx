import { type ReactNode, useEffect, useRef, useState } from "react";
import { CloseIcon } from "../ui/icons";
import { useObservable, useParley } from "./context";
import { useSignInProblem } from "./signInProblem";

/** What happened to the sign-in of this browser. */
export function SignInNotices() {
  return (
    <>
      <SignInProblemNotice />
      <UserChangeNotice />
    </>
  );
}

/** Shows that this page now belongs to another user: another tab signed in, or the session of a guest was lost. */
function UserChangeNotice() {
  const parley = useParley();
  const { id, guest } = useObservable(parley.user);
  const session = useObservable(parley.session);
  const before = useRef("");
  const [shown, setShown] = useState(false);

  useEffect(() => {
    // The last user of the browser is shown before the server has named the user of the session.
    if (session !== "good" || id === "") return;
    if (before.current !== "" && before.current !== id) setShown(true);
    before.current = id;
  }, [id, session]);

  if (!shown) return null;
  const user = parley.http.session?.user;
  return (
    <Notice onHide={() => setShown(false)} testid="user-changed">
      {guest
        ? "This browser has a new session, without the chats of the one before. What was not sent is the draft of a new chat."
        : `This browser is now signed in as ${user?.name || user?.email || "another user"}. What the user before did not send is kept for them.`}
    </Notice>
  );
}

/** Shows why a sign-in failed, where the page can be used without one. */
function SignInProblemNotice() {
  const problem = useSignInProblem();
  const [hidden, setHidden] = useState(false);
  if (problem === null || hidden) return null;
  return (
    <Notice onHide={() => setHidden(true)} testid="sign-in-problem">
      {problem}
    </Notice>
  );
}

interface NoticeProps {
  readonly testid: string;
  readonly children: ReactNode;
  onHide(): void;
}

function Notice({ testid, children, onHide }: NoticeProps) {
  return (
    <div className="notice" data-testid={testid} role="status">
      <span>{children}</span>
      <button aria-label="Hide this notice" className="icon-button" onClick={onHide} type="button">
        <CloseIcon />
      </button>
    </div>
  );
}
