import { type KeyboardEvent, useEffect, useLayoutEffect, useRef, useState } from "react";
import { SendIcon, StopIcon } from "./icons";
import { isForInputMethod } from "./keyboard";
import { useParley } from "./parley";

/** Bytes of UTF-8; what the server allows, until it says so itself. */
const DEFAULT_LIMIT = 128 * 1024;

interface ComposerProps {
  readonly chatId: string | null;
  readonly text: string;
  readonly running: boolean;
  onChange(text: string): void;
  onSend(text: string): void;
  onStop(): void;
}

/** Where a message is written: Enter sends, Shift+Enter breaks the line. */
export function Composer({ chatId, text, running, onChange, onSend, onStop }: ComposerProps) {
  const area = useRef<HTMLTextAreaElement>(null);
  const limit = useLimit();
  const tooLong = text.length * 3 > limit && new TextEncoder().encode(text).length > limit;
  const canSend = text.trim() !== "" && !tooLong;

  // biome-ignore lint/correctness/useExhaustiveDependencies: going to another chat means to write there
  useEffect(() => {
    // On a touch screen focus would open the keyboard over what is to be read.
    if (window.matchMedia("(pointer: fine)").matches) area.current?.focus();
  }, [chatId]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text
  useLayoutEffect(() => {
    const element = area.current;
    if (element === null) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);

  const send = () => {
    if (!canSend) return;
    onSend(text);
    area.current?.focus();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || isForInputMethod(event)) return;
    event.preventDefault();
    send();
  };

  return (
    <form
      className="rounded-2xl border bg-card shadow-sm transition-colors focus-within:border-ring"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        aria-describedby={tooLong ? "too-long" : undefined}
        aria-invalid={tooLong}
        aria-label="Message"
        autoComplete="off"
        className="block max-h-[40dvh] w-full resize-none bg-transparent px-4 pt-3 pb-1 text-base leading-6 outline-none placeholder:text-muted-foreground"
        data-testid="composer"
        dir="auto"
        enterKeyHint="send"
        onChange={(event) => onChange(event.target.value)}
        onKeyDown={onKeyDown}
        placeholder="Write a message"
        ref={area}
        rows={1}
        value={text}
      />
      <div className="flex items-center justify-end gap-2 px-2 pb-2">
        {tooLong && (
          <p className="mr-auto pl-2 text-destructive text-sm" id="too-long" role="alert">
            This message is too long to send.
          </p>
        )}
        {running && (
          <button
            className="inline-flex h-9 items-center gap-1 rounded-full border px-3 font-medium text-sm hover:bg-accent"
            data-testid="stop"
            onClick={onStop}
            type="button"
          >
            <StopIcon className="size-4" /> Stop
          </button>
        )}
        <button
          aria-label="Send"
          className="inline-flex size-9 items-center justify-center rounded-full bg-primary text-primary-foreground transition-opacity disabled:opacity-35"
          data-testid="send"
          disabled={!canSend}
          type="submit"
        >
          <SendIcon className="size-5" />
        </button>
      </div>
    </form>
  );
}

function useLimit(): number {
  const parley = useParley();
  const [limit, setLimit] = useState(DEFAULT_LIMIT);
  useEffect(() => {
    parley.config().then(
      ({ limits }) => setLimit(limits.content_bytes),
      () => undefined,
    );
  }, [parley]);
  return limit;
}
