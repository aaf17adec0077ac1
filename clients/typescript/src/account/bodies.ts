import type { ApiKey, Me, Member } from "../protocol/bodies.ts";

export type Scope = ApiKey["scopes"][number];

export type Role = Member["role"];

/** Who the user of a session is. */
export type SessionUser = Pick<Me, "email" | "guest" | "name" | "role">;
