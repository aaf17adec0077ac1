import type { Account, Me } from "parley-client";
import { type FormEvent, useState } from "react";
import { messageOf } from "../requests/errors";
import { Problem } from "../requests/Problem";
import type { Loaded } from "../requests/useLoaded";
import { useParley } from "../session/context";

/** What a person types to confirm the erasure. */
const CONFIRMATION = "erase";

interface YourDataProps {
  readonly account: Account;
  readonly me: Loaded<Me>;
}

/** Export of everything that is stored of the user, and its erasure. */
export function YourData({ account, me }: YourDataProps) {
  return (
    <>
      <h3 className="font-medium">Export</h3>
      <p className="mt-1 text-muted-foreground text-sm">
        Your profile, chats, messages and usage, as one JSON file.
      </p>
      <a className="button mt-3" data-testid="export" download href={account.exportAddress}>
        Download
      </a>
      <hr className="my-5" />
      <Erase account={account} me={me} />
    </>
  );
}

function Erase({ account, me }: YourDataProps) {
  const parley = useParley();
  const [typed, setTyped] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  const erase = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await account.erase();
      await parley.forgetUser();
      location.assign(document.baseURI);
    } catch (error) {
      setBusy(false);
      setProblem(messageOf(error));
    }
  };

  return (
    <form onSubmit={erase}>
      <h3 className="font-medium text-destructive">Erase</h3>
      <p className="mt-1 text-muted-foreground text-sm">
        Deletes {me.value?.guest === false ? "your account" : "you as a guest"}, your chats with all their
        messages, also for those with whom you share them, your keys and your sessions. This cannot be undone.
      </p>
      <label className="field mt-3">
        <span>
          Type <strong>{CONFIRMATION}</strong> to confirm
        </span>
        <input
          autoComplete="off"
          className="input"
          data-testid="erase-confirmation"
          onChange={(event) => setTyped(event.target.value)}
          spellCheck={false}
          value={typed}
        />
      </label>
      <Problem text={problem} />
      <button
        className="button mt-3 border-transparent bg-destructive text-white hover:bg-destructive/90 dark:text-background"
        data-testid="erase"
        disabled={busy || typed.trim().toLowerCase() !== CONFIRMATION}
        type="submit"
      >
        Erase everything
      </button>
    </form>
  );
}
