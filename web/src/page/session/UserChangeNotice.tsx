import { useEffect, useRef, useState } from "react";
import { CloseIcon } from "../ui/icons";
import { useObservable, useParley } from "./context";

/** Shows that another tab signed in another user, whom this page now belongs to. */
export function UserChangeNotice() {
  const parley = useParley();
  const { id, guest } = useObservable(parley.user);
  const session = useObservable(parley.session);
  const before = useRef("");
  const [shown, setShown] = useState(false);

  useEffect(() => {
    // The last user of the browser is shown before the server has named the user of the session.
    if (session !== "good" || id === "") return;
    // A new guest asked for it.
    if (before.current !== "" && before.current !== id && !guest) setShown(true);
    before.current = id;
  }, [id, guest, session]);

  if (!shown) return null;
  const user = parley.http.session?.user;
  return (
    <div className="notice" data-testid="user-changed" role="status">
      <span>
        This browser is now signed in as {user?.name || user?.email || "another user"}. What the user before
        did not send is kept for them.
      </span>
      <button
        aria-label="Hide this notice"
        className="icon-button"
        onClick={() => setShown(false)}
        type="button"
      >
        <CloseIcon />
      </button>
    </div>
  );
}
