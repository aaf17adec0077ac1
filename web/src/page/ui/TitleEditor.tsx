import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { isForInputMethod } from "./keyboard";

/** The server's limit in characters. */
const LONGEST = 200;

interface TitleEditorProps {
  readonly title: string;
  onSave(title: string): void;
  /** Called at the end of editing, also after saving. */
  onEnd(): void;
}

/** Edits a chat's title: Enter and leaving the field save, Escape cancels. A long title is shown in full. */
export function TitleEditor({ title, onSave, onEnd }: TitleEditorProps) {
  const [text, setText] = useState(title);
  const field = useRef<HTMLTextAreaElement>(null);
  const ended = useRef(false);

  useEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);

  const end = (save: boolean) => {
    if (ended.current) return;
    ended.current = true;
    const wanted = text.split(/\s+/).join(" ").trim();
    if (save && wanted !== "" && wanted !== title) onSave(wanted);
    onEnd();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (isForInputMethod(event)) return;
    if (event.key === "Escape") event.stopPropagation();
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    end(event.key === "Enter");
  };

  return (
    <textarea
      aria-label="Title of the chat"
      autoComplete="off"
      className="title-editor"
      data-testid="title-editor"
      dir="auto"
      enterKeyHint="done"
      maxLength={LONGEST}
      onBlur={() => end(true)}
      onChange={(event) => setText(event.target.value)}
      onKeyDown={onKeyDown}
      ref={field}
      rows={1}
      value={text}
    />
  );
}
