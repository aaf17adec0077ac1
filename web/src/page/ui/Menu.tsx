import {
  createContext,
  type FocusEvent,
  type KeyboardEvent,
  type ReactNode,
  use,
  useEffect,
  useId,
  useRef,
  useState,
} from "react";
import { MoreIcon } from "./icons";

const CloseContext = createContext<() => void>(() => undefined);

interface MenuProps {
  /** The object of the actions, for screen readers. */
  readonly label: string;
  readonly children: ReactNode;
}

/** A menu button with the standard keys of a menu. */
export function Menu({ label, children }: MenuProps) {
  const [open, setOpen] = useState(false);
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (open) list.current?.querySelector<HTMLElement>("[role=menuitem]")?.focus();
  }, [open]);

  const close = () => {
    setOpen(false);
    button.current?.focus();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const items = [...(list.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
    const index = items.indexOf(document.activeElement as HTMLElement);
    const target = {
      ArrowDown: items[(index + 1) % items.length],
      ArrowUp: items.at(index <= 0 ? -1 : index - 1),
      Home: items[0],
      End: items.at(-1),
    }[event.key];
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    }
    if (target === undefined) return;
    event.preventDefault();
    target.focus();
  };

  const onBlur = (event: FocusEvent) => {
    if (!event.currentTarget.contains(event.relatedTarget)) setOpen(false);
  };

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the keys and the focus of what is within
    <div className="absolute top-0.5 right-1" onBlur={onBlur} onKeyDown={onKeyDown}>
      <button
        aria-controls={open ? id : undefined}
        aria-expanded={open}
        aria-haspopup="menu"
        aria-label={label}
        className="icon-button menu-button"
        onClick={() => setOpen(!open)}
        ref={button}
        type="button"
      >
        <MoreIcon />
      </button>
      {open && (
        <div className="menu" id={id} ref={list} role="menu">
          <CloseContext value={close}>{children}</CloseContext>
        </div>
      )}
    </div>
  );
}

interface MenuItemProps {
  readonly icon: ReactNode;
  readonly danger?: boolean;
  readonly children: ReactNode;
  onChoose(): void;
}

export function MenuItem({ icon, danger = false, children, onChoose }: MenuItemProps) {
  const close = use(CloseContext);
  return (
    <button
      className={`menu-item ${danger ? "text-destructive" : ""}`}
      onClick={() => {
        close();
        onChoose();
      }}
      role="menuitem"
      tabIndex={-1}
      type="button"
    >
      {icon}
      {children}
    </button>
  );
}
