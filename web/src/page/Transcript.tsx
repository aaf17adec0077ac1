import { useEffect, useLayoutEffect, useRef } from "react";
import { useStickToBottom } from "use-stick-to-bottom";
import { type ChatState, newestLeaf, type WatchedChat } from "../client";
import { Answer } from "./Answer";
import { DownIcon } from "./icons";
import { Prompt } from "./Prompt";
import type { Entry } from "./transcript";

interface TranscriptProps {
  readonly chat: WatchedChat;
  readonly state: ChatState | null;
  readonly entries: readonly Entry[];
  readonly running: boolean;
  /** Whether there are older messages to load. */
  readonly more: boolean;
  readonly loadingOlder: boolean;
  onAttempt(action: Promise<void>): void;
  /** The reader wants to see the branch that ends with this message. */
  onChoose(leaf: string): void;
  onEdit(content: string, parentId: string | null): void;
}

/** The messages of a chat: follows the newest text unless the reader scrolled away, and loads older ones above. */
export function Transcript({
  chat,
  state,
  entries,
  running,
  more,
  loadingOlder,
  onAttempt,
  onChoose,
  onEdit,
}: TranscriptProps) {
  const { scrollRef, contentRef, isAtBottom, scrollToBottom } = useStickToBottom({
    initial: "instant",
    resize: "instant",
  });
  const sentinel = useRef<HTMLDivElement>(null);
  useOlderMessages(chat, more && !loadingOlder, sentinel, scrollRef);
  usePlaceKept(entries[0]?.id ?? null, scrollRef);

  // What the reader just sent is always in sight.
  const newest = entries.at(-1);
  const sent = newest?.kind === "prompt" && newest.status === "sending" ? newest.id : null;
  useEffect(() => {
    if (sent !== null) void scrollToBottom("instant");
  }, [sent, scrollToBottom]);

  const choose = (id: string) => onChoose(state === null ? id : newestLeaf(state, id));

  return (
    <div className="relative min-h-0 flex-1">
      <div className="h-full overflow-y-auto overscroll-contain" data-testid="scroller" ref={scrollRef}>
        <div className="mx-auto w-full max-w-3xl px-4 pt-2 pb-8 md:px-6" ref={contentRef}>
          <div aria-hidden="true" className="h-px" ref={sentinel} />
          {more && (
            <p className="py-3 text-center text-muted-foreground text-sm">
              {loadingOlder ? "Loading older messages…" : "Older messages above"}
            </p>
          )}
          <ol aria-label="Messages" className="space-y-6">
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
                  onEdit={onEdit}
                />
              ),
            )}
          </ol>
        </div>
      </div>
      {!isAtBottom && (
        <button
          aria-label="Jump to the latest message"
          className="absolute bottom-3 left-1/2 inline-flex size-9 -translate-x-1/2 items-center justify-center rounded-full border bg-card shadow-md hover:bg-accent"
          data-testid="jump-latest"
          onClick={() => void scrollToBottom()}
          type="button"
        >
          <DownIcon className="size-5" />
        </button>
      )}
    </div>
  );
}

/** Loads older messages when the beginning of what is loaded comes near. */
function useOlderMessages(
  chat: WatchedChat,
  wanted: boolean,
  sentinel: React.RefObject<HTMLElement | null>,
  scroller: React.RefObject<HTMLElement | null>,
) {
  useEffect(() => {
    const target = sentinel.current;
    if (!wanted || target === null) return;
    const observer = new IntersectionObserver(
      ([entry]) => {
        // Without them the reader sees what is there; coming here again tries again.
        if (entry?.isIntersecting) chat.loadOlder().catch(() => undefined);
      },
      { root: scroller.current, rootMargin: "600px 0px 0px 0px" },
    );
    observer.observe(target);
    return () => observer.disconnect();
  }, [chat, wanted, sentinel, scroller]);
}

/** Keeps what the reader looks at where it is when messages are put in above it. */
function usePlaceKept(firstId: string | null, scroller: React.RefObject<HTMLElement | null>) {
  const before = useRef<{ readonly id: string; readonly height: number; readonly top: number } | null>(null);

  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null || firstId === null) return;
    const last = before.current;
    const prepended =
      last !== null &&
      last.id !== firstId &&
      element.querySelector(`[data-message-id="${CSS.escape(last.id)}"]`) !== null;
    if (prepended && element.scrollTop === last.top) element.scrollTop += element.scrollHeight - last.height;
  }, [firstId, scroller]);

  // After every render, and also where it was scrolled since.
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null || firstId === null) return;
    const remember = () => {
      before.current = { id: firstId, height: element.scrollHeight, top: element.scrollTop };
    };
    remember();
    element.addEventListener("scroll", remember, { passive: true });
    return () => element.removeEventListener("scroll", remember);
  });
}
