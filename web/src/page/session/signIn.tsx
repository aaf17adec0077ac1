import type { SignIn } from "parley-client";
import { useConfig } from "./context";

type Provider = NonNullable<SignIn["oidc"]>;

interface SignInOptions {
  /** The identity provider; null when there is none, or while that is not known. */
  readonly provider: Provider | null;
  /** Whether a browser without a session becomes a guest. */
  readonly guests: boolean;
}

/** Returns how one signs in here. */
export function useSignIn(): SignInOptions {
  const auth = useConfig()?.auth;
  return { provider: auth?.oidc ?? null, guests: auth?.guest === true };
}

/** Returns the address that begins a sign-in and leads back to this page. */
function signInAddress(provider: Provider): string {
  const address = new URL(provider.login_url, document.baseURI);
  address.searchParams.set("return_to", location.pathname + location.hash);
  return address.href;
}

interface SignInButtonProps {
  readonly label?: string;
  readonly className?: string;
}

/** Leads to the identity provider; nothing when there is none. */
export function SignInButton({ label, className = "button" }: SignInButtonProps) {
  const { provider } = useSignIn();
  if (provider === null) return null;
  return (
    <a
      className={className}
      data-testid="sign-in"
      href={provider.login_url}
      onClick={(event) => {
        // The address to come back to is the one of the moment.
        event.currentTarget.href = signInAddress(provider);
      }}
    >
      {label ?? `Sign in with ${provider.name}`}
    </a>
  );
}
