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
 * Needs no framework. What it promises: the text that {@link textOf} returns for an answer that is over is, byte for
 * byte, what is stored; a message that was sent once is one turn, however often the network made it go out.
 */

export { Backoff } from "./backoff";
export { type BranchItem, newestLeaf, queuedPrompts, reasoningOf, textOf, visibleBranch } from "./branch";
export { type ChatSnapshot, WatchedChat } from "./chat";
export { ChatList, type ChatListState } from "./chats";
export type { ConnectionState, ConnectionStatus } from "./connection";
export { Draft, Drafts } from "./drafts";
export {
  browserEnvironment,
  type Environment,
  type LastWords,
  type PageEvent,
  type SocketHandlers,
  type SocketLike,
} from "./environment";
export {
  Http,
  type Models,
  type NewChat,
  type NewMessage,
  type Problem,
  ProblemError,
  type SearchHit,
  type ServerConfig,
  SessionError,
  type SessionState,
  UnreachableError,
} from "./http";
export { isId, newId } from "./ids";
export {
  type ChatState,
  cursorOf,
  emptyState,
  type Generation,
  merge,
  mergeOlder,
  type Outcome,
} from "./merge";
export type { Observable } from "./observable";
export type { OutgoingMessage } from "./outbox";
export { connect, Parley } from "./parley";
export * from "./protocol";
export { LenientStore, MemoryStore, type OutgoingRecord, type Store, type StoreChange } from "./store";
