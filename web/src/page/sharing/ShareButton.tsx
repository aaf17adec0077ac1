import type { Chat } from "parley-client";
import { useState } from "react";
import { LazyModule, useLazyModule } from "../loading/lazy";
import { ShareIcon } from "../ui/icons";

const shareDialog = new LazyModule(() => import("./ShareDialog"));

interface ShareButtonProps {
  readonly chat: Chat;
  /** A message of the branch that is shown, where that is not the one that the chat continues from. */
  readonly branch: string | null;
  /** Called when the user has left the chat. */
  onLeft(): void;
}

/** Opens the dialogue with the members and links of a chat. */
export function ShareButton({ chat, branch, onLeft }: ShareButtonProps) {
  const [open, setOpen] = useState(false);
  const dialog = useLazyModule(shareDialog, open, () => setOpen(false));
  return (
    <>
      <button
        aria-haspopup="dialog"
        aria-label="Share this chat"
        className="icon-button"
        data-testid="open-share"
        onClick={() => setOpen(true)}
        title="Share"
        type="button"
      >
        <ShareIcon className="size-4.5" />
      </button>
      {open && dialog !== null && (
        <dialog.ShareDialog
          branch={branch}
          chat={chat}
          onClose={() => setOpen(false)}
          onLeft={() => {
            setOpen(false);
            onLeft();
          }}
        />
      )}
    </>
  );
}
