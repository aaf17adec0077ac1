import { useEffect } from "react";
import { SignInButton } from "./signIn";
import { useSignInProblem } from "./signInProblem";

/** Shown in place of the page where one has to sign in. */
export function SignInPage({ ended }: { readonly ended: boolean }) {
  const problem = useSignInProblem();
  useEffect(() => {
    document.title = "Sign in · Parley";
  }, []);
  return (
    <main
      className="flex h-full flex-col items-center justify-center gap-4 px-6 text-center"
      data-testid="sign-in-page"
    >
      <img alt="" className="size-12" height="48" src="icon.svg" width="48" />
      <h1 className="font-semibold text-2xl tracking-tight">Sign in to Parley</h1>
      {problem !== null ? (
        <p className="max-w-md text-destructive" data-testid="sign-in-problem" role="alert">
          {problem}
        </p>
      ) : (
        <p className="max-w-md text-muted-foreground">
          {ended
            ? "Your session has ended. What you wrote and did not send is kept."
            : "Your chats are there once you have signed in."}
        </p>
      )}
      <SignInButton className="button border-transparent bg-primary text-primary-foreground hover:bg-primary/90" />
    </main>
  );
}
