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

export {
  type BranchItem,
  newestLeaf,
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
export {
  browserEnvironment,
  type Environment,
  type LastWords,
  type PageEvent,
  type SocketHandlers,
  type SocketLike,
} from "./environment.ts";
export { isId, newId } from "./ids.ts";
export { type Observable, Subject } from "./observable.ts";
export { connect, Parley } from "./parley.ts";
export * from "./protocol/protocol.ts";
export { Draft, Drafts } from "./storage/drafts.ts";
export type { OutgoingMessage } from "./storage/outbox.ts";
export {
  LenientStore,
  MemoryStore,
  type OutgoingRecord,
  type Store,
  type StoreChange,
} from "./storage/store.ts";
export { Backoff } from "./transport/backoff.ts";
export type { ConnectionState, ConnectionStatus } from "./transport/connection.ts";
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
} from "./transport/http.ts";
