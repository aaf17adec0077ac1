import { useState } from "react";

/** The query parameter with which the server leads back after a sign-in that failed. */
const PARAMETER = "sign_in_error";

const PROBLEMS: Readonly<Record<string, string>> = {
  disabled: "This account is disabled. Ask the operator of this server for access.",
  access_denied: "The sign-in was cancelled.",
  expired: "The sign-in took too long. Try again.",
  unavailable: "Signing in is not possible at the moment. Try again later.",
};
const UNKNOWN = "The sign-in failed. Try again.";

/** Returns the error of the sign-in that led here, for people; null when there was none. */
export function useSignInProblem(): string | null {
  const [problem] = useState(() => {
    const code = new URLSearchParams(location.search).get(PARAMETER);
    return code === null ? null : (PROBLEMS[code] ?? UNKNOWN);
  });
  return problem;
}
