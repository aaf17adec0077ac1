import type { Environment } from "../environment.ts";
import { newId } from "../ids.ts";
import { type Observable, Subject } from "../observable.ts";
import type {
  ChatChange,
  Config,
  EndedSession,
  Models,
  NewAnswer,
  NewChat,
  NewMessage,
  NewSession,
  Problem,
  PushTicket,
  SearchHit,
  Session,
  SharedChat,
  StopAnswer,
  ToolDecision,
} from "../protocol/bodies.ts";
import type { Chat, Message, Page } from "../protocol/protocol.ts";

/** The body of a refusal, `application/problem+json` (RFC 9457); of a proxy's, perhaps only the status. */
export type PartialProblem = Partial<Problem> & Pick<Problem, "status">;

/** The server refused the request. */
export class ProblemError extends Error {
  readonly problem: PartialProblem;
  /** Seconds to wait before a retry (`Retry-After`); null when the server named none. */
  readonly retryAfter: number | null;

  constructor(problem: PartialProblem, retryAfter: number | null = null) {
    super(problem.detail ?? problem.title ?? `The server answered with status ${problem.status}.`);
    this.name = "ProblemError";
    this.problem = problem;
    this.retryAfter = retryAfter;
  }

  /** Whether the error is transient: the same request may succeed later. */
  get transient(): boolean {
    const { status } = this.problem;
    return status === 408 || status === 425 || status === 429 || status >= 500;
  }
}

/** No response arrived: the network failed or the request timed out. The outcome is unknown. */
export class UnreachableError extends Error {
  constructor(cause: unknown) {
    super("The server cannot be reached.", { cause });
    this.name = "UnreachableError";
  }
}

/** This browser has no session and cannot start one: `lost` or `refused` ({@link SessionState}). */
export class SessionError extends ProblemError {
  constructor({ problem, retryAfter }: ProblemError, message: string) {
    super({ ...problem, detail: message }, retryAfter);
    this.name = "SessionError";
  }
}

/** Whether a request that failed with this error may succeed later. */
export function isTransient(error: unknown): boolean {
  return error instanceof UnreachableError || (error instanceof ProblemError && error.transient);
}

/**
 * `lost`: the browser's cookie is not valid; it stays until the person starts over ({@link Http.startOver}). `refused`:
 * there is no cookie, and guests are not allowed.
 */
export type SessionState = "unknown" | "good" | "lost" | "refused";

export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

const TIMEOUT = 15_000;
/** Milliseconds for a ticket, which is small, has no effects and is requested again. */
const TICKET_TIMEOUT = 5_000;
/** Milliseconds before the access token's expiry from which it is renewed, and the session's idle time with it. */
const RENEWAL_MARGIN = 60_000;
/** The shortest time between two renewals, in milliseconds, whatever the clocks show. */
const RENEWAL_INTERVAL = 60_000;
/** The longest time between two renewals, in milliseconds: a wrong clock hides the expiry. */
const MAX_RENEWAL_INTERVAL = 24 * 60 * 60_000;

const SESSION_MESSAGES: Readonly<Record<"lost" | "refused", string>> = {
  lost: "This browser's session is not valid any more.",
  refused: "This server does not allow guests, and this browser has no session.",
};

/**
 * The typed HTTP interface. Authenticates with the session's cookie and renews the session before it expires.
 *
 * @throws {ProblemError} when the server refuses.
 * @throws {UnreachableError} when no response arrives.
 */
export class Http {
  private readonly fetch: Fetch;
  private readonly base: string;
  private readonly withLock: Environment["withLock"];
  private readonly sessionState = new Subject<SessionState>("unknown");
  private readonly userSubject = new Subject<string | null>(null);
  private readonly sessionSubject = new Subject<Session | null>(null);
  private renewedAt = 0;
  private renewAt = 0;
  private renewal: Promise<Session> | null = null;

  constructor({ fetch, base, withLock }: Pick<Environment, "fetch" | "base" | "withLock">) {
    this.fetch = fetch;
    this.base = base;
    this.withLock = withLock;
  }

  get state(): Observable<SessionState> {
    return this.sessionState;
  }

  /** The session that was started or renewed last. */
  get session(): Session | null {
    return this.sessionSubject.getSnapshot();
  }

  /** Changes with each start and renewal of a session. */
  get sessions(): Observable<Session | null> {
    return this.sessionSubject;
  }

  /** The session's user; null before the first session. */
  get user(): Observable<string | null> {
    return this.userSubject;
  }

  /**
   * Starts a session or renews the one of the cookie. Concurrent calls share one request, and a lock makes the tabs of a
   * browser do this one by one, with the cookie of the tab before, so that one browser is one guest.
   */
  startSession(): Promise<Session> {
    return this.renew({});
  }

  /** Replaces a cookie that is not valid by a new guest's; the chats of the old one become unreachable. */
  async startOver(): Promise<Session> {
    await this.renewal?.catch(() => undefined);
    return this.renew({ start_over: true });
  }

  /** Returns the session, after starting or renewing it when that is due. */
  async currentSession(): Promise<Session> {
    return this.session === null || this.renewalIsDue() ? this.startSession() : this.session;
  }

  private renew(body: NewSession): Promise<Session> {
    this.renewal ??= this.withLock("parley-session", () => this.send<Session>("POST", "/session", body))
      .catch((error: unknown) => {
        const state = sessionStateAfter(error);
        if (state === null) throw error;
        this.sessionState.set(state);
        throw new SessionError(error as ProblemError, SESSION_MESSAGES[state]);
      })
      .then((session) => {
        this.renewedAt = Date.now();
        this.renewAt = Math.min(
          Math.max(Date.parse(session.expires_at) - RENEWAL_MARGIN, this.renewedAt + RENEWAL_INTERVAL),
          this.renewedAt + MAX_RENEWAL_INTERVAL,
        );
        this.userSubject.set(session.user_id);
        this.sessionSubject.set(session);
        this.sessionState.set("good");
        return session;
      })
      .finally(() => {
        this.renewal = null;
      });
    return this.renewal;
  }

  config(): Promise<Config> {
    return this.send("GET", "/config");
  }

  models(): Promise<Models> {
    return this.request("GET", "/models");
  }

  pushTicket(): Promise<PushTicket> {
    return this.request("POST", "/push-ticket", {}, TICKET_TIMEOUT);
  }

  /** @param user The creator: the server refuses when the session is another user's. */
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
   * Sends a message. Once accepted it is persisted in a stream. A repeated id changes nothing.
   *
   * @param user The sender: the server refuses when the session is another user's.
   */
  async submit(chatId: string, message: NewMessage, user?: string): Promise<void> {
    await this.request("POST", `/chats/${chatId}/messages`, message, TIMEOUT, user);
  }

  async regenerate(chatId: string, messageId: string): Promise<void> {
    await this.request("POST", `/chats/${chatId}/messages/${messageId}/regenerate`, {
      id: newId(),
    } satisfies NewAnswer);
  }

  async deleteMessage(chatId: string, messageId: string): Promise<void> {
    await this.request("DELETE", `/chats/${chatId}/messages/${messageId}`);
  }

  async stop(chatId: string, messageId: string | null): Promise<void> {
    await this.request("POST", `/chats/${chatId}/stop`, {
      message_id: messageId,
    } satisfies StopAnswer);
  }

  async decideToolCall(chatId: string, messageId: string, callId: string, approve: boolean): Promise<void> {
    const call = encodeURIComponent(callId);
    await this.request("POST", `/chats/${chatId}/messages/${messageId}/tool-calls/${call}`, {
      approve,
    } satisfies ToolDecision);
  }

  /** Searches messages, the best match first. */
  search(text: string, before: string | null = null): Promise<Page<SearchHit>> {
    return this.request("GET", `/search${query({ q: text, before })}`);
  }

  /** Opens the server-sent events of a chat from `lastEventId`. The caller ends the stream by `signal`. */
  async openStream(chatId: string, lastEventId: string | null, signal: AbortSignal): Promise<Response> {
    const headers = { accept: "text/event-stream", ...(lastEventId && { "last-event-id": lastEventId }) };
    return this.authenticated(async () => {
      const response = await this.fetchOrThrow(`/chats/${chatId}/stream`, { headers, signal });
      if (!response.ok) throw await problemOf(response);
      return response;
    });
  }

  /** Ends the session of the request, or all sessions of its user. */
  endSession(everywhere: boolean): Promise<EndedSession | undefined> {
    return this.request("DELETE", everywhere ? "/sessions" : "/session");
  }

  /** Reads a chat by a share link's token: without a session where the server allows it. */
  async shared(token: string): Promise<SharedChat> {
    const path = `/shared/${encodeURIComponent(token)}`;
    const first = await this.sharedPage(path);
    const messages = [...first.messages];
    let next = first.next ?? null;
    while (next !== null) {
      const page = await this.sharedPage(`${path}?after=${next}`);
      messages.push(...page.messages);
      next = page.next ?? null;
    }
    return { title: first.title, messages };
  }

  private async sharedPage(path: string): Promise<SharedChat> {
    try {
      return await this.send("GET", path);
    } catch (error) {
      if (!(error instanceof ProblemError) || error.problem.status !== 401) throw error;
      return this.request("GET", path);
    }
  }

  /** Returns the address of a path of the interface, for a link. */
  addressOf(path: string): string {
    return `${this.base}/v1${path}`;
  }

  /** Makes a request with the session. */
  request<Reply>(
    method: string,
    path: string,
    body?: unknown,
    timeout = TIMEOUT,
    user?: string,
  ): Promise<Reply> {
    const headers = user === undefined ? {} : { "parley-user": user };
    return this.authenticated(() => this.send<Reply>(method, path, body, timeout, headers));
  }

  /** Makes a request with a valid session; renews the session and retries once after one that says it has ended. */
  private async authenticated<Reply>(request: () => Promise<Reply>): Promise<Reply> {
    if (this.renewalIsDue()) await this.startSession();
    try {
      return await request();
    } catch (error) {
      if (!endsSession(error)) throw error;
      await this.startSession();
      return request();
    }
  }

  /** Whether the session has to be renewed, which is also the case after the clock was set back. */
  private renewalIsDue(): boolean {
    const now = Date.now();
    const state = this.sessionState.getSnapshot();
    return now >= this.renewAt || now < this.renewedAt - RENEWAL_INTERVAL || state === "lost";
  }

  private async send<Reply>(
    method: string,
    path: string,
    body?: unknown,
    timeout = TIMEOUT,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Reply> {
    const response = await this.fetchOrThrow(path, {
      method,
      // Sent with every write, also without a body: a form on another site cannot send it (CSRF).
      headers: method === "GET" ? headers : { "content-type": "application/json", ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeout),
    });
    if (!response.ok) throw await problemOf(response);
    if (response.status === 204) return undefined as Reply;
    try {
      return (await response.json()) as Reply;
    } catch (error) {
      throw new UnreachableError(error);
    }
  }

  private async fetchOrThrow(path: string, init: RequestInit): Promise<Response> {
    try {
      return await this.fetch(this.addressOf(path), { credentials: "same-origin", ...init });
    } catch (error) {
      throw new UnreachableError(error);
    }
  }
}

/** Returns whether an error says that the session has ended, or that an administrator has disabled its user. */
function endsSession(error: unknown): boolean {
  return (
    error instanceof ProblemError && (error.problem.status === 401 || error.problem.code === "user_disabled")
  );
}

/** Returns the session state that follows from an error; null when the state is unchanged. */
function sessionStateAfter(error: unknown): "lost" | "refused" | null {
  if (!(error instanceof ProblemError)) return null;
  if (endsSession(error)) return "lost";
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
