import {
  type AnswerPart,
  type Generation,
  isTerminal,
  type Message,
  partsOf,
  reasoningOf,
  textOf,
  type WatchedChat,
} from "parley-client";
import { type MouseEvent, memo, useEffect, useState } from "react";
import { ErrorBoundary } from "../loading/ErrorBoundary";
import { Markdown } from "../markdown/Markdown";
import { CopyButton } from "../ui/CopyButton";
import { AlertIcon, RetryIcon } from "../ui/icons";
import { BranchSwitch } from "./BranchSwitch";
import { Reasoning } from "./Reasoning";
import { ToolCall } from "./ToolCall";

interface AnswerProps {
  readonly chat: WatchedChat;
  readonly message: Message;
  readonly generation: Generation | null;
  readonly siblings: readonly string[];
  /** Whether the chat is answering, so that no other answer can be requested. */
  readonly busy: boolean;
  /** Whether the user may only read the chat. */
  readonly readOnly: boolean;
  onAction(action: Promise<void>): void;
  onChoose(id: string): void;
}

/** Notes for the reader, by `finish_reason`. */
const FINISH_NOTES: Readonly<Record<string, string>> = {
  length: "The answer ends here: it has reached the limit of its length.",
  tool_calls: "The answer ends with a call of a tool, which the program that sent the message runs.",
  content_filter: "The answer ends here: the provider's content rules do not allow the rest.",
};

/** An answer: pending, streaming or complete. */
export const Answer = memo(
  function Answer({ chat, message, generation, siblings, busy, readOnly, onAction, onChoose }: AnswerProps) {
    const { id, status } = message;
    const terminal = isTerminal(status);
    const text = textOf({ message, generation });
    const reasoning = reasoningOf({ message, generation });
    const parts = partsOf({ message, generation });
    const retry = (event: MouseEvent) => {
      // The second click of a double click would be refused: an answer runs then.
      if (event.detail <= 1) onAction(chat.regenerate(id));
    };
    const decide = (callId: string, approve: boolean) => {
      const decision = chat.decideToolCall(id, callId, approve);
      onAction(decision);
      return decision;
    };
    const retryHelps = status === "failed" && message.error?.retryable !== false;

    return (
      <li
        aria-busy={!terminal}
        className="message answer"
        data-message-id={id}
        data-status={!terminal && text !== "" ? "streaming" : status}
        data-testid="message-assistant"
      >
        <h2 className="sr-only">Answer</h2>
        {reasoning !== "" && <Reasoning text={reasoning} thinking={!terminal && parts.length === 0} />}
        {parts.map((part, index) =>
          part.kind === "text" ? (
            <ErrorBoundary fallback={<PlainText text={part.text} />} key={part.key} retryOn={terminal}>
              <Markdown growing={!terminal && index === parts.length - 1} text={part.text} />
            </ErrorBoundary>
          ) : (
            <ToolCall
              call={part.call}
              key={part.key}
              onDecide={readOnly ? null : (approve) => decide(part.call.id, approve)}
              running={!terminal}
            />
          ),
        )}
        {!terminal && isThinking(parts, reasoning) && generation?.status !== "retrying" && (
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
        {status === "complete" && parts.length === 0 && (
          <p className="text-muted-foreground text-sm">This answer has no text.</p>
        )}
        {status === "complete" && FINISH_NOTES[message.finish_reason ?? ""] !== undefined && (
          <p className="mt-1 text-muted-foreground text-sm" data-testid="ending">
            {FINISH_NOTES[message.finish_reason ?? ""]}
          </p>
        )}
        {terminal && (
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
    before.readOnly === after.readOnly &&
    before.siblings.join() === after.siblings.join(),
);

/** Whether the model has been asked and nothing of what it says now is shown: at first, and after the results of tools. */
function isThinking(parts: readonly AnswerPart[], reasoning: string): boolean {
  const last = parts.at(-1);
  if (last === undefined) return reasoning === "";
  return last.kind === "tool" && ["complete", "failed", "denied"].includes(last.call.status ?? "called");
}

/** An answer as plain text, when rendering it failed. */
function PlainText({ text }: { readonly text: string }) {
  return (
    <div data-testid="plain-answer">
      <p className="mb-2 text-muted-foreground text-sm">
        This answer could not be rendered, and is shown as plain text.
      </p>
      <p className="whitespace-pre-wrap break-words leading-7" dir="auto">
        {text}
      </p>
    </div>
  );
}

/** Seconds: the longest backoff of a worker. */
const MAX_RETRY_WAIT = 300;

/** Shows that the provider failed and when the worker retries. */
function RetryingNotice({ at }: { readonly at: string | null }) {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const left = at === null ? 0 : Math.ceil((Date.parse(at) - now) / 1000);
  // A longer wait means that the clocks of server and device differ: then no number is shown.
  const seconds = left <= MAX_RETRY_WAIT ? left : 0;
  return (
    <p className="text-muted-foreground leading-7" data-testid="retrying" role="status">
      The model is not available. Retrying
      {/* Hidden from screen readers, which would speak every second. */}
      <span aria-hidden="true">{seconds > 0 ? ` in ${seconds} s` : ""}</span>…
    </p>
  );
}
