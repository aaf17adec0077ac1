import type { ChatSnapshot, Draft, Message, Observable, WatchedChat } from "parley-client";
import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { Composer } from "../composer/Composer";
import { ModelPicker } from "../composer/ModelPicker";
import { ReloadNotice } from "../loading/ReloadNotice";
import { messageOf } from "../requests/errors";
import type { Route } from "../route";
import { ConnectionNotice } from "../session/ConnectionNotice";
import { useObservable, useParley } from "../session/context";
import { NoSessionPage, useSessionProblem } from "../session/NoSession";
import { SignInNotices } from "../session/SignInNotices";
import { Presence } from "../sharing/Presence";
import { ShareButton } from "../sharing/ShareButton";
import { useRole } from "../sharing/useRole";
import { defaultFocus, useFocusFallback } from "../ui/focus";
import { MenuIcon } from "../ui/icons";
import { ChatMemory, useStored } from "../ui/storage";
import { TitleEditor } from "../ui/TitleEditor";
import { Announcer } from "./Announcer";
import { entriesOf, isBelow, isRunning, runningAnswer, titleFrom } from "./entries";
import { usePrinting } from "./printing";
import { EmptyPage, LoadingPage, Suggestions, UnavailablePage } from "./statusPages";
import { Transcript } from "./Transcript";

interface ChatPageProps {
  readonly route: Route;
  /** Whether the list of chats is collapsed, so that this page has the button that opens it. */
  readonly sidebarCollapsed: boolean;
  /** Whether the list of chats covers this page on a narrow screen. */
  readonly covered: boolean;
  onOpen(chatId: string | null): void;
  onMenu(): void;
}

/** The branch that the reader chose, valid until the chat's newest turn changes. */
interface BranchChoice {
  readonly chatId: string;
  readonly leaf: string;
  readonly tip: string | null;
}

const choices = new ChatMemory<BranchChoice>("local", "versions");

const NOTHING: Observable<null> = { subscribe: () => () => undefined, getSnapshot: () => null };

/** One chat: its messages and the composer. */
export function ChatPage({ route, sidebarCollapsed, covered, onOpen, onMenu }: ChatPageProps) {
  const parley = useParley();
  // A new chat gets its id with its first message.
  const { chatId } = route;
  const chat = useMemo(() => (chatId === null ? null : parley.watch(chatId)), [parley, chatId]);
  const snapshot = useObservable<ChatSnapshot | null>(chat ?? NOTHING);
  const sessionProblem = useSessionProblem();
  const online = useObservable(parley.connection).status === "online";
  const draft = parley.drafts.of(chatId);
  // Not useObservable: a typed character has to be rendered before the next key.
  const text = useSyncExternalStore(draft.subscribe, draft.getSnapshot);
  const [newModel, setNewModel] = useStored<string | null>("new-chat-model", null);
  const [chosen, setChosen] = useState<BranchChoice | null>(null);
  const [renaming, setRenaming] = useState(false);
  const [notice, setNotice] = useState<string | null>(null);

  const tip = snapshot?.state.chat?.tip_id ?? null;
  const stored = useMemo(() => (chatId === null ? null : choices.get(chatId)), [chatId]);
  const choice = chosen?.chatId === chatId ? chosen : stored;
  const leaf = choice !== null && choice.tip === tip ? choice.leaf : null;
  const entries = useMemo(() => (snapshot === null ? [] : entriesOf(snapshot, leaf)), [snapshot, leaf]);
  const running = snapshot !== null && isRunning(snapshot);
  const title = snapshot?.state.chat?.title ?? null;
  const unavailable = snapshot?.phase === "unavailable" || snapshot?.state.deleted === true;
  const sharable = unavailable ? null : (snapshot?.state.chat ?? null);
  const readOnly = useRole(sharable) === "reader";
  const empty = !unavailable && entries.length === 0 && snapshot?.phase !== "loading";

  useEffect(() => {
    document.title = title === null ? "Parley" : `${title} · Parley`;
  }, [title]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a title is edited in one chat
  useEffect(() => setRenaming(false), [chatId]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a notice belongs to one chat and one connection
  useEffect(() => setNotice(null), [chatId, online]);

  /** Runs an action and shows its error. */
  const runAction = (action: Promise<void>) => {
    setNotice(null);
    action.catch((error: unknown) => setNotice(messageOf(error)));
  };

  const main = useRef<HTMLElement>(null);
  useFocusFallback(main, defaultFocus);
  usePrinting(chat, runAction);

  const choose = (id: string) => {
    if (chatId === null) return;
    const choice = { chatId, leaf: id, tip };
    setChosen(choice);
    choices.set(chatId, choice);
  };

  const send = (content: string, from: Draft) => {
    const target: WatchedChat = chat ?? parley.newChat({ title: titleFrom(content), model: newModel });
    // After an outgoing message on another branch, the next one continues at the tip, which will be on that branch.
    const branches = leaf !== null && leaf !== tip && snapshot?.outbox.length === 0;
    target.send(content, branches ? leaf : undefined, from);
    if (chat === null) onOpen(target.id);
  };

  /** Sends an edited message as another version, and stops the running answer to the one that it replaces. */
  const edit = (content: string, edited: Message) => {
    if (chat === null || snapshot === null) return;
    const running = runningAnswer(snapshot.state);
    // The request names the answer's id, so that it does not stop the next answer.
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
            onSave={(wanted) => runAction(parley.chats.rename(chat.id, wanted))}
            title={title ?? ""}
          />
        ) : (
          <h1 className="min-w-0 flex-1 font-medium text-sm" dir="auto">
            {title !== null && readOnly ? (
              <span data-testid="title">{title}</span>
            ) : title !== null && !unavailable ? (
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
        {sharable !== null && (
          <ShareButton
            branch={leaf === tip ? null : leaf}
            chat={sharable}
            key={sharable.id}
            onLeft={() => onOpen(null)}
          />
        )}
        <ModelPicker
          disabled={readOnly}
          model={snapshot === null ? newModel : (snapshot.state.chat?.model ?? null)}
          onChange={(model) => (chat === null ? setNewModel(model) : runAction(chat.setModel(model)))}
        />
      </header>
      {unavailable ? (
        <UnavailablePage deleted={snapshot?.state.deleted === true} onNewChat={() => onOpen(null)} />
      ) : entries.length > 0 && chat !== null ? (
        <Transcript
          chat={chat}
          entries={entries}
          key={chat.id}
          loadingOlder={snapshot?.loadingOlder === true}
          onAction={runAction}
          onChoose={choose}
          onEdit={edit}
          readOnly={readOnly}
          route={route}
          running={running}
          state={snapshot?.state ?? null}
        />
      ) : snapshot?.phase === "loading" ? (
        sessionProblem === null ? (
          <LoadingPage />
        ) : (
          <NoSessionPage />
        )
      ) : (
        <EmptyPage />
      )}
      {!unavailable && (
        <div
          className={`mx-auto w-full max-w-3xl px-3 md:px-6 ${empty ? "start-composer" : ""} pb-[max(0.75rem,env(safe-area-inset-bottom))]`}
        >
          <ReloadNotice />
          {snapshot !== null && snapshot.presence.length > 0 && (
            <Presence chatId={snapshot.state.chat_id} users={snapshot.presence} />
          )}
          <SignInNotices />
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
            disabledReason={readOnly ? "You can only read this chat." : null}
            onChange={(written) => {
              draft.write(written);
              chat?.typing();
            }}
            onSend={(content) => send(content, draft)}
            onStop={() => chat !== null && runAction(chat.stop())}
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
