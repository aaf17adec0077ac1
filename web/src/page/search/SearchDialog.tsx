import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react";
import { useObservable, useParley } from "../session/context";
import { SearchIcon } from "../ui/icons";
import { isForInputMethod } from "../ui/keyboard";
import { containsWords, piecesOf } from "./matches";
import { useSearch } from "./useSearch";

interface SearchDialogProps {
  onClose(): void;
  /** Opens a chat, or a message of it. */
  onOpen(chatId: string, messageId: string | null): void;
}

/** A result: a chat found by its title, or a message. */
interface Option {
  readonly key: string;
  readonly chatId: string;
  readonly messageId: string | null;
  readonly title: string;
  readonly excerpt: string | null;
  readonly role: "user" | "assistant" | null;
}

/** The number of chats that are shown by title. */
const CHATS = 5;

/** Searches chats by title and messages by content; usable with the keyboard alone. */
export function SearchDialog({ onClose, onOpen }: SearchDialogProps) {
  const parley = useParley();
  const { items } = useObservable(parley.chats);
  const [typed, setTyped] = useState("");
  const [active, setActive] = useState(0);
  const { results, searching, more } = useSearch(parley, typed);
  const dialog = useRef<HTMLDialogElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const id = useId();
  const query = typed.trim();

  useEffect(() => {
    dialog.current?.showModal();
  }, []);

  const chats = items
    .filter((chat) => query === "" || containsWords(chat.title ?? "", query))
    .slice(0, CHATS);
  const options: Option[] = [
    ...chats.map((chat) => ({
      key: chat.id,
      chatId: chat.id,
      messageId: null,
      title: chat.title || "Untitled chat",
      excerpt: null,
      role: null,
    })),
    ...results.hits.map((hit) => ({
      key: `${hit.chat_id} ${hit.message_id}`,
      chatId: hit.chat_id,
      messageId: hit.message_id,
      title: hit.chat_title || "Untitled chat",
      excerpt: hit.excerpt,
      role: hit.role,
    })),
  ];
  const current = Math.min(active, options.length - 1);

  useEffect(() => {
    list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  });

  const open = (option: Option | undefined) => {
    if (option === undefined) return;
    dialog.current?.close();
    onOpen(option.chatId, option.messageId);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (isForInputMethod(event)) return;
    if (event.key === "Enter") {
      event.preventDefault();
      // While the results are of an older query, Enter would open an unrelated result.
      if (!searching) open(options[current]);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (options.length > 0) setActive((current + step + options.length) % options.length);
      if (step === 1 && current + 1 >= options.length - 1) more();
    }
  };

  return (
    <dialog aria-label="Search" className="search-dialog" onClose={onClose} ref={dialog}>
      <div className="flex items-center gap-2 border-b px-4">
        <SearchIcon className="size-5 shrink-0 text-muted-foreground" />
        <input
          aria-activedescendant={current >= 0 ? `${id}-${current}` : undefined}
          aria-autocomplete="list"
          aria-controls={id}
          aria-expanded={options.length > 0}
          aria-label="Search your chats"
          autoComplete="off"
          className="min-h-12 w-full min-w-0 bg-transparent outline-none placeholder:text-muted-foreground"
          data-testid="search"
          dir="auto"
          maxLength={500}
          onChange={(event) => {
            setTyped(event.target.value);
            setActive(0);
          }}
          onKeyDown={onKeyDown}
          placeholder="Search your chats"
          role="combobox"
          spellCheck={false}
          value={typed}
        />
        <button className="button my-2 shrink-0" onClick={() => dialog.current?.close()} type="button">
          Close
        </button>
      </div>
      <div className="search-results" ref={list}>
        <div aria-label="Results" id={id} role="listbox" tabIndex={-1}>
          {options.map((option, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the keys are those of the combobox
            <div
              aria-selected={index === current}
              className="search-hit"
              data-testid="search-hit"
              id={`${id}-${index}`}
              key={option.key}
              onClick={() => open(option)}
              role="option"
              tabIndex={-1}
            >
              <span className="block truncate font-medium text-sm" dir="auto">
                <Marked query={option.messageId === null ? query : ""} text={option.title} />
              </span>
              {option.excerpt !== null && (
                <span className="line-clamp-2 text-muted-foreground text-sm" dir="auto">
                  <span className="sr-only">{option.role === "user" ? "You: " : "Answer: "}</span>
                  <Marked query={results.query} text={option.excerpt} />
                </span>
              )}
            </div>
          ))}
        </div>
        {results.next !== null && (
          <button className="sidebar-row text-muted-foreground" onClick={more} type="button">
            Show more
          </button>
        )}
        <p
          aria-live="polite"
          className={options.length > 0 && results.problem === null ? "sr-only" : "search-state"}
          data-testid="search-state"
          role="status"
        >
          {stateOf(query, searching, options.length, results.problem)}
        </p>
      </div>
    </dialog>
  );
}

function stateOf(query: string, searching: boolean, count: number, problem: string | null): string {
  if (problem !== null) return problem;
  if (query === "") return count === 0 ? "Your chats will be found here." : "";
  if (searching) return "Searching…";
  return count === 0 ? "Nothing found." : `${count} found.`;
}

function Marked({ text, query }: { readonly text: string; readonly query: string }) {
  if (query === "") return text;
  return piecesOf(text, query).map((piece, index) =>
    // biome-ignore lint/suspicious/noArrayIndexKey: a text's pieces do not move
    piece.match ? <mark key={index}>{piece.text}</mark> : piece.text,
  );
}
