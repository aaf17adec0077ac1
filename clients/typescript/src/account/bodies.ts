import type { Me } from "../protocol/bodies.ts";
import type { Message } from "../protocol/protocol.ts";

export type Scope = "openai" | "read" | "write";

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

/** A message as a link shows it. */
export type SharedMessage = Pick<
  Message,
  "content" | "created_at" | "id" | "model" | "parent_id" | "role" | "status"
>;

/** `GET /v1/shared/{token}`: what a link shows. */
export interface SharedChat {
  readonly title: string | null;
  /** One branch, from its root. */
  readonly messages: readonly SharedMessage[];
  /** The `after` of the page that follows; null or absent at the end. */
  readonly next?: number | null;
}

/** Who the user of a session is. */
export type SessionUser = Pick<Me, "email" | "guest" | "name" | "role">;
