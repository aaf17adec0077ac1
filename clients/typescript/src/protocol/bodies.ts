/**
 * The bodies of the HTTP interface, generated from `docs/openapi.json` by `scripts/gen_typescript.py`: change the
 * gateway's routes, not this file.
 */

/** The message is durable: it will be stored and answered. */
export interface Accepted {
  readonly chat_id: string;
  readonly message_id: string;
}

/** An API key without its secret; `prefix` is how the key begins. */
export interface ApiKey {
  readonly id: string;
  readonly name: string;
  readonly prefix: string;
  readonly scopes: readonly ("openai" | "read" | "write")[];
  readonly created_at: string;
  readonly last_used_at: string | null;
  readonly expires_at: string | null;
}

/** `PATCH /v1/chats/{chat_id}`. Absent fields stay, null clears. `tip_id` chooses the branch to go on from. */
export interface ChatChange {
  readonly title?: string | null;
  readonly model?: string | null;
  readonly system_prompt?: string | null;
  readonly tip_id?: string;
}

/** What a client needs before its first request. */
export interface Config {
  /** `ws://…`, `wss://…`, or a path on the page's own origin. */
  readonly push_url: string;
  readonly auth: SignIn;
  readonly default_model: string | null;
  /** The built-in demo model answers. */
  readonly demo: boolean;
  readonly version: string;
  readonly limits: ContentLimits;
}

export interface ContentLimits {
  readonly content_bytes: number;
}

/** A new API key. `secret` is shown once. */
export interface CreatedApiKey {
  readonly key: ApiKey;
  readonly secret: string;
}

/** A new link. `token` is the end of its address, `/shared/<token>`, and is shown once. */
export interface CreatedShareLink {
  readonly id: string;
  readonly chat_id: string;
  readonly live: boolean;
  readonly tip_id: string | null;
  readonly created_at: string;
  readonly token: string;
}

/** A session that has ended. */
export interface EndedSession {
  /** Where the browser ends the identity provider's session too; null: there is none. */
  readonly logout_url?: string | null;
}

/** `DELETE /v1/me`. The word confirms that the user means it. */
export interface Erasure {
  readonly confirm: "erase";
}

/** An invitation to a chat, as the invited user sees it: this, and nothing else of the chat. */
export interface Invitation {
  readonly chat_id: string;
  readonly title: string | null;
  readonly role: "owner" | "reader" | "writer";
  /** The user who invites; `invited_by_name` is null when there is no display name. */
  readonly invited_by: string;
  readonly invited_by_name: string | null;
  readonly created_at: string;
}

/** An API key with whose it is. */
export interface KeyOfUser {
  readonly user_id: string;
  readonly key: ApiKey;
}

/** The user who makes a request. */
export interface Me {
  readonly user_id: string;
  readonly name: string | null;
  readonly email: string | null;
  readonly role: "administrator" | "user";
  /** The user has no account at a provider. */
  readonly guest: boolean;
  readonly groups: readonly string[];
  readonly created_at: string;
  /** Of the request's session; null for an API key. */
  readonly session_id: string | null;
  readonly scopes: readonly ("openai" | "read" | "write")[];
}

/** A member of a chat, or a user who is invited to it. */
export interface Member {
  readonly user_id: string;
  readonly role: "owner" | "reader" | "writer";
  /** When the user became a member, or was invited. */
  readonly added_at: string;
  /** `invited`: sees nothing of the chat until the invitation is accepted. */
  readonly status?: "invited" | "member";
  /** The user's display name; null when there is none. */
  readonly name?: string | null;
}

/** The models that the user may use. */
export interface Models {
  /** Their names. */
  readonly items: readonly string[];
  /** The model of a chat and a message that name none. */
  readonly default: string | null;
  /** More about each, where the operator lists the models; else empty. */
  readonly details?: readonly OfferedModel[];
  readonly next?: string | null;
}

/** `POST /v1/chats/{chat_id}/messages/{message_id}/regenerate`. `id` names the new answer. */
export interface NewAnswer {
  readonly id?: string | null;
  readonly model?: string | null;
}

/** `POST /v1/api-keys`. */
export interface NewApiKey {
  readonly name: string;
  readonly scopes: readonly ("openai" | "read" | "write")[];
  /** Null: the key does not expire. */
  readonly expires_at?: string | null;
}

/** `POST /v1/chats`. With an `id` made by the client, the same request again returns the same chat. */
export interface NewChat {
  readonly id?: string | null;
  readonly title?: string | null;
  readonly model?: string | null;
  readonly system_prompt?: string | null;
}

/** `PUT /v1/chats/{chat_id}/members/{user_id}`. */
export interface NewMember {
  readonly role?: "reader" | "writer";
}

/** `POST /v1/chats/{chat_id}/messages`. */
export interface NewMessage {
  readonly content: string;
  /** Made by the client, so that a repeat is the same message; made here when absent. */
  readonly id?: string | null;
  /** Absent: continue at the chat's tip. Null: a new root. An id: a branch there. */
  readonly parent_id?: string | null;
  readonly model?: string | null;
  /** Names the answer; made here when absent. */
  readonly answer_id?: string | null;
  /** What happens where the chat has a running answer or queued messages. `enqueue`: the message is answered in its turn. `reject`: it is not stored (`chat_busy`). `interrupt`: the running answer is stopped and keeps its partial text, and the message is answered next. `rollback`: likewise, and it takes the place of the message whose answer was stopped. */
  readonly when_busy?: "enqueue" | "interrupt" | "reject" | "rollback";
}

/** `PUT /v1/chats/{chat_id}/owner`. */
export interface NewOwner {
  readonly user_id: string;
}

/** `POST /v1/session`. */
export interface NewSession {
  /** Replace a session that has ended by a new guest's. The chats of the old one are then lost. */
  readonly start_over?: boolean;
}

/** `POST /v1/chats/{chat_id}/shares`. */
export interface NewShareLink {
  /** Whether the link shows messages that are written after it was created. */
  readonly live?: boolean;
  /** Show the branch through this message; null: the branch that the chat goes on from. */
  readonly tip_id?: string | null;
}

/** A model of `MODELS`. */
export interface OfferedModel {
  readonly name: string;
  readonly display_name: string;
  readonly default: boolean;
  /** How much it reads at once; null: not stated. */
  readonly context_tokens: number | null;
  /** Of a million tokens; null: not stated. */
  readonly price: Price | null;
}

/** An OpenID provider: what its button says, and where it leads. */
export interface OidcProvider {
  readonly name: string;
  readonly login_url: string;
}

/** The price of a million tokens, in a currency of the operator's choice. */
export interface Price {
  readonly input: number;
  readonly output: number;
}

/** A problem detail. `type` is `about:blank`: `title` is the status in words, `code` says more. */
export interface Problem {
  readonly type?: string;
  readonly title: string;
  readonly status: number;
  /** For people. */
  readonly detail: string;
  /** For programs. */
  readonly code: string;
  /** Names the request in the logs. */
  readonly request_id?: string | null;
}

export interface PushTicket {
  readonly ticket: string;
  readonly expires_at: string;
}

/** A message that matches, with an excerpt in plain text around the match. */
export interface SearchHit {
  readonly chat_id: string;
  readonly chat_title: string | null;
  readonly message_id: string;
  readonly role: "assistant" | "user";
  readonly excerpt: string;
}

/** A session. */
export interface Session {
  readonly user_id: string;
  /** For `Authorization: Bearer`, until `expires_at`; `POST /v1/session` gives a new one. */
  readonly access_token: string;
  readonly expires_at: string;
  readonly user: Me;
  /** Whether the session is a new guest's, since the request had no session. */
  readonly new_guest?: boolean;
}

/** A session in the list of its user; `current` is that of the request. */
export interface SessionSummary {
  readonly id: string;
  readonly created_at: string;
  readonly last_used_at: string;
  readonly expires_at: string;
  readonly address: string;
  readonly user_agent: string;
  readonly method: string;
  readonly current: boolean;
}

/** A link without its token. */
export interface ShareLink {
  readonly id: string;
  readonly chat_id: string;
  /** Whether it shows messages that were written after it was created. */
  readonly live: boolean;
  /** The message that the shown branch goes through; null: the branch that the chat goes on from. */
  readonly tip_id: string | null;
  readonly created_at: string;
}

/** What a link shows: one branch, oldest first; `next` is the `after` of the page after it, null at the end. */
export interface SharedChat {
  readonly title: string | null;
  readonly messages: readonly SharedMessage[];
  readonly next?: number | null;
}

/** A message as a link shows it: nothing about members. */
export interface SharedMessage {
  readonly id: string;
  readonly parent_id: string | null;
  readonly role: "assistant" | "user";
  readonly content: string;
  readonly status: "complete" | "deleted" | "failed" | "pending" | "queued" | "rejected" | "sent" | "stopped" | "streaming";
  readonly model: string | null;
  readonly created_at: string;
}

/** How users sign in. */
export interface SignIn {
  /** Anybody may start a session. */
  readonly guest: boolean;
  readonly oidc?: OidcProvider | null;
}

/** `POST /v1/chats/{chat_id}/stop`. */
export interface StopAnswer {
  /** The answer to stop, or the prompt whose first answer to stop; null: the one that runs. */
  readonly message_id?: string | null;
}

/** One line of a user's usage: summed by model, or by day and model. */
export interface TokenUsage {
  readonly model: string;
  readonly answers: number;
  readonly input_tokens: number;
  readonly output_tokens: number;
  /** How many of the answers the provider did not count, so that their tokens are estimated. */
  readonly estimated?: number;
  /** By the prices of `MODELS` at the time of each answer; null where none had a price. */
  readonly cost?: number | null;
  /** In UTC; absent when days are not asked for. */
  readonly day?: string;
}

/** Whether a tool call that waits for approval is run. */
export interface ToolDecision {
  readonly approve: boolean;
}

/** What one user used of one model; `erased` is the user of everybody who was erased. */
export interface UsageOfUser {
  readonly user_id: string;
  readonly usage: TokenUsage;
}

/** A user. */
export interface User {
  readonly id: string;
  /** Who vouches for `subject`: the URL of an OpenID provider, `proxy`, `operator` (`parley users create`), or null for a guest. */
  readonly issuer: string | null;
  readonly subject: string | null;
  readonly email: string | null;
  readonly name: string | null;
  readonly role: "administrator" | "user";
  /** As the provider listed them at the last sign-in. */
  readonly groups: readonly string[];
  readonly disabled: boolean;
  readonly created_at: string;
  readonly last_seen_at: string;
  /** The user's content and personal data were removed; only the id is left. */
  readonly erased?: boolean;
}

/** `PATCH /v1/admin/users/{user_id}`. What is absent or null stays. */
export interface UserChange {
  readonly disabled?: boolean | null;
  readonly role?: "administrator" | "user" | null;
}
