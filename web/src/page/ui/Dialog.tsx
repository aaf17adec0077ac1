import { type ReactNode, useEffect, useId, useRef } from "react";
import { CloseIcon } from "./icons";

interface DialogProps {
  readonly title: string;
  readonly testid: string;
  readonly children: ReactNode;
  onClose(): void;
}

/** A modal dialogue with a title and a button that closes it; Escape closes it too. */
export function Dialog({ title, testid, children, onClose }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();

  useEffect(() => {
    dialog.current?.showModal();
  }, []);

  return (
    <dialog aria-labelledby={id} className="dialog" data-testid={testid} onClose={onClose} ref={dialog}>
      <div className="flex items-center justify-between gap-3 border-b py-2 pr-2 pl-5">
        <h2 className="min-w-0 truncate font-semibold" dir="auto" id={id}>
          {title}
        </h2>
        <button
          aria-label="Close"
          className="icon-button"
          onClick={() => dialog.current?.close()}
          type="button"
        >
          <CloseIcon className="size-5" />
        </button>
      </div>
      {children}
    </dialog>
  );
}
