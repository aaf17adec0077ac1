import { type MouseEvent, useState } from "react";
import type { Chat } from "../client";
import { DeleteDialog } from "./DeleteDialog";
import { CloseIcon, PlusIcon, TrashIcon } from "./icons";
import { useObservable, useParley } from "./parley";
import { pathOf } from "./route";

interface SidebarProps {
  readonly chatId: string | null;
  /** Whether it covers the page on a narrow screen; a wide one always shows it. */
  readonly open: boolean;
  onChoose(chatId: string | null): void;
  onClose(): void;
}

export function Sidebar({ chatId, open, onChoose, onClose }: SidebarProps) {
  const parley = useParley();
  const { items, next, loaded } = useObservable(parley.chats);
  const [deleting, setDeleting] = useState<Chat | null>(null);
  const [problem, setProblem] = useState<string | null>(null);

  const attempt = (action: Promise<void>) => {
    setProblem(null);
    action.catch((error: unknown) => setProblem(error instanceof Error ? error.message : String(error)));
  };

  const confirmDelete = (chat: Chat) => {
    setDeleting(null);
    if (chat.id === chatId) onChoose(null);
    attempt(parley.deleteChat(chat.id));
  };

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
        className={`fixed inset-y-0 left-0 z-30 flex w-72 shrink-0 flex-col border-r bg-sidebar transition-transform duration-200 md:visible md:static md:w-64 md:translate-x-0 lg:w-72 ${open ? "" : "invisible -translate-x-full"}`}
      >
        <div className="flex h-14 items-center justify-between pr-2 pl-4">
          <span className="flex items-center gap-2 font-semibold tracking-tight">
            <img alt="" className="size-6" height="24" src="/icon.svg" width="24" />
            Parley
          </span>
          <button
            aria-label="Close the list of chats"
            className="icon-button md:hidden"
            onClick={onClose}
            type="button"
          >
            <CloseIcon />
          </button>
        </div>
        <div className="px-3 pb-3">
          <a
            className="button w-full justify-start"
            data-testid="new-chat"
            href={pathOf(null)}
            onClick={(event) => follow(event, () => onChoose(null))}
          >
            <PlusIcon /> New chat
          </a>
        </div>
        <ul className="flex-1 space-y-0.5 overflow-y-auto px-2 pb-4">
          {items.map((chat) => (
            <ChatItem
              chat={chat}
              current={chat.id === chatId}
              key={chat.id}
              onChoose={onChoose}
              onDelete={setDeleting}
            />
          ))}
          {next !== null && (
            <li>
              <button
                className="w-full rounded-md px-3 py-2 text-left text-muted-foreground text-sm hover:bg-accent"
                onClick={() => attempt(parley.chats.loadMore())}
                type="button"
              >
                Show more
              </button>
            </li>
          )}
          {loaded && items.length === 0 && (
            <li className="px-3 py-2 text-muted-foreground text-sm">Your chats will be listed here.</li>
          )}
        </ul>
        {problem !== null && (
          <p className="border-t px-4 py-3 text-destructive text-sm" role="alert">
            {problem}
          </p>
        )}
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
  readonly chat: Chat;
  readonly current: boolean;
  onChoose(chatId: string): void;
  onDelete(chat: Chat): void;
}

function ChatItem({ chat, current, onChoose, onDelete }: ChatItemProps) {
  return (
    <li
      className={`group flex items-center rounded-md hover:bg-accent ${current ? "bg-accent" : ""}`}
      data-chat-id={chat.id}
      data-testid="chat-item"
    >
      <a
        aria-current={current ? "page" : undefined}
        className="flex min-w-0 flex-1 items-center gap-2 rounded-md px-3 py-2 text-sm"
        href={pathOf(chat.id)}
        onClick={(event) => follow(event, () => onChoose(chat.id))}
      >
        <span className="truncate">{titleOf(chat)}</span>
        {chat.running && (
          <span className="size-1.5 shrink-0 animate-pulse rounded-full bg-primary">
            <span className="sr-only">, answering</span>
          </span>
        )}
      </a>
      <button
        aria-label={`Delete “${titleOf(chat)}”`}
        className="icon-button mr-1 size-7 focus-visible:opacity-100 group-focus-within:opacity-100 group-hover:opacity-100 md:opacity-0"
        onClick={() => onDelete(chat)}
        type="button"
      >
        <TrashIcon />
      </button>
    </li>
  );
}

function titleOf(chat: Chat): string {
  return chat.title || "Untitled chat";
}

/** Goes there within the page; a new tab or window is the browser's affair. */
function follow(event: MouseEvent, go: () => void): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go();
}
