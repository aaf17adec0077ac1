import { useEffect, useMemo, useRef, useState } from "react";
import type { ChatSnapshot, Message, Observable, WatchedChat } from "../client";
import { Announcer } from "./Announcer";
import { Composer } from "./Composer";
import { ConnectionNotice } from "./ConnectionNotice";
import { MenuIcon } from "./icons";
import { restingPlace, useKeptFocus } from "./keptFocus";
import { ModelPicker } from "./ModelPicker";
import { useObservable, useParley } from "./parley";
import { EmptyPage, LoadingPage, Suggestions, UnavailablePage } from "./places";
import { usePrinting } from "./printing";
import { ReloadNotice } from "./Reload";
import type { Route } from "./route";
import { ChatMemory, useStored } from "./stored";
import { TitleEditor } from "./TitleEditor";
import { Transcript } from "./Transcript";
import { entriesOf, isRunning, titleFrom } from "./transcript";

interface ChatPageProps {
  readonly route: Route;
  /** Whether the list of chats is put away, so that it is opened from here. */
  readonly sidebarCollapsed: boolean;
  /** Whether the list of chats lies over this on a narrow screen. */
  readonly covered: boolean;
  onOpen(chatId: string | null): void;
  onMenu(): void;
}

/** What the reader chose to see, valid as long as the chat's newest turn is the same. */
interface BranchChoice {
  readonly chatId: string;
  readonly leaf: string;
  readonly tip: string | null;
}

const choices = new ChatMemory<BranchChoice>("local", "versions");

const NOTHING: Observable<null> = { subscribe: () => () => undefined, getSnapshot: () => null };

/** One chat: its messages, and where the next one is written. */
export function ChatPage({ route, sidebarCollapsed, covered, onOpen, onMenu }: ChatPageProps) {
  const parley = useParley();
  // A chat that starts with its first message has no id yet.
  const { chatId } = route;
  const chat = useMemo(() => (chatId === null ? null : parley.watch(chatId)), [parley, chatId]);
  const snapshot = useObservable<ChatSnapshot | null>(chat ?? NOTHING);
  const [drafts, setDrafts] = useState<Readonly<Record<string, string>>>({});
  const [newModel, setNewModel] = useStored<string | null>("new-chat-model", null);
  const [chosen, setChosen] = useState<BranchChoice | null>(null);
  const [renaming, setRenaming] = useState(false);
  const [notice, setNotice] = useState<string | null>(null);

  const tip = snapshot?.state.chat?.tip_id ?? null;
  const remembered = useMemo(() => (chatId === null ? null : choices.get(chatId)), [chatId]);
  const choice = chosen?.chatId === chatId ? chosen : remembered;
  const leaf = choice !== null && choice.tip === tip ? choice.leaf : null;
  const entries = useMemo(() => (snapshot === null ? [] : entriesOf(snapshot, leaf)), [snapshot, leaf]);
  const running = snapshot !== null && isRunning(snapshot);
  const title = snapshot?.state.chat?.title ?? null;
  const gone = snapshot?.phase === "unavailable" || snapshot?.state.deleted === true;
  const empty = !gone && entries.length === 0 && snapshot?.phase !== "loading";
  const draftKey = chatId ?? "";
  const setDraft = (text: string) => setDrafts((all) => ({ ...all, [draftKey]: text }));

  useEffect(() => {
    document.title = title === null ? "Parley" : `${title} · Parley`;
  }, [title]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a notice belongs to the chat that it came up in
  useEffect(() => {
    setNotice(null);
    setRenaming(false);
  }, [chatId]);

  /** Does something that the server can refuse, and says why it did. */
  const attempt = (action: Promise<void>) => {
    setNotice(null);
    action.catch((error: unknown) => setNotice(error instanceof Error ? error.message : String(error)));
  };

  const main = useRef<HTMLElement>(null);
  useKeptFocus(main, restingPlace);
  usePrinting(chat, attempt);

  const choose = (id: string) => {
    if (chatId === null) return;
    const choice = { chatId, leaf: id, tip };
    setChosen(choice);
    choices.set(chatId, choice);
  };

  const send = (content: string, parentId?: string | null) => {
    const target: WatchedChat = chat ?? parley.newChat({ title: titleFrom(content), model: newModel });
    target.send(
      content,
      parentId ?? (parentId === undefined && leaf !== null && leaf !== tip ? leaf : parentId),
    );
    setDraft("");
    if (chat === null) onOpen(target.id);
  };

  /** Sends another message in the place of one. An answer to that one is of no use any more: it is stopped first. */
  const edit = (content: string, edited: Message) => {
    const answering = snapshot?.state.generation?.message_id;
    const answer = snapshot?.state.messages.find(({ id }) => id === answering);
    if (chat === null || answer?.parent_id !== edited.id) {
      send(content, edited.parent_id);
      return;
    }
    chat
      .stop()
      .catch(() => undefined)
      .finally(() => send(content, edited.parent_id));
  };

  return (
    <main className="relative flex min-w-0 flex-1 flex-col" inert={covered} ref={main}>
      <header className="flex h-14 shrink-0 items-center gap-2 border-b px-3 md:border-transparent md:px-4">
        <button
          aria-label="Open the list of chats"
          data-testid="open-list"
          className={`icon-button ${sidebarCollapsed ? "" : "md:hidden"}`}
          onClick={onMenu}
          type="button"
        >
          <MenuIcon className="size-5" />
        </button>
        {chat !== null && renaming ? (
          <TitleEditor
            onEnd={() => setRenaming(false)}
            onSave={(wanted) => attempt(parley.chats.rename(chat.id, wanted))}
            title={title ?? ""}
          />
        ) : (
          <h1 className="min-w-0 flex-1 font-medium text-sm" dir="auto">
            {title !== null && !gone ? (
              <button
                className="chat-title"
                data-testid="title"
                onClick={() => setRenaming(true)}
                title={`${title}\n\nClick to rename`}
                type="button"
              >
                {title}
              </button>
            ) : chatId === null ? (
              "New chat"
            ) : (
              ""
            )}
          </h1>
        )}
        <ModelPicker
          model={snapshot === null ? newModel : (snapshot.state.chat?.model ?? null)}
          onChange={(model) => (chat === null ? setNewModel(model) : attempt(chat.setModel(model)))}
        />
      </header>
      {gone ? (
        <UnavailablePage deleted={snapshot?.state.deleted === true} onNewChat={() => onOpen(null)} />
      ) : entries.length > 0 && chat !== null ? (
        <Transcript
          chat={chat}
          entries={entries}
          key={chat.id}
          loadingOlder={snapshot?.loadingOlder === true}
          more={snapshot !== null && snapshot.state.next !== null}
          onAttempt={attempt}
          onChoose={choose}
          onEdit={edit}
          route={route}
          running={running}
          state={snapshot?.state ?? null}
        />
      ) : snapshot?.phase === "loading" ? (
        <LoadingPage />
      ) : (
        <EmptyPage />
      )}
      {!gone && (
        <div
          className={`mx-auto w-full max-w-3xl px-3 md:px-6 ${empty ? "start-composer" : ""} pb-[max(0.75rem,env(safe-area-inset-bottom))]`}
        >
          <ReloadNotice />
          <ConnectionNotice />
          {notice !== null && (
            <p
              className="mb-2 rounded-md bg-destructive-soft px-3 py-2 text-destructive text-sm"
              data-testid="notice"
              role="alert"
            >
              {notice}
            </p>
          )}
          <Composer
            chatId={chatId}
            onChange={setDraft}
            onSend={send}
            onStop={() => chat !== null && attempt(chat.stop())}
            running={running}
            text={drafts[draftKey] ?? ""}
          />
          {empty && <Suggestions onChoose={setDraft} />}
        </div>
      )}
      <Announcer chatId={chatId} entries={entries} />
    </main>
  );
}
