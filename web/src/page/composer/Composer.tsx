import { type KeyboardEvent, useEffect, useLayoutEffect, useRef } from "react";
import { useConfig } from "../session/context";
import { SendIcon, StopIcon } from "../ui/icons";
import { isForInputMethod } from "../ui/keyboard";

/** The limit in bytes of UTF-8 until the server's configuration is known. */
const DEFAULT_LIMIT = 128 * 1024;

interface ComposerProps {
  readonly chatId: string | null;
  readonly text: string;
  readonly running: boolean;
  /** Why nothing can be written here; null when it can. */
  readonly disabledReason?: string | null;
  onChange(text: string): void;
  onSend(text: string): void;
  onStop(): void;
}

/**
 * The message field: Enter sends, Shift+Enter starts a new line. It grows with its text. Its one button is Stop while an
 * answer runs and the field is empty, otherwise Send.
 */
export function Composer({
  chatId,
  text,
  running,
  disabledReason = null,
  onChange,
  onSend,
  onStop,
}: ComposerProps) {
  const area = useRef<HTMLTextAreaElement>(null);
  const limit = useConfig()?.limits.content_bytes ?? DEFAULT_LIMIT;
  const tooLong = text.length * 3 > limit && new TextEncoder().encode(text).length > limit;
  const empty = text.trim() === "";
  const disabled = disabledReason !== null;
  const canSend = !empty && !tooLong && !disabled;
  const stops = running && empty && !disabled;

  // biome-ignore lint/correctness/useExhaustiveDependencies: focus the field of each opened chat
  useEffect(() => {
    // On a touch screen, focus would open the keyboard over the messages.
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

  const stop = () => {
    onStop();
    // The button has become Send.
    if (window.matchMedia("(pointer: fine)").matches) area.current?.focus();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || isForInputMethod(event)) return;
    event.preventDefault();
    send();
  };

  return (
    <form
      className="rounded-3xl border bg-card shadow-sm transition-colors focus-within:border-ring"
      onSubmit={(event) => {
        event.preventDefault();
        if (stops) stop();
        else send();
      }}
    >
      <div className="flex items-end gap-2 p-1.5">
        <textarea
          aria-describedby={tooLong ? "too-long" : disabled ? "read-only" : undefined}
          aria-invalid={tooLong}
          aria-label="Message"
          autoComplete="off"
          className="block max-h-[40dvh] min-w-0 flex-1 resize-none bg-transparent py-1.5 pl-3 pointer-coarse:py-2.5 text-base leading-6 outline-none placeholder:text-muted-foreground"
          data-testid="composer"
          dir="auto"
          disabled={disabled}
          enterKeyHint="send"
          onChange={(event) => onChange(event.target.value)}
          onKeyDown={onKeyDown}
          placeholder={disabledReason ?? "Write a message"}
          ref={area}
          rows={1}
          value={text}
        />
        <button
          aria-label={stops ? "Stop" : "Send"}
          className="composer-button"
          data-testid={stops ? "stop" : "send"}
          disabled={!stops && !canSend}
          onClick={(event) => {
            // The second click of a double click on Send.
            if (stops && event.detail > 1) event.preventDefault();
          }}
          title={stops ? "Stop" : "Send"}
          type="submit"
        >
          {stops ? <StopIcon className="size-5" /> : <SendIcon className="size-5" />}
        </button>
      </div>
      {disabled && (
        <p className="sr-only" id="read-only">
          {disabledReason}
        </p>
      )}
      {tooLong && (
        <p className="px-4 pb-2.5 text-destructive text-sm" id="too-long" role="alert">
          This message is too long to send.
        </p>
      )}
    </form>
  );
}
