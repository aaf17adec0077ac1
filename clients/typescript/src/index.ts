/**
 * Parley's client library: connects, resumes and merges, so that a page only draws.
 *
 * ```ts
 * const parley = connect();
 * const chat = parley.watch(chatId);
 * chat.subscribe(() => draw(chat.getSnapshot()));
 * chat.send("Hello");
 * ```
 *
 * Needs no framework. Guarantees: the text that {@link textOf} returns for a completed answer equals the stored text byte
 * for byte; a message is delivered at least once under one id, of which the server makes one turn.
 */

export { Account } from "./account/account.ts";
export type { Role, Scope, SessionUser } from "./account/bodies.ts";
export { InvitationList } from "./account/invitations.ts";
export { Sharing } from "./account/sharing.ts";
export {
  type AnswerPart,
  type BranchItem,
  newestLeaf,
  partsOf,
  queuedPrompts,
  reasoningOf,
  textOf,
  visibleBranch,
} from "./chats/branch.ts";
export { type ChatSnapshot, WatchedChat } from "./chats/chat.ts";
export { ChatList, type ChatListState } from "./chats/chats.ts";
export {
  type ChatState,
  cursorOf,
  emptyState,
  type Generation,
  merge,
  mergeOlder,
  type Outcome,
} from "./chats/merge.ts";
export type { Calls } from "./chats/toolCalls.ts";
export {
  browserEnvironment,
  type Environment,
  type PageEvent,
  type SocketHandlers,
  type SocketLike,
  type TabStorage,
} from "./environment.ts";
export { isId, newId } from "./ids.ts";
export { type Observable, Subject } from "./observable.ts";
export { connect, Parley } from "./parley.ts";
export type * from "./protocol/bodies.ts";
export * from "./protocol/protocol.ts";
export { Draft, Drafts } from "./storage/drafts.ts";
export type { OutgoingMessage } from "./storage/outbox.ts";
export {
  FallbackStore,
  MemoryStore,
  type OutgoingRecord,
  type Store,
  type StoreChange,
  type StoredUser,
} from "./storage/store.ts";
export { Backoff } from "./transport/backoff.ts";
export type { ConnectionState, ConnectionStatus } from "./transport/connection.ts";
export {
  Http,
  type PartialProblem,
  ProblemError,
  SessionError,
  type SessionState,
  UnreachableError,
} from "./transport/http.ts";
