import { useState } from "react";
import { LazyModule, useLazyModule } from "../loading/lazy";
import { UserIcon } from "../ui/icons";
import { useConfig, useObservable, useParley } from "./context";
import { SignInButton, useSignIn } from "./signIn";

const accountDialog = new LazyModule(() => import("../account/AccountDialog"));

/** The user, below the list of chats: opens the account, and for a guest "Sign in". */
export function AccountButton() {
  const parley = useParley();
  const { guest } = useObservable(parley.user);
  const session = useObservable(parley.session);
  const { provider } = useSignIn();
  // A server of the version before has no accounts.
  const known = useConfig()?.auth !== undefined;
  const [open, setOpen] = useState(false);
  const dialog = useLazyModule(accountDialog, open, () => setOpen(false));
  if (session !== "good" || !known) return null;
  const user = parley.http.session?.user;
  return (
    <div className="border-t p-2">
      {guest && provider !== null && (
        <SignInButton className="sidebar-row gap-2.5 font-medium" label="Sign in" />
      )}
      <button
        aria-haspopup="dialog"
        className="sidebar-row gap-2.5"
        data-testid="open-account"
        onClick={() => setOpen(true)}
        type="button"
      >
        <UserIcon className="size-4.5 shrink-0" />
        <span className="truncate" dir="auto">
          {guest ? "Guest" : user?.name || user?.email || "Account"}
        </span>
        <span className="sr-only">, account</span>
      </button>
      {open && dialog !== null && <dialog.AccountDialog onClose={() => setOpen(false)} />}
    </div>
  );
}
