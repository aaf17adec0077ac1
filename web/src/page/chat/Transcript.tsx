import { type ChatState, type Message, newestLeaf, type WatchedChat } from "parley-client";
import { type RefObject, useEffect, useLayoutEffect, useMemo, useRef } from "react";
import { clearMessageHash, type Route } from "../route";
import { DownIcon } from "../ui/icons";
import { useStableCallback } from "../ui/useStableCallback";
import { Answer } from "./Answer";
import { useAutoScroll, useScrollAnchor } from "./autoScroll";
import type { Entry } from "./entries";
import { Prompt } from "./Prompt";
import { scrollTargetOf, useSavedScrollPosition, useScrollTo } from "./scrollPosition";

interface TranscriptProps {
  readonly chat: WatchedChat;
  readonly state: ChatState | null;
  readonly entries: readonly Entry[];
  readonly running: boolean;
  /** Whether the user may only read the chat. */
  readonly readOnly: boolean;
  readonly loadingOlder: boolean;
  readonly route: Route;
  onAction(action: Promise<void>): void;
  /** Called with the leaf of the branch that the reader chose. */
  onChoose(leaf: string): void;
  onEdit(content: string, edited: Message): void;
}

/** The messages of a chat: scrolls with the newest text unless the reader scrolled up, and loads older messages. */
export function Transcript({
  chat,
  state,
  entries,
  running,
  readOnly,
  loadingOlder,
  route,
  onAction,
  onChoose,
  onEdit,
}: TranscriptProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const sentinel = useRef<HTMLDivElement>(null);
  const { following, jump, release } = useAutoScroll(scroller, content);
  useSavedScrollPosition(chat.id, scroller, following);
  useScrollAnchor(scroller, entries[0]?.id ?? null);
  const next = state?.next ?? null;
  const more = next !== null;
  const loadOlder = useStableCallback(() => onAction(chat.loadOlder()));
  useOlderMessages(next, loadOlder, sentinel, scroller);

  // A message that the reader just sent is always scrolled into view.
  const newest = entries.at(-1);
  const sent = newest?.kind === "prompt" && newest.status === "sending" ? newest.id : null;
  useEffect(() => {
    if (sent !== null) jump();
  }, [sent, jump]);

  const choose = useStableCallback((id: string) => {
    // The focused button is removed with the version.
    const button = document.activeElement?.closest("[data-testid=branch] button");
    if (button != null) focusAfterSwitch.current = { id, label: button.getAttribute("aria-label") ?? "" };
    onChoose(state === null ? id : newestLeaf(state, id));
  });
  const edit = useStableCallback(onEdit);
  const focusAfterSwitch = useRef<{ readonly id: string; readonly label: string } | null>(null);

  useLayoutEffect(() => {
    if (focusAfterSwitch.current === null) return;
    const { id, label } = focusAfterSwitch.current;
    const buttons = scroller.current?.querySelectorAll<HTMLButtonElement>(
      `[data-message-id="${CSS.escape(id)}"] [data-testid=branch] button:not(:disabled)`,
    );
    if (buttons === undefined || buttons.length === 0) return;
    focusAfterSwitch.current = null;
    const same = [...buttons].find((button) => button.getAttribute("aria-label") === label);
    (same ?? buttons[0])?.focus({ preventScroll: true });
  });

  const { visit, messageId } = route;
  const opened = useRef(visit);
  const place = useMemo(
    () => (messageId !== null || visit === opened.current ? scrollTargetOf(chat.id, messageId) : null),
    [chat, visit, messageId],
  );
  const drawn = place !== null && entries.some(({ id }) => id === place.id);
  useScrollTo(scroller, {
    place,
    found: messageId !== null,
    visit,
    drawn,
    release,
    onReached: clearMessageHash,
  });
  useLoadMessage(chat, {
    id: place === null || drawn ? null : place.id,
    visit,
    known: state?.messages.some(({ id }) => id === place?.id) === true,
    more,
    loadingOlder,
    onKnown: choose,
    onFailed: (error) => {
      if (messageId !== null) onAction(Promise.reject(error));
    },
  });

  return (
    <div className="relative min-h-0 flex-1">
      <div
        className="h-full overflow-y-auto overscroll-contain"
        data-testid="scroller"
        ref={scroller}
        tabIndex={-1}
      >
        <div className="mx-auto w-full max-w-3xl px-4 pt-4 pb-6 md:px-6" ref={content}>
          <div aria-hidden="true" className="h-px" ref={sentinel} />
          {more && (
            <p className="py-3 text-center text-muted-foreground text-sm">
              {loadingOlder ? (
                <span className="print:hidden">Loading older messages…</span>
              ) : (
                <button className="link-button print:hidden" onClick={loadOlder} type="button">
                  Load older messages
                </button>
              )}
              <span className="hidden print:inline">
                Older messages are not printed. Press Ctrl P or ⌘P to print all messages.
              </span>
            </p>
          )}
          <ol aria-label="Messages" className="messages">
            {entries.map((entry) =>
              entry.kind === "answer" ? (
                <Answer
                  busy={running || readOnly}
                  chat={chat}
                  generation={entry.item.generation}
                  key={entry.id}
                  message={entry.item.message}
                  onAction={onAction}
                  onChoose={choose}
                  readOnly={readOnly}
                  siblings={entry.item.siblings}
                />
              ) : (
                <Prompt
                  chat={chat}
                  entry={entry}
                  key={entry.id}
                  onAction={onAction}
                  onChoose={choose}
                  onEdit={edit}
                  readOnly={readOnly}
                />
              ),
            )}
          </ol>
        </div>
      </div>
      {!following && (
        <button
          aria-label="Jump to the latest message"
          className="absolute bottom-3 left-1/2 inline-flex size-9 -translate-x-1/2 items-center justify-center rounded-full border bg-card shadow-md hover:bg-accent"
          data-testid="jump-latest"
          onClick={jump}
          type="button"
        >
          <DownIcon className="size-5" />
        </button>
      )}
    </div>
  );
}

interface MessageToLoad {
  /** The message to load; null when there is none, or when it is rendered. */
  readonly id: string | null;
  readonly visit: string;
  /** Whether it is loaded, on another branch than the one that is shown. */
  readonly known: boolean;
  readonly more: boolean;
  readonly loadingOlder: boolean;
  onKnown(id: string): void;
  /** Called when it cannot be loaded, or is not in the chat. */
  onFailed(error: unknown): void;
}

/** Loads older messages until a message is there, and shows its branch; once for each visit. */
function useLoadMessage(chat: WatchedChat, wanted: MessageToLoad): void {
  const { id, visit, known, more, loadingOlder } = wanted;
  /** The visit whose message was rendered, or could not be loaded: afterwards the reader chooses the branch. */
  const done = useRef<string | null>(null);
  const onKnown = useStableCallback(wanted.onKnown);
  const onFailed = useStableCallback(wanted.onFailed);

  useEffect(() => {
    if (id === null) done.current = visit;
    if (id === null || done.current === visit) return;
    if (known) onKnown(id);
    else if (!more) onFailed(new Error("This message is no longer in the chat."));
    else if (!loadingOlder) {
      chat.loadOlder().catch((error: unknown) => {
        done.current = visit;
        onFailed(error);
      });
    }
  }, [chat, id, visit, known, more, loadingOlder, onKnown, onFailed]);
}

/**
 * Loads older messages when the first loaded one comes near the view: once for each `next`, so that an error is not
 * answered with another request.
 */
function useOlderMessages(
  next: string | null,
  load: () => void,
  sentinel: RefObject<HTMLElement | null>,
  scroller: RefObject<HTMLElement | null>,
) {
  useEffect(() => {
    const target = sentinel.current;
    if (next === null || target === null) return;
    const observer = new IntersectionObserver(
      ([entry]) => {
        // After an error, scrolling here again retries.
        if (entry?.isIntersecting) load();
      },
      { root: scroller.current, rootMargin: "1200px 0px 0px 0px" },
    );
    observer.observe(target);
    return () => observer.disconnect();
  }, [next, load, sentinel, scroller]);
}
