import type { ChatSummary } from "parley-client";
import { type MouseEvent, useEffect, useRef, useState } from "react";
import { messageOf } from "../requests/errors";
import { pathOf } from "../route";
import { AccountButton } from "../session/AccountButton";
import { useObservable, useParley } from "../session/context";
import { StartOverButton, useSessionProblem } from "../session/NoSession";
import { Invitations } from "../sharing/Invitations";
import { CloseIcon, EditIcon, PanelIcon, PlusIcon, SearchIcon, TrashIcon } from "../ui/icons";
import { Menu, MenuItem } from "../ui/Menu";
import { TitleEditor } from "../ui/TitleEditor";
import { DeleteDialog } from "./DeleteDialog";

const SHORTCUT = /Mac|iP(hone|ad|od)/.test(navigator.userAgent) ? "⌘K" : "Ctrl K";

interface SidebarProps {
  readonly chatId: string | null;
  /** Whether it covers the page on a narrow screen. */
  readonly open: boolean;
  /** Whether it is hidden on a wide screen. */
  readonly collapsed: boolean;
  onChoose(chatId: string | null): void;
  onClose(): void;
  onCollapse(): void;
  onSearch(): void;
}

export function Sidebar({ chatId, open, collapsed, onChoose, onClose, onCollapse, onSearch }: SidebarProps) {
  const parley = useParley();
  const { items, next, loaded } = useObservable(parley.chats);
  const noSession = useSessionProblem();
  const [deleting, setDeleting] = useState<ChatSummary | null>(null);
  const [problem, setProblem] = useState<string | null>(null);

  const runAction = (action: Promise<void>) => {
    setProblem(null);
    action.catch((error: unknown) => setProblem(messageOf(error)));
  };

  const confirmDelete = (chat: ChatSummary) => {
    setDeleting(null);
    if (chat.id === chatId) onChoose(null);
    runAction(parley.deleteChat(chat.id));
  };

  const closeButton = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (open) closeButton.current?.focus();
  }, [open]);

  return (
    <>
      <button
        aria-label="Close the list of chats"
        className={`fixed inset-0 z-20 bg-black/40 md:hidden ${open ? "" : "hidden"}`}
        onClick={onClose}
        tabIndex={-1}
        type="button"
      />
      <nav
        aria-label="Chats"
        className={`fixed inset-y-0 left-0 z-30 flex w-72 shrink-0 flex-col border-r bg-sidebar transition-transform duration-200 lg:w-72 ${collapsed ? "md:hidden" : "md:visible md:static md:w-64 md:translate-x-0"} ${open ? "" : "invisible -translate-x-full"}`}
      >
        <div className="flex h-14 items-center justify-between pr-2 pl-4">
          <span className="flex items-center gap-2 font-semibold tracking-tight">
            <img alt="" className="size-6" height="24" src="icon.svg" width="24" />
            Parley
          </span>
          <button
            aria-label="Close the list of chats"
            className="icon-button md:hidden"
            onClick={onClose}
            ref={closeButton}
            type="button"
          >
            <CloseIcon className="size-5" />
          </button>
          <button
            aria-label="Hide the list of chats"
            className="icon-button hidden md:inline-flex"
            onClick={onCollapse}
            title="Hide the list of chats"
            type="button"
          >
            <PanelIcon className="size-5" />
          </button>
        </div>
        <div className="px-2 pb-2">
          <a
            className="sidebar-row gap-2.5 font-medium"
            data-testid="new-chat"
            href={pathOf(null)}
            onClick={(event) => follow(event, () => onChoose(null))}
          >
            <PlusIcon className="size-4.5" /> New chat
          </a>
          <button
            aria-keyshortcuts="Control+K Meta+K"
            className="sidebar-row gap-2.5 font-medium"
            data-testid="open-search"
            onClick={onSearch}
            type="button"
          >
            <SearchIcon className="size-4.5" /> Search
            <kbd className="ml-auto pointer-coarse:hidden font-normal font-sans text-muted-foreground text-xs">
              {SHORTCUT}
            </kbd>
          </button>
        </div>
        <div className="min-h-0 flex-1 overflow-y-auto px-2 pb-4">
          <Invitations onOpen={onChoose} />
          {groupsOf(items, new Date()).map(({ name, chats }) => (
            <section aria-label={name} key={name}>
              <h2 className="px-3 pt-4 pb-1.5 font-medium text-muted-foreground text-xs">{name}</h2>
              <ul className="space-y-0.5">
                {chats.map((chat) => (
                  <ChatItem
                    chat={chat}
                    current={chat.id === chatId}
                    key={chat.id}
                    onChoose={onChoose}
                    onDelete={setDeleting}
                    onRename={(title) => runAction(parley.chats.rename(chat.id, title))}
                  />
                ))}
              </ul>
            </section>
          ))}
          {next !== null && (
            <button
              className="sidebar-row mt-1 text-muted-foreground"
              onClick={() => runAction(parley.chats.loadMore())}
              type="button"
            >
              Show more
            </button>
          )}
          {noSession !== null && noSession.remedy !== "sign-in" && (
            <p className="px-3 py-2 text-muted-foreground text-sm" data-testid="sidebar-problem">
              {noSession.message} {noSession.remedy === "start-over" && <StartOverButton />}
            </p>
          )}
          {loaded && items.length === 0 && noSession === null && (
            <p className="px-3 py-2 text-muted-foreground text-sm">Your chats will be listed here.</p>
          )}
        </div>
        {problem !== null && (
          <p className="border-t px-4 py-3 text-destructive text-sm" role="alert">
            {problem}
          </p>
        )}
        <AccountButton />
      </nav>
      {deleting !== null && (
        <DeleteDialog
          onCancel={() => setDeleting(null)}
          onConfirm={() => confirmDelete(deleting)}
          title={titleOf(deleting)}
        />
      )}
    </>
  );
}

interface ChatItemProps {
  readonly chat: ChatSummary;
  readonly current: boolean;
  onChoose(chatId: string): void;
  onDelete(chat: ChatSummary): void;
  onRename(title: string): void;
}

function ChatItem({ chat, current, onChoose, onDelete, onRename }: ChatItemProps) {
  const [renaming, setRenaming] = useState(false);
  const link = useRef<HTMLAnchorElement>(null);
  const wasRenaming = useRef(false);

  useEffect(() => {
    if (wasRenaming.current && !renaming && document.activeElement === document.body) link.current?.focus();
    wasRenaming.current = renaming;
  }, [renaming]);

  if (renaming) {
    return (
      <li className="chat-item" data-chat-id={chat.id} data-current={current} data-testid="chat-item">
        <TitleEditor onEnd={() => setRenaming(false)} onSave={onRename} title={chat.title ?? ""} />
      </li>
    );
  }
  return (
    <li className="chat-item" data-chat-id={chat.id} data-current={current} data-testid="chat-item">
      <a
        aria-current={current ? "page" : undefined}
        className="sidebar-row gap-2 pr-9"
        dir="auto"
        href={pathOf(chat.id)}
        onClick={(event) => follow(event, () => onChoose(chat.id))}
        ref={link}
        title={titleOf(chat)}
      >
        <span className="truncate">{titleOf(chat)}</span>
        {chat.running && (
          <span className="size-1.5 shrink-0 animate-pulse rounded-full bg-primary">
            <span className="sr-only">, answering</span>
          </span>
        )}
      </a>
      <Menu label={`Actions for “${titleOf(chat)}”`}>
        <MenuItem icon={<EditIcon />} onChoose={() => setRenaming(true)}>
          Rename
        </MenuItem>
        <MenuItem danger icon={<TrashIcon />} onChoose={() => onDelete(chat)}>
          Delete
        </MenuItem>
      </Menu>
    </li>
  );
}

interface Group {
  readonly name: string;
  readonly chats: readonly ChatSummary[];
}

const DAY = 24 * 60 * 60 * 1000;

/** Groups chats, newest first, by the day of their last update. */
export function groupsOf(chats: readonly ChatSummary[], now: Date): Group[] {
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const names: [name: string, since: number][] = [
    ["Today", today],
    ["Yesterday", today - DAY],
    ["Previous 7 days", today - 7 * DAY],
    ["Previous 30 days", today - 30 * DAY],
    ["Older", Number.NEGATIVE_INFINITY],
  ];
  const groups = new Map<string, ChatSummary[]>();
  for (const chat of chats) {
    const [name] = names.find(([, since]) => Date.parse(chat.updated_at) >= since) ?? ["Older"];
    groups.set(name, [...(groups.get(name) ?? []), chat]);
  }
  return [...groups].map(([name, members]) => ({ name, chats: members }));
}

function titleOf(chat: ChatSummary): string {
  return chat.title || "Untitled chat";
}

/** Navigates within the page; with a modifier key, the browser opens a new tab or window. */
function follow(event: MouseEvent, go: () => void): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go();
}
