import type { Config, Session } from "../protocol/bodies.ts";
import type { Message } from "../protocol/protocol.ts";

/** A user as `GET /v1/me` returns it to itself. */
export interface Me {
  readonly user_id: string;
  readonly guest: boolean;
  readonly name: string | null;
  readonly email: string | null;
  readonly role: "administrator" | "user";
  readonly groups?: readonly string[];
  readonly created_at?: string;
}

/** A session of the user: a browser or a program that is signed in. */
export interface SessionSummary {
  readonly id: string;
  readonly created_at: string;
  readonly last_used_at: string;
  readonly expires_at: string;
  readonly address: string;
  readonly user_agent: string;
  /** How it was signed in: `guest`, `oidc`, `proxy`. */
  readonly method: string;
  /** Whether the request was made with it. */
  readonly current: boolean;
}

export type Scope = "openai" | "read" | "write";

/** An API key without its secret. */
export interface ApiKey {
  readonly id: string;
  readonly name: string;
  /** How the key begins. */
  readonly prefix: string;
  readonly scopes: readonly Scope[];
  readonly created_at: string;
  readonly last_used_at: string | null;
  readonly expires_at: string | null;
}

/** A new API key. `secret` is shown once. */
export interface CreatedApiKey {
  readonly key: ApiKey;
  readonly secret: string;
}

/** `POST /v1/api-keys`. */
export interface NewApiKey {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Null: it does not expire. */
  readonly expires_at: string | null;
}

export type Role = "owner" | "reader" | "writer";

/** A member of a chat, or a user who is invited to it. */
export interface ChatMember {
  readonly user_id: string;
  readonly name?: string | null;
  readonly role: Role;
  readonly status?: "invited" | "member";
  readonly added_at: string;
}

/** An invitation of the user to a chat. */
export interface Invitation {
  readonly chat_id: string;
  readonly title: string | null;
  readonly role: Role;
  readonly invited_by: string;
  readonly invited_by_name?: string | null;
  readonly created_at: string;
}

/** A read-only link to a chat or to one branch of it. */
export interface ShareLink {
  readonly id: string;
  /** Whether the link shows messages that were written after it was made. */
  readonly live: boolean;
  readonly created_at: string;
}

/** A new link, with its address' secret: shown once. */
export interface CreatedShareLink extends ShareLink {
  readonly token: string;
}

/** `GET /v1/shared/{token}`: what a link shows. */
export interface SharedChat {
  readonly title: string | null;
  /** One branch, from its root. */
  readonly messages: readonly Message[];
}

/** Who the user of a session is. */
export type SessionUser = Pick<Me, "email" | "guest" | "name" | "role">;

/** How one signs in here. */
export interface SignIn {
  /** Whether a browser without a session becomes a guest. */
  readonly guest: boolean;
  /** The identity provider; null when there is none. */
  readonly oidc: { readonly name: string; readonly login_url: string } | null;
}

/** `POST /v1/session`. */
export type UserSession = Session & { readonly user?: SessionUser };

/** `GET /v1/config`. */
export type ServerConfig = Config & { readonly auth?: SignIn };

/** `DELETE /v1/session`. */
export interface EndedSession {
  /** Where the identity provider ends its own session. */
  readonly logout_url?: string | null;
}
