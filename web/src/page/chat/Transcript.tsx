import { type ChatState, type Message, newestLeaf, type WatchedChat } from "parley-client";
import { type RefObject, useEffect, useLayoutEffect, useMemo, useRef } from "react";
import { arrived, type Route } from "../route";
import { DownIcon } from "../ui/icons";
import { useStable } from "../ui/useStableCallback";
import { Answer } from "./Answer";
import { useFollow, usePlaceKept } from "./autoScroll";
import type { Entry } from "./entries";
import { Prompt } from "./Prompt";
import { placeOf, useArrival, useNotedPlace } from "./scrollPosition";

interface TranscriptProps {
  readonly chat: WatchedChat;
  readonly state: ChatState | null;
  readonly entries: readonly Entry[];
  readonly running: boolean;
  /** Whether there are older messages to load. */
  readonly more: boolean;
  readonly loadingOlder: boolean;
  readonly route: Route;
  onAttempt(action: Promise<void>): void;
  /** The reader wants to see the branch that ends with this message. */
  onChoose(leaf: string): void;
  onEdit(content: string, edited: Message): void;
}

/** The messages of a chat: follows the newest text unless the reader scrolled away, and loads older ones above. */
export function Transcript({
  chat,
  state,
  entries,
  running,
  more,
  loadingOlder,
  route,
  onAttempt,
  onChoose,
  onEdit,
}: TranscriptProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const sentinel = useRef<HTMLDivElement>(null);
  const { following, jump, release } = useFollow(scroller, content);
  useNotedPlace(chat.id, scroller, following);
  usePlaceKept(scroller, entries[0]?.id ?? null);
  useOlderMessages(chat, more && !loadingOlder, sentinel, scroller);

  // What the reader just sent is always in sight.
  const newest = entries.at(-1);
  const sent = newest?.kind === "prompt" && newest.status === "sending" ? newest.id : null;
  useEffect(() => {
    if (sent !== null) jump();
  }, [sent, jump]);

  const choose = useStable((id: string) => {
    // The buttons that the reader is at go away with the version.
    const button = document.activeElement?.closest("[data-testid=branch] button");
    if (button != null) turned.current = { id, label: button.getAttribute("aria-label") ?? "" };
    onChoose(state === null ? id : newestLeaf(state, id));
  });
  const edit = useStable(onEdit);
  const turned = useRef<{ readonly id: string; readonly label: string } | null>(null);

  useLayoutEffect(() => {
    if (turned.current === null) return;
    const { id, label } = turned.current;
    const buttons = scroller.current?.querySelectorAll<HTMLButtonElement>(
      `[data-message-id="${CSS.escape(id)}"] [data-testid=branch] button:not(:disabled)`,
    );
    if (buttons === undefined || buttons.length === 0) return;
    turned.current = null;
    const same = [...buttons].find((button) => button.getAttribute("aria-label") === label);
    (same ?? buttons[0])?.focus({ preventScroll: true });
  });

  const { visit, messageId } = route;
  const opened = useRef(visit);
  const place = useMemo(
    () => (messageId !== null || visit === opened.current ? placeOf(chat.id, messageId) : null),
    [chat, visit, messageId],
  );
  const drawn = place !== null && entries.some(({ id }) => id === place.id);
  useArrival(scroller, { place, found: messageId !== null, visit, drawn, release, onArrived: arrived });
  useWantedMessage(chat, {
    id: place === null || drawn ? null : place.id,
    visit,
    known: state?.messages.some(({ id }) => id === place?.id) === true,
    more,
    loadingOlder,
    onKnown: choose,
    onMissing: () => {
      if (messageId !== null)
        onAttempt(Promise.reject(new Error("This message is not in the chat any more.")));
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
              <span className="print:hidden">
                {loadingOlder ? "Loading older messages…" : "Older messages above"}
              </span>
              <span className="hidden print:inline">
                Older messages are not printed here. Print with the keys Ctrl P or ⌘P to have them all.
              </span>
            </p>
          )}
          <ol aria-label="Messages" className="messages">
            {entries.map((entry) =>
              entry.kind === "answer" ? (
                <Answer
                  busy={running}
                  chat={chat}
                  generation={entry.item.generation}
                  key={entry.id}
                  message={entry.item.message}
                  onAttempt={onAttempt}
                  onChoose={choose}
                  siblings={entry.item.siblings}
                />
              ) : (
                <Prompt
                  chat={chat}
                  entry={entry}
                  key={entry.id}
                  onAttempt={onAttempt}
                  onChoose={choose}
                  onEdit={edit}
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

interface Wanted {
  /** The message that is to be drawn; null when there is none, or when it is. */
  readonly id: string | null;
  readonly visit: string;
  /** Whether it is loaded, on another branch than the one that is shown. */
  readonly known: boolean;
  readonly more: boolean;
  readonly loadingOlder: boolean;
  onKnown(id: string): void;
  onMissing(): void;
}

/** Loads older messages until a message is there, and shows its branch. */
function useWantedMessage(chat: WatchedChat, wanted: Wanted): void {
  const { id, visit, known, more, loadingOlder } = wanted;
  const failed = useRef<string | null>(null);
  const onKnown = useStable(wanted.onKnown);
  const onMissing = useStable(wanted.onMissing);

  useEffect(() => {
    if (id === null || failed.current === visit) return;
    if (known) onKnown(id);
    else if (!more) onMissing();
    else if (!loadingOlder) {
      chat.loadOlder().catch(() => {
        failed.current = visit;
      });
    }
  }, [chat, id, visit, known, more, loadingOlder, onKnown, onMissing]);
}

/** Loads older messages when the beginning of what is loaded comes near. */
function useOlderMessages(
  chat: WatchedChat,
  wanted: boolean,
  sentinel: RefObject<HTMLElement | null>,
  scroller: RefObject<HTMLElement | null>,
) {
  useEffect(() => {
    const target = sentinel.current;
    if (!wanted || target === null) return;
    const observer = new IntersectionObserver(
      ([entry]) => {
        // Without them the reader sees what is there; coming here again tries again.
        if (entry?.isIntersecting) chat.loadOlder().catch(() => undefined);
      },
      { root: scroller.current, rootMargin: "1200px 0px 0px 0px" },
    );
    observer.observe(target);
    return () => observer.disconnect();
  }, [chat, wanted, sentinel, scroller]);
}
