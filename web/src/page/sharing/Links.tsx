import type { CreatedShareLink, Sharing } from "parley-client";
import { useState } from "react";
import { Problem } from "../requests/Problem";
import { useLoaded } from "../requests/useLoaded";
import { sharedAddressOf } from "../route";
import { CopyButton } from "../ui/CopyButton";
import { timeAgo } from "../ui/time";

interface LinksProps {
  readonly chatId: string;
  /** A message of the branch that is shown, where that is not the one that the chat continues from. */
  readonly branch: string | null;
  readonly sharing: Sharing;
}

/** The read-only links to a chat: created, shown once, listed and revoked. */
export function Links({ chatId, branch, sharing }: LinksProps) {
  const links = useLoaded(chatId, () => sharing.links(chatId));
  const [live, setLive] = useState(false);
  const [shown, setShown] = useState(branch !== null);
  const [created, setCreated] = useState<CreatedShareLink | null>(null);
  const create = async () =>
    setCreated(await links.run(() => sharing.createLink(chatId, live, shown ? branch : null)));
  return (
    <>
      <p className="text-muted-foreground text-sm">
        Whoever has a link can read this chat, and nothing else, until the link is revoked.
      </p>
      <label className="check mt-2">
        <input
          checked={live}
          data-testid="link-live"
          onChange={(event) => setLive(event.target.checked)}
          type="checkbox"
        />
        Also show messages that are written later
      </label>
      {branch !== null && (
        <label className="check mt-2">
          <input
            checked={shown}
            data-testid="link-branch"
            onChange={(event) => setShown(event.target.checked)}
            type="checkbox"
          />
          Show the versions of messages that you see now, not the newest ones
        </label>
      )}
      <button
        className="button mt-2"
        data-testid="create-link"
        disabled={links.busy}
        onClick={create}
        type="button"
      >
        Create a link
      </button>
      <Problem text={links.problem} />
      {created !== null && <CreatedLink created={created} />}
      <ul aria-label="Links" className="rows">
        {links.value?.map(({ id, live, tip_id, created_at }) => (
          <li className="row" data-testid="link" key={id}>
            <p className="min-w-0 flex-1">
              {live ? "With later messages" : "Without later messages"}
              {live && tip_id !== null && ", one branch"}
              <span className="block text-muted-foreground text-sm">Created {timeAgo(created_at)}</span>
            </p>
            <button
              aria-label={`Revoke the link created ${timeAgo(created_at)}`}
              className="button text-destructive"
              disabled={links.busy}
              onClick={() => {
                if (created?.id === id) setCreated(null);
                return links.run(() => sharing.revokeLink(chatId, id));
              }}
              type="button"
            >
              Revoke
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

function CreatedLink({ created }: { readonly created: CreatedShareLink }) {
  const address = sharedAddressOf(created.token);
  return (
    <div className="my-3 flex items-center gap-1 rounded-lg border border-ring p-3" role="status">
      <a
        className="link-button min-w-0 flex-1 justify-start break-all text-sm"
        data-testid="link-address"
        href={address}
      >
        {address}
      </a>
      <CopyButton label="Copy the link" text={address} />
    </div>
  );
}
