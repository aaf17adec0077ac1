import type { Http, SharedChat } from "parley-client";
import { useEffect } from "react";
import { ErrorBoundary } from "../loading/ErrorBoundary";
import { ReloadNotice } from "../loading/ReloadNotice";
import { Markdown } from "../markdown/Markdown";
import { Problem } from "../requests/Problem";
import { useLoaded } from "../requests/useLoaded";
import { pathOf } from "../route";

interface SharedPageProps {
  readonly http: Http;
  readonly token: string;
}

/** A chat that a link shares, to be read without an account. */
export function SharedPage({ http, token }: SharedPageProps) {
  const shared = useLoaded<SharedChat>(token, () => http.shared(token));
  const { value, problem, reload } = shared;
  const title = value?.title || "Shared chat";

  useEffect(() => {
    document.title = `${title} · Parley`;
  }, [title]);

  useEffect(() => {
    // A link may show later messages.
    const refresh = () => {
      if (!document.hidden) reload();
    };
    document.addEventListener("visibilitychange", refresh);
    return () => document.removeEventListener("visibilitychange", refresh);
  });

  return (
    <div className="h-full overflow-y-auto" data-testid="shared" tabIndex={-1}>
      <main className="mx-auto w-full max-w-3xl px-4 pt-6 pb-10 md:px-6">
        <header className="mb-6 border-b pb-4">
          <h1 className="break-words font-semibold text-xl" dir="auto">
            {title}
          </h1>
          <p className="mt-1 text-muted-foreground text-sm">
            A shared chat, to be read only.{" "}
            <a className="link-button" href={pathOf(null)}>
              Your own chats
            </a>
          </p>
        </header>
        <ReloadNotice />
        <Problem text={problem} />
        {value !== null && (
          <ol aria-label="Messages" className="messages">
            {value.messages.map((message) => (
              <SharedMessage key={message.id} message={message} />
            ))}
          </ol>
        )}
      </main>
    </div>
  );
}

function SharedMessage({ message }: { readonly message: SharedChat["messages"][number] }) {
  const { id, role, content, status } = message;
  if (role === "user") {
    return (
      <li className="message prompt" data-message-id={id} data-testid="message-user">
        <h2 className="sr-only">Question</h2>
        <div className="bubble">
          <p className="bubble-text" dir="auto">
            {content || "This message has no text."}
          </p>
        </div>
      </li>
    );
  }
  return (
    <li className="message answer" data-message-id={id} data-testid="message-assistant">
      <h2 className="sr-only">Answer</h2>
      <ErrorBoundary
        fallback={<p className="whitespace-pre-wrap break-words">{content}</p>}
        retryOn={content}
      >
        <Markdown growing={false} text={content} />
      </ErrorBoundary>
      {status === "failed" && <p className="mt-1 text-muted-foreground text-sm">The answer failed.</p>}
      {status === "stopped" && <p className="mt-1 text-muted-foreground text-sm">Stopped.</p>}
    </li>
  );
}
