import { memo, useEffect, useState } from "react";
import { type Generation, isTerminal, type Message, reasoningOf, textOf, type WatchedChat } from "../client";
import { BranchSwitch } from "./BranchSwitch";
import { AlertIcon, CheckIcon, CopyIcon, RetryIcon } from "./icons";
import { Markdown } from "./Markdown";
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

/** A model's message: thinking, growing, or over. */
export const Answer = memo(
  function Answer({ chat, message, generation, siblings, busy, onAttempt, onChoose }: AnswerProps) {
    const { id, status } = message;
    const over = isTerminal(status);
    const text = textOf({ message, generation });
    const reasoning = reasoningOf({ message, generation });
    const retry = () => onAttempt(chat.regenerate(id));

    return (
      <li
        aria-busy={!over}
        className="group"
        data-message-id={id}
        data-status={!over && text !== "" ? "streaming" : status}
        data-testid="message-assistant"
      >
        <h2 className="sr-only">Answer</h2>
        {reasoning !== "" && <Reasoning text={reasoning} thinking={!over && text === ""} />}
        {text !== "" && <Markdown growing={!over} text={text} />}
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
            <button className="button py-1" data-testid="retry" disabled={busy} onClick={retry} type="button">
              <RetryIcon /> Retry
            </button>
          </div>
        )}
        {status === "stopped" && <p className="mt-1 text-muted-foreground text-sm">Stopped.</p>}
        {over && (
          <div className="mt-1 flex min-h-7 items-center gap-0.5 transition-opacity focus-within:opacity-100 group-last:opacity-100 group-hover:opacity-100 md:opacity-0">
            {text !== "" && <CopyButton text={text} />}
            {status !== "failed" && (
              <button
                aria-label="Answer again"
                className="icon-button size-7"
                data-testid="regenerate"
                disabled={busy}
                onClick={retry}
                title="Answer again"
                type="button"
              >
                <RetryIcon className="size-3.5" />
              </button>
            )}
            <BranchSwitch id={id} onChoose={onChoose} siblings={siblings} />
            {message.model !== null && (
              <span className="ml-1 text-muted-foreground text-xs">{message.model}</span>
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

/** Says that the provider is in trouble and when it is tried again. */
function RetryingNotice({ at }: { readonly at: string | null }) {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const seconds = at === null ? 0 : Math.ceil((Date.parse(at) - now) / 1000);
  return (
    <p className="text-muted-foreground leading-7" data-testid="retrying" role="status">
      The model is not available right now. Trying again{seconds > 0 ? ` in ${seconds} s` : ""}…
    </p>
  );
}

function CopyButton({ text }: { readonly text: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  return (
    <button
      aria-label={copied ? "Copied" : "Copy the answer"}
      className="icon-button size-7"
      onClick={() => navigator.clipboard.writeText(text).then(() => setCopied(true))}
      title="Copy"
      type="button"
    >
      {copied ? <CheckIcon className="size-3.5" /> : <CopyIcon className="size-3.5" />}
    </button>
  );
}
