import { ProblemError } from "parley-client";
import { whenFrom } from "../ui/time";

/** Returns the text of an error, for people; of a limit with the time after which it allows more. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const limited = error instanceof ProblemError && error.problem.status === 429 && error.retryAfter !== null;
  if (!limited) return error.message;
  const at = new Date(Date.now() + (error.retryAfter ?? 0) * 1000);
  return `${error.message} You can try again ${whenFrom(at.toISOString())}.`;
}
