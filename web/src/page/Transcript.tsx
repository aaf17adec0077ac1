import { type RefObject, useEffect, useRef } from "react";
import { type ChatState, type Message, newestLeaf, type WatchedChat } from "../client";
import { Answer } from "./Answer";
import { useFollow, usePlaceKept } from "./follow";
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
  onAttempt,
  onChoose,
  onEdit,
}: TranscriptProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const sentinel = useRef<HTMLDivElement>(null);
  const { following, jump } = useFollow(scroller, content);
  usePlaceKept(scroller, entries[0]?.id ?? null);
  useOlderMessages(chat, more && !loadingOlder, sentinel, scroller);

  // What the reader just sent is always in sight.
  const newest = entries.at(-1);
  const sent = newest?.kind === "prompt" && newest.status === "sending" ? newest.id : null;
  useEffect(() => {
    if (sent !== null) jump();
  }, [sent, jump]);

  const choose = (id: string) => onChoose(state === null ? id : newestLeaf(state, id));

  return (
    <div className="relative min-h-0 flex-1">
      <div className="h-full overflow-y-auto overscroll-contain" data-testid="scroller" ref={scroller}>
        <div className="mx-auto w-full max-w-3xl px-4 pt-4 pb-6 md:px-6" ref={content}>
          <div aria-hidden="true" className="h-px" ref={sentinel} />
          {more && (
            <p className="py-3 text-center text-muted-foreground text-sm">
              {loadingOlder ? "Loading older messages…" : "Older messages above"}
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
                  onEdit={onEdit}
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
