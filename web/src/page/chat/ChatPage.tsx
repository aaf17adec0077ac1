import type { ChatSnapshot, Draft, Message, Observable, WatchedChat } from "parley-client";
import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { Composer } from "../composer/Composer";
import { ModelPicker } from "../composer/ModelPicker";
import type { Route } from "../route";
import { ConnectionNotice } from "../session/ConnectionNotice";
import { useObservable, useParley } from "../session/context";
import { NO_SESSION, NoSessionPage } from "../session/NoSession";
import { restingPlace, useKeptFocus } from "../ui/focus";
import { MenuIcon } from "../ui/icons";
import { ReloadNotice } from "../ui/ReloadNotice";
import { ChatMemory, useStored } from "../ui/storage";
import { TitleEditor } from "../ui/TitleEditor";
import { Announcer } from "./Announcer";
import { entriesOf, isBelow, isRunning, runningAnswer, titleFrom } from "./entries";
import { usePrinting } from "./printing";
import { EmptyPage, LoadingPage, Suggestions, UnavailablePage } from "./statusPages";
import { Transcript } from "./Transcript";

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
  const session = useObservable(parley.session);
  const draft = parley.drafts.of(chatId);
  // Not useObservable: what is typed has to be there before the next key.
  const text = useSyncExternalStore(draft.subscribe, draft.getSnapshot);
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

  const send = (content: string, from: Draft) => {
    const target: WatchedChat = chat ?? parley.newChat({ title: titleFrom(content), model: newModel });
    // What is written after a message that is on its way to another version goes on there, where the tip will be.
    const branches = leaf !== null && leaf !== tip && snapshot?.outbox.length === 0;
    target.send(content, branches ? leaf : undefined, from);
    if (chat === null) onOpen(target.id);
  };

  /** Sends another message in the place of one. An answer to that one is of no use any more: it is stopped. */
  const edit = (content: string, edited: Message) => {
    if (chat === null || snapshot === null) return;
    const running = runningAnswer(snapshot.state);
    // Named by its id, so that it is this one that ends and not the one to come.
    if (running !== null && isBelow(snapshot.state, running, edited.id)) chat.stop().catch(() => undefined);
    chat.send(content, edited.parent_id);
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
        NO_SESSION[session] === undefined ? (
          <LoadingPage />
        ) : (
          <NoSessionPage />
        )
      ) : (
        <EmptyPage />
      )}
      {!gone && (
        <div
          className={`mx-auto w-full max-w-3xl px-3 md:px-6 ${empty ? "start-composer" : ""} pb-[max(0.75rem,env(safe-area-inset-bottom))]`}
        >
          <ReloadNotice />
          <ConnectionNotice onOpen={onOpen} />
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
            onChange={(written) => draft.write(written)}
            onSend={(content) => send(content, draft)}
            onStop={() => chat !== null && attempt(chat.stop())}
            running={running}
            text={text}
          />
          {empty && <Suggestions onChoose={(suggestion) => draft.write(suggestion)} />}
        </div>
      )}
      <Announcer chatId={chatId} entries={entries} />
    </main>
  );
}
