import type { Message, WatchedChat } from "parley-client";
import { type KeyboardEvent, memo, useEffect, useRef, useState } from "react";
import { useObservable, useParley } from "../session/context";
import { CloseIcon, EditIcon } from "../ui/icons";
import { isForInputMethod } from "../ui/keyboard";
import { ChatMemory } from "../ui/storage";
import { whenFrom } from "../ui/time";
import { BranchSwitch } from "./BranchSwitch";
import type { PromptEntry } from "./entries";

/** Unsent edits by message id; they survive a reload. */
const edits = new ChatMemory<string>("session", "edits");

interface PromptProps {
  readonly chat: WatchedChat;
  readonly entry: PromptEntry;
  /** Whether the user may only read the chat. */
  readonly readOnly: boolean;
  onAction(action: Promise<void>): void;
  onChoose(id: string): void;
  onEdit(content: string, edited: Message): void;
}

/** A prompt. */
export const Prompt = memo(
  function Prompt({ chat, entry, readOnly, onAction, onChoose, onEdit }: PromptProps) {
    const { id, content, status, item } = entry;
    const [editing, setEditing] = useState(() => item !== null && edits.get(id) !== null);
    const cancelled = useRef(false);

    const endEditing = () => {
      setEditing(false);
      edits.set(id, null);
    };

    return (
      <li className="message prompt" data-message-id={id} data-status={status} data-testid="message-user">
        <h2 className="sr-only">You</h2>
        {editing && item !== null ? (
          <PromptEditor
            initialText={edits.get(id) ?? content}
            content={content}
            onCancel={() => {
              endEditing();
              cancelled.current = true;
            }}
            onChange={(text) => edits.set(id, text)}
            onSave={(text) => {
              endEditing();
              onEdit(text, item.message);
            }}
          />
        ) : (
          <div className="prompt-row">
            {item !== null && (
              <div className="actions">
                <BranchSwitch id={id} onChoose={onChoose} siblings={item.siblings} />
                {!readOnly && (
                  <button
                    aria-label="Edit this message"
                    className="icon-button"
                    onClick={() => setEditing(true)}
                    ref={(button) => {
                      if (cancelled.current) button?.focus({ preventScroll: true });
                      cancelled.current = false;
                    }}
                    title="Edit"
                    type="button"
                  >
                    <EditIcon />
                  </button>
                )}
              </div>
            )}
            <PromptText faded={status === "queued" || status === "failed"} text={content} />
          </div>
        )}
        <div className="prompt-state">
          {status === "queued" && (
            <>
              <span>{entry.ahead === 0 ? "Queued: answered next" : `Queued: ${entry.ahead} before it`}</span>
              <button
                aria-label="Delete this queued message"
                className="icon-button"
                onClick={() => onAction(chat.deleteQueued(id))}
                type="button"
              >
                <CloseIcon />
              </button>
            </>
          )}
          {status === "sending" && <Waiting entry={entry} onDiscard={() => chat.discard(id)} />}
          {status === "failed" && <NotSent chat={chat} entry={entry} />}
        </div>
      </li>
    );
  },
  // Each frame of the running answer creates new entries; their content seldom changes.
  (before, after) =>
    before.chat === after.chat &&
    before.readOnly === after.readOnly &&
    before.entry.status === after.entry.status &&
    before.entry.content === after.entry.content &&
    before.entry.problem === after.entry.problem &&
    before.entry.retryAt === after.entry.retryAt &&
    before.entry.retryable === after.entry.retryable &&
    before.entry.ahead === after.entry.ahead &&
    before.entry.item?.message === after.entry.item?.message &&
    before.entry.item?.siblings.join() === after.entry.item?.siblings.join(),
);

/** Milliseconds after which a message that is not accepted is shown as waiting, even when the page is online. */
const WAITING_NOTICE_DELAY = 5_000;

interface WaitingProps {
  readonly entry: PromptEntry;
  onDiscard(): void;
}

/** Shows that a message is not sent yet: at once without a connection or because of a limit, otherwise after a delay. */
function Waiting({ entry, onDiscard }: WaitingProps) {
  const { problem, retryAt } = entry;
  const parley = useParley();
  const { status } = useObservable(parley.connection);
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), WAITING_NOTICE_DELAY);
    return () => clearTimeout(timer);
  }, []);
  const limited = retryAt !== null && status !== "offline";
  if (status === "online" && !late && !limited) return null;
  return (
    <>
      {limited ? (
        <span data-testid="limited">
          {problem} The next attempt is {whenFrom(retryAt)}.
        </span>
      ) : (
        <span>{status === "offline" ? "Sent when you are online again" : "Waiting to be sent"}</span>
      )}
      <button
        aria-label="Do not send this message"
        className="icon-button"
        onClick={onDiscard}
        title="Do not send"
        type="button"
      >
        <CloseIcon />
      </button>
    </>
  );
}

/** The error of a message that was not sent, with the actions for it. */
function NotSent({ chat, entry }: { readonly chat: WatchedChat; readonly entry: PromptEntry }) {
  const { id, content, problem, retryAt, retryable } = entry;
  const parley = useParley();
  const edit = () => {
    const draft = parley.drafts.of(chat.id);
    draft.write([content, draft.getSnapshot()].filter((text) => text.trim() !== "").join("\n\n"));
    chat.discard(id);
    document.querySelector<HTMLElement>("[data-testid=composer]")?.focus();
  };
  return (
    <span
      className="flex flex-wrap items-center justify-end gap-x-3 gap-y-1 text-destructive"
      data-testid="not-sent"
      role="alert"
    >
      Not sent. {problem}
      {retryAt !== null && ` It can be sent ${whenFrom(retryAt)}.`}
      {retryable && (
        <button className="link-button font-medium" onClick={() => chat.resend(id)} type="button">
          Send again
        </button>
      )}
      <button className="link-button" onClick={edit} type="button">
        Edit
      </button>
      <button className="link-button" onClick={() => chat.discard(id)} type="button">
        Discard
      </button>
    </span>
  );
}

/** The longest prompt that is shown in full at first, in lines and characters. */
const FIRST_LINES = 12;
const FIRST_CHARACTERS = 900;

/** A prompt's text; a long one is truncated until it is expanded. */
function PromptText({ text, faded }: { readonly text: string; readonly faded: boolean }) {
  const [whole, setWhole] = useState(false);
  // A program sent an image alone, or its author was erased.
  if (text === "") return <p className="bubble text-muted-foreground italic">This message has no text.</p>;
  const long = text.length > FIRST_CHARACTERS || text.split("\n", FIRST_LINES + 1).length > FIRST_LINES;
  return (
    <div className={`bubble ${faded ? "opacity-70" : ""}`}>
      <p className={long && !whole ? "bubble-text bubble-cut" : "bubble-text"} dir="auto">
        {text}
      </p>
      {long && (
        <button aria-expanded={whole} className="bubble-more" onClick={() => setWhole(!whole)} type="button">
          {whole ? "Show less" : "Show all"}
        </button>
      )}
    </div>
  );
}

interface PromptEditorProps {
  readonly content: string;
  /** The initial text: an unsent edit, or the content. */
  readonly initialText: string;
  onChange(text: string): void;
  onSave(text: string): void;
  onCancel(): void;
}

function PromptEditor({ content, initialText, onChange, onSave, onCancel }: PromptEditorProps) {
  const [text, setText] = useState(initialText);
  const changed = text.trim() !== "" && text !== content;

  const onKeyDown = (event: KeyboardEvent) => {
    if (isForInputMethod(event)) return;
    if (event.key === "Escape") onCancel();
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (changed) onSave(text);
    }
  };

  return (
    <div className="w-full rounded-2xl border bg-card p-2 focus-within:border-ring">
      <textarea
        // biome-ignore lint/a11y/noAutofocus: the reader just asked to write here
        autoFocus
        aria-label="Edit the message"
        className="field-sizing-content block max-h-[40dvh] w-full resize-none bg-transparent px-2 py-1 leading-6 outline-none"
        onChange={(event) => {
          setText(event.target.value);
          onChange(event.target.value);
        }}
        onKeyDown={onKeyDown}
        rows={Math.min(12, content.split("\n").length)}
        value={text}
      />
      <div className="mt-1 flex justify-end gap-2">
        <button className="button" onClick={onCancel} type="button">
          Cancel
        </button>
        <button
          className="button border-transparent bg-primary text-primary-foreground hover:bg-primary/90"
          disabled={!changed}
          onClick={() => onSave(text)}
          type="button"
        >
          Send
        </button>
      </div>
    </div>
  );
}
