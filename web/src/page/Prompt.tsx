import { type KeyboardEvent, memo, useState } from "react";
import type { WatchedChat } from "../client";
import { BranchSwitch } from "./BranchSwitch";
import { CloseIcon, EditIcon } from "./icons";
import type { PromptEntry } from "./transcript";

interface PromptProps {
  readonly chat: WatchedChat;
  readonly entry: PromptEntry;
  onAttempt(action: Promise<void>): void;
  onChoose(id: string): void;
  onEdit(content: string, parentId: string | null): void;
}

/** A person's message. */
export const Prompt = memo(
  function Prompt({ chat, entry, onAttempt, onChoose, onEdit }: PromptProps) {
    const [editing, setEditing] = useState(false);
    const { id, content, status, item } = entry;

    return (
      <li
        className="group flex flex-col items-end"
        data-message-id={id}
        data-status={status}
        data-testid="message-user"
      >
        <h2 className="sr-only">You</h2>
        {editing && item !== null ? (
          <PromptEditor
            content={content}
            onCancel={() => setEditing(false)}
            onSave={(text) => {
              setEditing(false);
              onEdit(text, item.message.parent_id);
            }}
          />
        ) : (
          <p
            className={`max-w-[85%] whitespace-pre-wrap break-words rounded-2xl bg-muted px-4 py-2.5 leading-6 transition-opacity ${status === "queued" || status === "failed" ? "opacity-70" : ""}`}
          >
            {content}
          </p>
        )}
        <div className="mt-1 flex min-h-7 items-center gap-1 text-muted-foreground text-xs">
          {status === "queued" && (
            <>
              <span>Queued: answered next</span>
              <button
                aria-label="Take this message back"
                className="icon-button size-7"
                onClick={() => onAttempt(chat.deleteQueued(id))}
                type="button"
              >
                <CloseIcon className="size-3.5" />
              </button>
            </>
          )}
          {status === "failed" && (
            <span className="flex items-center gap-3 text-destructive" role="alert">
              Not sent. {entry.problem}
              <button className="font-medium underline" onClick={() => chat.resend(id)} type="button">
                Send again
              </button>
              <button className="underline" onClick={() => chat.discard(id)} type="button">
                Discard
              </button>
            </span>
          )}
          {item !== null && !editing && (
            <>
              <button
                aria-label="Edit this message"
                className="icon-button size-7 focus-visible:opacity-100 group-hover:opacity-100 md:opacity-0"
                onClick={() => setEditing(true)}
                type="button"
              >
                <EditIcon className="size-3.5" />
              </button>
              <BranchSwitch id={id} onChoose={onChoose} siblings={item.siblings} />
            </>
          )}
        </div>
      </li>
    );
  },
  // An entry is made anew with each frame of the running answer; what it shows seldom changes.
  (before, after) =>
    before.chat === after.chat &&
    before.entry.status === after.entry.status &&
    before.entry.content === after.entry.content &&
    before.entry.problem === after.entry.problem &&
    before.entry.item?.message === after.entry.item?.message &&
    before.entry.item?.siblings.join() === after.entry.item?.siblings.join(),
);

interface PromptEditorProps {
  readonly content: string;
  onSave(text: string): void;
  onCancel(): void;
}

function PromptEditor({ content, onSave, onCancel }: PromptEditorProps) {
  const [text, setText] = useState(content);
  const changed = text.trim() !== "" && text !== content;

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return;
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
        onChange={(event) => setText(event.target.value)}
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
