import type { Invitation } from "parley-client";
import { useEffect, useState } from "react";
import { messageOf } from "../requests/errors";
import { useObservable, useParley } from "../session/context";

interface InvitationsProps {
  onOpen(chatId: string): void;
}

/** The user's pending invitations, above the list of chats. */
export function Invitations({ onOpen }: InvitationsProps) {
  const parley = useParley();
  const [problem, setProblem] = useState<string | null>(null);
  const userId = useObservable(parley.http.user);
  const items = useObservable(parley.invitations);

  useEffect(() => {
    if (userId === null) return;
    // The socket reports changes; server-sent events, where it does not last, do not.
    const refresh = () => void (document.hidden || parley.invitations.refresh());
    refresh();
    document.addEventListener("visibilitychange", refresh);
    return () => document.removeEventListener("visibilitychange", refresh);
  }, [parley, userId]);

  const answer = ({ chat_id }: Invitation, accepted: boolean) => {
    setProblem(null);
    const request = accepted ? parley.invitations.accept(chat_id) : parley.invitations.decline(chat_id);
    request.then(
      () => {
        if (!accepted) return;
        parley.chats.refresh().catch(() => undefined);
        onOpen(chat_id);
      },
      (error: unknown) => setProblem(messageOf(error)),
    );
  };

  if (items.length === 0) return null;
  return (
    <section aria-label="Invitations">
      <h2 className="px-3 pt-4 pb-1.5 font-medium text-muted-foreground text-xs">Invitations</h2>
      <ul className="space-y-1">
        {items.map((invitation) => (
          <li
            className="rounded-lg border bg-card px-3 py-2 text-sm"
            data-testid="invitation"
            key={invitation.chat_id}
          >
            <p className="break-words" dir="auto">
              <strong className="font-medium">{invitation.title || "Untitled chat"}</strong>
              <span className="block text-muted-foreground">{descriptionOf(invitation)}</span>
            </p>
            <div className="mt-1.5 flex gap-2">
              <button
                className="button py-1"
                data-testid="accept"
                onClick={() => answer(invitation, true)}
                type="button"
              >
                Accept
              </button>
              <button
                className="button py-1"
                data-testid="decline"
                onClick={() => answer(invitation, false)}
                type="button"
              >
                Decline
              </button>
            </div>
          </li>
        ))}
      </ul>
      {problem !== null && (
        <p className="px-3 py-2 text-destructive text-sm" role="alert">
          {problem}
        </p>
      )}
    </section>
  );
}

function descriptionOf({ invited_by, invited_by_name, role }: Invitation): string {
  return `${invited_by_name || invited_by} invites you to ${role === "reader" ? "read" : "write"}.`;
}
