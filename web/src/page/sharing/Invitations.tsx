import { type Invitation, Sharing } from "parley-client";
import { useEffect, useMemo, useState } from "react";
import { useObservable, useParley } from "../session/context";
import { messageOf } from "../ui/errors";

interface InvitationsProps {
  onOpen(chatId: string): void;
}

/** The user's pending invitations, above the list of chats. */
export function Invitations({ onOpen }: InvitationsProps) {
  const parley = useParley();
  const sharing = useMemo(() => new Sharing(parley.http), [parley]);
  const [items, setItems] = useState<readonly Invitation[]>([]);
  const [problem, setProblem] = useState<string | null>(null);
  // Guests are not invited: they come and go with a browser.
  const { guest } = useObservable(parley.user);
  const userId = useObservable(parley.http.user);
  // An invitation comes with a frame about the list of chats.
  const { items: chats } = useObservable(parley.chats);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a change of the list loads them again
  useEffect(() => {
    if (userId === null || guest) return;
    let current = true;
    const load = () =>
      sharing.invitations().then(
        (loaded) => current && setItems(loaded),
        () => undefined,
      );
    const refresh = () => !document.hidden && load();
    load();
    document.addEventListener("visibilitychange", refresh);
    return () => {
      current = false;
      document.removeEventListener("visibilitychange", refresh);
    };
  }, [sharing, userId, chats.length, guest]);

  const answer = (invitation: Invitation, accepted: boolean) => {
    const { chat_id } = invitation;
    setProblem(null);
    const request = accepted ? sharing.accept(chat_id) : sharing.decline(chat_id);
    request.then(
      () => {
        setItems((before) => before.filter((other) => other.chat_id !== chat_id));
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
