import { useEffect } from "react";
import { pathOf } from "../route";
import { useConfig } from "../session/context";

/** Whether the page is served from this machine, so that its reader can change the server's settings. */
function onThisMachine(): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(location.hostname);
}

/** The start page, before the first message of a chat. */
export function EmptyPage() {
  const demo = useConfig()?.demo === true;
  return (
    <div className="flex flex-[2] flex-col items-center justify-end gap-3 px-6 pb-6 text-center">
      <p className="text-balance font-semibold text-2xl tracking-tight md:text-3xl">
        What would you like to talk about?
      </p>
      {demo && (
        <p className="max-w-md text-muted-foreground text-sm">
          The built-in demo model answers here.
          {onThisMachine() && (
            <>
              {" "}
              Set <code>OPENAI_API_KEY</code> or <code>OPENAI_BASE_URL</code> to talk to a real one.
            </>
          )}
        </p>
      )}
    </div>
  );
}

const SUGGESTIONS = [
  "Explain how ocean tides work",
  "Write a Python script that renames photos by date",
  "Compare two ways to store events in PostgreSQL",
  "Help me word a reply to a difficult e-mail",
];

/** Suggested first messages, below the composer of the start page. */
export function Suggestions({ onChoose }: { onChoose(text: string): void }) {
  return (
    <ul aria-label="Suggestions" className="mt-4 flex flex-wrap justify-center gap-2">
      {SUGGESTIONS.map((text) => (
        <li key={text}>
          <button
            className="suggestion"
            onClick={() => {
              onChoose(text);
              document.querySelector<HTMLElement>("[data-testid=composer]")?.focus();
            }}
            type="button"
          >
            {text}
          </button>
        </li>
      ))}
    </ul>
  );
}

/** Placeholder while a chat loads; invisible at first, so that a fast response does not flicker. */
export function LoadingPage() {
  return (
    <div
      aria-busy="true"
      aria-label="Loading the chat"
      className="flex flex-1 justify-center px-6"
      role="status"
    >
      <div className="mt-8 w-full max-w-3xl animate-[appear_0.2s_0.3s_both] space-y-6">
        <div className="ml-auto h-10 w-1/2 rounded-2xl bg-muted" />
        <div className="h-4 w-3/4 rounded bg-muted" />
        <div className="h-4 w-2/3 rounded bg-muted" />
      </div>
    </div>
  );
}

interface UnavailablePageProps {
  readonly deleted: boolean;
  onNewChat(): void;
}

/** Shown for a chat that does not exist or is not accessible: the server does not distinguish the two. */
export function UnavailablePage({ deleted, onNewChat }: UnavailablePageProps) {
  return (
    <div
      className="flex flex-1 flex-col items-center justify-center gap-4 px-6 text-center"
      data-testid="unavailable"
    >
      <p className="font-medium">
        {deleted
          ? "This chat was deleted, or it is not shared with you any more."
          : "This chat does not exist, or it is not shared with you."}
      </p>
      <button className="button" onClick={onNewChat} type="button">
        Start a new chat
      </button>
    </div>
  );
}

/** Shown for an address that names nothing. */
export function UnknownPage({ onHome }: { onHome(): void }) {
  useEffect(() => {
    document.title = "Not found · Parley";
  }, []);
  return (
    <main
      className="flex h-full flex-col items-center justify-center gap-4 px-6 text-center"
      data-testid="not-found"
    >
      <h1 className="font-semibold text-2xl tracking-tight">There is nothing at this address.</h1>
      <p className="text-muted-foreground">The link may be incomplete, or for another server.</p>
      <a
        className="button"
        href={pathOf(null)}
        onClick={(event) => {
          event.preventDefault();
          onHome();
        }}
      >
        Go to your chats
      </a>
    </main>
  );
}
