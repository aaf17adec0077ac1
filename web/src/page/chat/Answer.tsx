import {
  type Generation,
  isTerminal,
  type Message,
  reasoningOf,
  textOf,
  type WatchedChat,
} from "parley-client";
import { memo, useEffect, useState } from "react";
import { Markdown } from "../markdown/Markdown";
import { CopyButton } from "../ui/CopyButton";
import { ErrorBoundary } from "../ui/ErrorBoundary";
import { AlertIcon, RetryIcon } from "../ui/icons";
import { BranchSwitch } from "./BranchSwitch";
import { Reasoning } from "./Reasoning";

interface AnswerProps {
  readonly chat: WatchedChat;
  readonly message: Message;
  readonly generation: Generation | null;
  readonly siblings: readonly string[];
  /** Whether the chat is answering, so that no other answer can be asked for. */
  readonly busy: boolean;
  onAttempt(action: Promise<void>): void;
  onChoose(id: string): void;
}

/** What a reader should know of how the model ended, by `finish_reason`. */
const ENDINGS: Readonly<Record<string, string>> = {
  length: "The answer ends here: it has reached the limit of its length.",
  tool_calls: "The model asked for a tool, which it does not have here.",
  content_filter: "The answer ends here: the provider's content rules do not allow the rest.",
};

/** A model's message: thinking, growing, or over. */
export const Answer = memo(
  function Answer({ chat, message, generation, siblings, busy, onAttempt, onChoose }: AnswerProps) {
    const { id, status } = message;
    const over = isTerminal(status);
    const text = textOf({ message, generation });
    const reasoning = reasoningOf({ message, generation });
    const retry = () => onAttempt(chat.regenerate(id));
    const retryHelps = status === "failed" && message.error?.retryable !== false;

    return (
      <li
        aria-busy={!over}
        className="message answer"
        data-message-id={id}
        data-status={!over && text !== "" ? "streaming" : status}
        data-testid="message-assistant"
      >
        <h2 className="sr-only">Answer</h2>
        {reasoning !== "" && <Reasoning text={reasoning} thinking={!over && text === ""} />}
        {text !== "" && (
          <ErrorBoundary fallback={<PlainText text={text} />} retryOn={over}>
            <Markdown growing={!over} text={text} />
          </ErrorBoundary>
        )}
        {!over && text === "" && reasoning === "" && generation?.status !== "retrying" && (
          <p className="shimmer inline-block leading-7" data-testid="thinking">
            Thinking…
          </p>
        )}
        {generation?.status === "retrying" && <RetryingNotice at={generation.retry_at} />}
        {status === "failed" && (
          <div
            className="mt-2 flex flex-wrap items-center gap-x-3 gap-y-2 rounded-lg border border-destructive/30 bg-destructive-soft px-3 py-2.5 text-sm"
            data-testid="error"
            role="alert"
          >
            <AlertIcon className="size-4 shrink-0 text-destructive" />
            <span className="min-w-0 flex-1 basis-48">{message.error?.message ?? "The answer failed."}</span>
            {retryHelps && (
              <button
                className="button py-1"
                data-testid="retry"
                disabled={busy}
                onClick={retry}
                type="button"
              >
                <RetryIcon /> Retry
              </button>
            )}
          </div>
        )}
        {status === "stopped" && <p className="mt-1 text-muted-foreground text-sm">Stopped.</p>}
        {status === "complete" && ENDINGS[message.finish_reason ?? ""] !== undefined && (
          <p className="mt-1 text-muted-foreground text-sm" data-testid="ending">
            {ENDINGS[message.finish_reason ?? ""]}
          </p>
        )}
        {over && (
          <div className="actions">
            {text !== "" && <CopyButton label="Copy the answer" text={text} />}
            {!retryHelps && (
              <button
                aria-label="Answer again"
                className="icon-button"
                data-testid="regenerate"
                disabled={busy}
                onClick={retry}
                title="Answer again"
                type="button"
              >
                <RetryIcon />
              </button>
            )}
            <BranchSwitch id={id} onChoose={onChoose} siblings={siblings} />
            {message.model !== null && (
              <span className="ml-1 truncate text-muted-foreground text-xs">{message.model}</span>
            )}
          </div>
        )}
      </li>
    );
  },
  (before, after) =>
    before.chat === after.chat &&
    before.message === after.message &&
    before.generation === after.generation &&
    before.busy === after.busy &&
    before.siblings.join() === after.siblings.join(),
);

/** An answer as it was written, when drawing it failed. */
function PlainText({ text }: { readonly text: string }) {
  return (
    <div data-testid="plain-answer">
      <p className="mb-2 text-muted-foreground text-sm">
        This answer is shown as plain text: it could not be drawn.
      </p>
      <p className="whitespace-pre-wrap break-words leading-7" dir="auto">
        {text}
      </p>
    </div>
  );
}

/** Seconds: no wait of a worker is longer. */
const LONGEST_WAIT = 300;

/** Says that the provider is in trouble and when it is tried again. */
function RetryingNotice({ at }: { readonly at: string | null }) {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const left = at === null ? 0 : Math.ceil((Date.parse(at) - now) / 1000);
  // The server's clock and this device's: where they differ by more than a wait can be, the number says nothing.
  const seconds = left <= LONGEST_WAIT ? left : 0;
  return (
    <p className="text-muted-foreground leading-7" data-testid="retrying" role="status">
      The model is not available right now. Trying again
      {/* Counted for the eyes only: a screen reader would speak every second. */}
      <span aria-hidden="true">{seconds > 0 ? ` in ${seconds} s` : ""}</span>…
    </p>
  );
}
