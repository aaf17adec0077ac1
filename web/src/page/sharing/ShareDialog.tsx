import { type Chat, Sharing } from "parley-client";
import { useMemo } from "react";
import { useObservable, useParley } from "../session/context";
import { Dialog } from "../ui/Dialog";
import { Tabs } from "../ui/Tabs";
import { Links } from "./Links";
import { Members } from "./Members";

interface ShareDialogProps {
  readonly chat: Chat;
  /** A message of the branch that is shown, where that is not the one that the chat continues from. */
  readonly branch: string | null;
  /** Called when the user has left the chat. */
  onLeft(): void;
  onClose(): void;
}

/** Who else has access to a chat: members, and read-only links. */
export function ShareDialog({ chat, branch, onLeft, onClose }: ShareDialogProps) {
  const parley = useParley();
  const sharing = useMemo(() => new Sharing(parley.http), [parley]);
  const userId = useObservable(parley.http.user);
  const owner = chat.owner_id === userId;
  const members = <Members chat={chat} onLeft={onLeft} owner={owner} sharing={sharing} userId={userId} />;
  return (
    <Dialog onClose={onClose} testid="share" title={`Share “${chat.title || "Untitled chat"}”`}>
      {owner ? (
        <Tabs
          label="Share"
          tabs={[
            { id: "members", label: "Members", panel: members },
            {
              id: "links",
              label: "Links",
              panel: <Links branch={branch} chatId={chat.id} sharing={sharing} />,
            },
          ]}
        />
      ) : (
        <div className="min-h-0 flex-1 overflow-y-auto px-5 py-4">{members}</div>
      )}
    </Dialog>
  );
}
