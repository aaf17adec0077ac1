import { useEffect, useRef } from "react";

interface DeleteDialogProps {
  readonly title: string;
  onConfirm(): void;
  onCancel(): void;
}

/** Asks for confirmation before a chat is deleted, which cannot be undone. */
export function DeleteDialog({ title, onConfirm, onCancel }: DeleteDialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);

  useEffect(() => {
    dialog.current?.showModal();
  }, []);

  return (
    <dialog
      aria-labelledby="delete-title"
      className="m-auto w-[min(24rem,calc(100vw-2rem))] rounded-xl border bg-card p-5 text-foreground shadow-xl backdrop:bg-black/40"
      onClose={onCancel}
      ref={dialog}
    >
      <h2 className="font-semibold" id="delete-title">
        Delete this chat?
      </h2>
      <p className="mt-2 break-words text-muted-foreground text-sm">
        “{title}” and all of its messages are deleted.
      </p>
      <div className="mt-5 flex justify-end gap-2">
        <button className="button" onClick={onCancel} type="button">
          Cancel
        </button>
        <button
          className="button border-transparent bg-destructive text-white hover:bg-destructive/90 dark:text-background"
          data-testid="confirm-delete"
          onClick={onConfirm}
          type="button"
        >
          Delete
        </button>
      </div>
    </dialog>
  );
}
