import type { Me } from "parley-client";
import { useState } from "react";
import { messageOf } from "../requests/errors";
import { Problem } from "../requests/Problem";
import type { Loaded } from "../requests/useLoaded";
import { useParley } from "../session/context";
import { SignInButton, useSignIn } from "../session/signIn";
import { CopyButton } from "../ui/CopyButton";

/** Who the user is, and signing in and out. */
export function Profile({ me }: { readonly me: Loaded<Me> }) {
  const { provider } = useSignIn();
  const { value } = me;
  return (
    <>
      <Problem text={me.problem} />
      {value !== null && (
        <>
          <dl className="facts">
            {value.name !== null && <Fact name="Name" value={value.name} />}
            {value.email !== null && <Fact name="E-mail" value={value.email} />}
            {value.role === "administrator" && <Fact name="Role" value="Administrator" />}
            <dt>User id</dt>
            <dd className="flex items-center gap-1">
              <code className="min-w-0 break-all" data-testid="user-id">
                {value.user_id}
              </code>
              <CopyButton label="Copy the user id" text={value.user_id} />
            </dd>
          </dl>
          <p className="mt-2 text-muted-foreground text-sm">Others invite you to their chats by this id.</p>
          {value.guest && (
            <p className="mt-4 text-sm" data-testid="guest">
              You are a guest: your chats are reachable from this browser only.
              {provider !== null && " Sign in to reach them from everywhere; they stay yours."}
            </p>
          )}
          <div className="mt-5 flex flex-wrap gap-2">
            {value.guest ? <SignInButton /> : <SignOutButtons />}
          </div>
        </>
      )}
    </>
  );
}

function Fact({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <>
      <dt>{name}</dt>
      <dd className="break-words" dir="auto">
        {value}
      </dd>
    </>
  );
}

function SignOutButtons() {
  const parley = useParley();
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const signOut = (everywhere: boolean) => {
    setBusy(true);
    setProblem(null);
    parley.signOut({ everywhere }).then(
      (address) => location.assign(address ?? document.baseURI),
      (error: unknown) => {
        setBusy(false);
        setProblem(messageOf(error));
      },
    );
  };
  return (
    <>
      <button
        className="button"
        data-testid="sign-out"
        disabled={busy}
        onClick={() => signOut(false)}
        type="button"
      >
        Sign out
      </button>
      <button
        className="button"
        data-testid="sign-out-everywhere"
        disabled={busy}
        onClick={() => signOut(true)}
        type="button"
      >
        Sign out everywhere
      </button>
      <Problem text={problem} />
    </>
  );
}
