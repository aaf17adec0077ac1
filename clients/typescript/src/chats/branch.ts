import { isTerminal, type Message } from "../protocol/protocol.ts";
import { byCreation, type ChatState, type Generation } from "./merge.ts";

/** One turn's half as a reader sees it. */
export interface BranchItem {
  readonly message: Message;
  /** Other messages with the same parent and role, this one among them, oldest first. */
  readonly siblings: readonly string[];
  /** The running answer, when this message is it. */
  readonly generation: Generation | null;
}

/**
 * Returns the messages from the oldest one loaded down to `leaf`, in order.
 *
 * @param leaf Where the branch ends: a reader's own choice, else the chat's tip.
 */
export function visibleBranch(state: ChatState, leaf: string | null = null): BranchItem[] {
  const { placed, byId, siblings } = treeOf(state.messages);
  const seen = new Set<string>();
  const branch: BranchItem[] = [];
  const start = leaf ?? state.chat?.tip_id ?? null;
  let message = start === null ? undefined : byId.get(start);
  message ??= placed.at(-1);
  // A circle, which the store never makes, must not hang the page.
  while (message !== undefined && !seen.has(message.id)) {
    seen.add(message.id);
    branch.push({
      message,
      siblings: siblings.get(siblingKey(message)) ?? [message.id],
      generation: generationOf(state, message),
    });
    message = message.parent_id === null ? undefined : byId.get(message.parent_id);
  }
  return branch.reverse();
}

interface Tree {
  readonly placed: readonly Message[];
  readonly byId: ReadonlyMap<string, Message>;
  readonly siblings: ReadonlyMap<string, readonly string[]>;
}

/** Trees of lists of messages, which are made anew when they change: while an answer grows, they stay the same. */
const trees = new WeakMap<readonly Message[], Tree>();

function treeOf(messages: readonly Message[]): Tree {
  const known = trees.get(messages);
  if (known !== undefined) return known;
  const placed = messages.filter(isPlaced);
  const tree = {
    placed,
    byId: new Map(placed.map((message) => [message.id, message])),
    siblings: groupSiblings(placed),
  };
  trees.set(messages, tree);
  return tree;
}

/** Prompts that wait for their turn, in the order in which they will be answered. */
export function queuedPrompts(state: ChatState): Message[] {
  return state.messages.filter((message) => message.status === "queued").sort(byCreation);
}

/** The end of the branch through `id` that grew last: where a reader who switches to `id` arrives. */
export function newestLeaf(state: ChatState, id: string): string {
  const children = new Map<string, Message>();
  for (const message of state.messages) {
    // Messages are in order of creation, so the newest child of each parent stays.
    if (isPlaced(message) && message.parent_id !== null) children.set(message.parent_id, message);
  }
  const seen = new Set<string>();
  let leaf = id;
  for (
    let child = children.get(leaf);
    child !== undefined && !seen.has(child.id);
    child = children.get(leaf)
  ) {
    seen.add(child.id);
    leaf = child.id;
  }
  return leaf;
}

/** The text of a message as far as it is known: of a running answer, what has been streamed. */
export function textOf(item: Pick<BranchItem, "message" | "generation">): string {
  return item.generation?.text ?? item.message.content;
}

/** The reasoning of a message as far as it is known. */
export function reasoningOf(item: Pick<BranchItem, "message" | "generation">): string {
  return item.generation?.reasoning ?? item.message.reasoning;
}

function generationOf(state: ChatState, message: Message): Generation | null {
  const { generation } = state;
  return generation?.message_id === message.id && !isTerminal(message.status) ? generation : null;
}

/** Whether a message has its place in the tree: queued prompts get theirs when they start. */
function isPlaced(message: Message): boolean {
  return message.status !== "queued" && message.status !== "deleted";
}

function siblingKey(message: Message): string {
  return `${message.role} ${message.parent_id ?? ""}`;
}

function groupSiblings(messages: readonly Message[]): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const message of messages) {
    const key = siblingKey(message);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [message.id]);
    else group.push(message.id);
  }
  return groups;
}
