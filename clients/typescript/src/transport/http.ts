import type { Environment } from "../environment.ts";
import { newId } from "../ids.ts";
import { type Observable, Subject } from "../observable.ts";
import type { Chat, Message, Page } from "../protocol/protocol.ts";

/** What the server says about itself (`GET /v1/config`). */
export interface ServerConfig {
  /** Where to open the socket: absolute, or relative to the page's origin. */
  readonly push_url: string;
  readonly guests: boolean;
  readonly default_model: string | null;
  /** Whether the built-in demo model answers. */
  readonly demo: boolean;
  readonly version: string;
  readonly limits: { readonly content_bytes: number };
}

export interface Session {
  readonly user_id: string;
  readonly access_token: string;
  readonly expires_at: string;
  /** Whether it began a guest: the browser had no cookie, or starts over. */
  readonly new_guest?: boolean;
}

export interface Ticket {
  readonly ticket: string;
  readonly expires_at: string;
}

export interface Models {
  readonly items: readonly string[];
  readonly default: string | null;
}

export interface NewChat {
  readonly id?: string;
  readonly title?: string | null;
  readonly model?: string | null;
  readonly system_prompt?: string | null;
}

/** A message that a search found. */
export interface SearchHit {
  readonly chat_id: string;
  readonly chat_title: string | null;
  readonly message_id: string;
  readonly role: "user" | "assistant";
  /** A line of it, around the match. */
  readonly excerpt: string;
}

/** What a person can change of a chat; what is absent stays. */
export interface ChatChange {
  readonly title?: string | null;
  readonly model?: string | null;
  readonly tip_id?: string;
}

export interface NewMessage {
  readonly id: string;
  readonly content: string;
  /** Absent: continue at the chat's tip. Null: a new root. An id: a branch there. */
  readonly parent_id?: string | null;
  readonly model?: string | null;
}

/** `application/problem+json` (RFC 9457). */
export interface Problem {
  readonly type?: string;
  readonly title?: string;
  readonly status: number;
  readonly detail?: string;
  readonly code?: string;
}

/** The server answered, and refused. */
export class ProblemError extends Error {
  readonly problem: Problem;
  /** Seconds after which to try again, when the server named them. */
  readonly retryAfter: number | null;

  constructor(problem: Problem, retryAfter: number | null = null) {
    super(problem.detail ?? problem.title ?? `The server answered with status ${problem.status}.`);
    this.name = "ProblemError";
    this.problem = problem;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request can succeed later: the server is busy or down, not of another opinion. */
  get transient(): boolean {
    const { status } = this.problem;
    return status === 408 || status === 425 || status === 429 || status >= 500;
  }
}

/** No answer came: the network is away, or the request took too long. The outcome is unknown. */
export class UnreachableError extends Error {
  constructor(cause: unknown) {
    super("The server cannot be reached.", { cause });
    this.name = "UnreachableError";
  }
}

/** This browser has no session, and cannot begin one: `lost` or `refused` ({@link SessionState}). */
export class SessionError extends ProblemError {
  constructor({ problem, retryAfter }: ProblemError, message: string) {
    super({ ...problem, detail: message }, retryAfter);
    this.name = "SessionError";
  }
}

/** Whether it makes sense to repeat what failed with this error. */
export function isTransient(error: unknown): boolean {
  return error instanceof UnreachableError || (error instanceof ProblemError && error.transient);
}

/**
 * `lost`: the browser's cookie does not verify here. It is kept until the person starts over ({@link Http.startOver}).
 * `refused`: there is none, and guests are not allowed.
 */
export type SessionState = "unknown" | "good" | "lost" | "refused";

export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

const TIMEOUT = 15_000;
/** The same for a ticket: small, without effects, and asked for again. */
const TICKET_TIMEOUT = 5_000;
/** A session this near to its end (milliseconds) is renewed before the next request, which keeps a guest's chats. */
const RENEWAL_MARGIN = 5 * 60_000;
/** But not more often than this, whatever the clocks say. */
const RENEWAL_INTERVAL = 60_000;
/** And at least so often, since a clock that was set wrong says nothing about the session's end. */
const LONGEST_UNRENEWED = 24 * 60 * 60_000;

const PROBLEMS: Readonly<Record<"lost" | "refused", string>> = {
  lost: "This browser's session is not valid here any more.",
  refused: "This server takes no guests, and this browser has no session here.",
};

/**
 * The HTTP interface, typed. Authenticates by the session's cookie and renews the session when it ends.
 *
 * @throws {ProblemError} when the server refuses.
 * @throws {UnreachableError} when no answer comes.
 */
export class Http {
  private readonly fetch: Fetch;
  private readonly base: string;
  private readonly exclusively: Environment["exclusively"];
  private readonly sessionState = new Subject<SessionState>("unknown");
  private readonly userSubject = new Subject<string | null>(null);
  /** The session that was begun or renewed last. */
  session: Session | null = null;
  private renewedAt = 0;
  private renewAt = 0;
  private renewal: Promise<Session> | null = null;

  constructor({ fetch, base, exclusively }: Pick<Environment, "fetch" | "base" | "exclusively">) {
    this.fetch = fetch;
    this.base = base;
    this.exclusively = exclusively;
  }

  get state(): Observable<SessionState> {
    return this.sessionState;
  }

  /** The user that the session belongs to; null before the first one. */
  get user(): Observable<string | null> {
    return this.userSubject;
  }

  /**
   * Starts a session, or goes on with the one of the cookie. Concurrent calls share one request, and the tabs of a
   * browser take turns: each finds the cookie that the one before it got, so that one browser is one guest.
   */
  startSession(): Promise<Session> {
    return this.renew({});
  }

  /** Gives a cookie that does not verify up for a new guest's; whatever it named cannot be reached any more. */
  async startOver(): Promise<Session> {
    await this.renewal?.catch(() => undefined);
    return this.renew({ start_over: true });
  }

  /** The session that requests are made with; started or renewed first when that is due. */
  async currentSession(): Promise<Session> {
    return this.session === null || this.renewalIsDue() ? this.startSession() : this.session;
  }

  private renew(body: { readonly start_over?: true }): Promise<Session> {
    this.renewal ??= this.exclusively("parley-session", () => this.send<Session>("POST", "/session", body))
      .catch((error: unknown) => {
        const state = stateAfter(error);
        if (state === null) throw error;
        this.sessionState.set(state);
        throw new SessionError(error as ProblemError, PROBLEMS[state]);
      })
      .then((session) => {
        this.session = session;
        this.renewedAt = Date.now();
        this.renewAt = Math.min(
          Math.max(Date.parse(session.expires_at) - RENEWAL_MARGIN, this.renewedAt + RENEWAL_INTERVAL),
          this.renewedAt + LONGEST_UNRENEWED,
        );
        this.userSubject.set(session.user_id);
        this.sessionState.set("good");
        return session;
      })
      .finally(() => {
        this.renewal = null;
      });
    return this.renewal;
  }

  config(): Promise<ServerConfig> {
    return this.send("GET", "/config");
  }

  models(): Promise<Models> {
    return this.request("GET", "/models");
  }

  pushTicket(): Promise<Ticket> {
    return this.request("POST", "/push-ticket", {}, TICKET_TIMEOUT);
  }

  /** @param user Who creates it, and nobody else: refused when the session is another user's. */
  createChat(chat: NewChat, user?: string): Promise<Chat> {
    return this.request("POST", "/chats", chat, TIMEOUT, user);
  }

  listChats(before: string | null = null, limit = 50): Promise<Page<Chat>> {
    return this.request("GET", `/chats${query({ before, limit })}`);
  }

  updateChat(chatId: string, change: ChatChange): Promise<Chat> {
    return this.request("PATCH", `/chats/${chatId}`, change);
  }

  async deleteChat(chatId: string): Promise<void> {
    await this.request("DELETE", `/chats/${chatId}`);
  }

  listMessages(chatId: string, before: string | null = null, limit = 50): Promise<Page<Message>> {
    return this.request("GET", `/chats/${chatId}/messages${query({ before, limit })}`);
  }

  getMessage(chatId: string, messageId: string): Promise<Message> {
    return this.request("GET", `/chats/${chatId}/messages/${messageId}`);
  }

  /**
   * Accepted means kept: the message is in a durable stream. The same id again changes nothing.
   *
   * @param user Who sends it, and nobody else: refused when the session is another user's.
   */
  async submit(chatId: string, message: NewMessage, user?: string): Promise<void> {
    await this.request("POST", `/chats/${chatId}/messages`, message, TIMEOUT, user);
  }

  async regenerate(chatId: string, messageId: string): Promise<void> {
    await this.request("POST", `/chats/${chatId}/messages/${messageId}/regenerate`, { id: newId() });
  }

  async deleteMessage(chatId: string, messageId: string): Promise<void> {
    await this.request("DELETE", `/chats/${chatId}/messages/${messageId}`);
  }

  async stop(chatId: string, messageId: string | null): Promise<void> {
    await this.request("POST", `/chats/${chatId}/stop`, { message_id: messageId });
  }

  /** Finds messages, the best match first. */
  search(text: string, before: string | null = null): Promise<Page<SearchHit>> {
    return this.request("GET", `/search${query({ q: text, before })}`);
  }

  /** Opens the server-sent events of a chat, from `lastEventId` on. The caller ends it by `signal`. */
  async openStream(chatId: string, lastEventId: string | null, signal: AbortSignal): Promise<Response> {
    const headers = { accept: "text/event-stream", ...(lastEventId && { "last-event-id": lastEventId }) };
    return this.authenticated(async () => {
      const response = await this.reach(`/chats/${chatId}/stream`, { headers, signal });
      if (!response.ok) throw await problemOf(response);
      return response;
    });
  }

  private request<Answer>(
    method: string,
    path: string,
    body?: unknown,
    timeout = TIMEOUT,
    user?: string,
  ): Promise<Answer> {
    const headers = user === undefined ? {} : { "parley-user": user };
    return this.authenticated(() => this.send<Answer>(method, path, body, timeout, headers));
  }

  /** Makes a request with a session that is valid; renews it once when the server says that it is not. */
  private async authenticated<Answer>(request: () => Promise<Answer>): Promise<Answer> {
    if (this.renewalIsDue()) await this.startSession();
    try {
      return await request();
    } catch (error) {
      if (!(error instanceof ProblemError) || error.problem.status !== 401) throw error;
      await this.startSession();
      return request();
    }
  }

  /** Also after the clock was set back, by which nothing can be measured. */
  private renewalIsDue(): boolean {
    const now = Date.now();
    const state = this.sessionState.getSnapshot();
    return now >= this.renewAt || now < this.renewedAt - RENEWAL_INTERVAL || state === "lost";
  }

  private async send<Answer>(
    method: string,
    path: string,
    body?: unknown,
    timeout = TIMEOUT,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const response = await this.reach(path, {
      method,
      // Said with every write, also without a body: a form of another site cannot say it.
      headers: method === "GET" ? headers : { "content-type": "application/json", ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeout),
    });
    if (!response.ok) throw await problemOf(response);
    if (response.status === 204) return undefined as Answer;
    try {
      return (await response.json()) as Answer;
    } catch (error) {
      throw new UnreachableError(error);
    }
  }

  private async reach(path: string, init: RequestInit): Promise<Response> {
    try {
      return await this.fetch(`${this.base}/v1${path}`, { credentials: "same-origin", ...init });
    } catch (error) {
      throw new UnreachableError(error);
    }
  }
}

/** What a failure to begin a session means for it; null when it means nothing. */
function stateAfter(error: unknown): "lost" | "refused" | null {
  if (!(error instanceof ProblemError)) return null;
  if (error.problem.status === 401) return "lost";
  return error.problem.code === "guests_not_allowed" ? "refused" : null;
}

function query(parameters: Record<string, string | number | null>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null) search.set(name, String(value));
  }
  return `?${search}`;
}

async function problemOf(response: Response): Promise<ProblemError> {
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  const retryAfter = Number.isFinite(seconds) ? seconds : null;
  try {
    const problem = (await response.json()) as Partial<Problem>;
    return new ProblemError({ ...problem, status: response.status }, retryAfter);
  } catch {
    return new ProblemError({ status: response.status }, retryAfter);
  }
}
