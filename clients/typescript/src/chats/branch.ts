import { isTerminal, type Message, type ToolCall } from "../protocol/protocol.ts";
import { byCreation, type ChatState, type Generation } from "./merge.ts";
import { callsOf } from "./toolCalls.ts";

/** One message of the visible branch. */
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
  // A cycle, which the store never creates, must not hang the page.
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

/** Trees by list of messages. A list is replaced when a message changes, and not by deltas of the running answer. */
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

/** Returns the queued prompts in the order in which they will be answered. */
export function queuedPrompts(state: ChatState): Message[] {
  return state.messages.filter((message) => message.status === "queued").sort(byCreation);
}

/** Returns the leaf of the most recently extended branch through `id`, which is shown when a reader switches to `id`. */
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

/** Returns the text of a message; of a running answer, the text streamed so far. */
export function textOf(item: Pick<BranchItem, "message" | "generation">): string {
  return item.generation?.text ?? item.message.content;
}

/** Returns the reasoning of a message; of a running answer, the reasoning streamed so far. */
export function reasoningOf(item: Pick<BranchItem, "message" | "generation">): string {
  return item.generation?.reasoning ?? item.message.reasoning;
}

/** A piece of an answer as a page shows it. `key` stays while the answer grows. */
export type AnswerPart = { readonly key: string } & (
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "tool"; readonly call: ToolCall }
);

/** Returns the text and the tool calls of a message in the order in which the model wrote them, without reasoning. */
export function partsOf(item: Pick<BranchItem, "message" | "generation">): AnswerPart[] {
  const text = textOf(item);
  const { tool_calls, layout } = callsOf(item.generation ?? item.message, text, reasoningOf(item));
  const parts: AnswerPart[] = [];
  let position = 0;
  let called = 0;
  const addText = (end: number) => {
    const more = text.slice(position, end);
    position = end;
    if (more === "") return;
    const last = parts.at(-1);
    const known = last?.kind === "text" ? last.text : "";
    if (known !== "") parts.pop();
    parts.push({ kind: "text", key: `text-${called}`, text: known + more });
  };
  for (const { kind, length = 0 } of tool_calls.length === 0 ? [] : layout) {
    const call = kind === "tool" ? tool_calls[called] : undefined;
    if (call !== undefined) parts.push({ kind: "tool", key: `call-${called++}`, call });
    if (kind === "text") addText(after(text, position, length));
  }
  addText(text.length);
  return parts;
}

/** Returns the index that is so many code points after another one. */
function after(text: string, start: number, points: number): number {
  let index = start;
  for (let left = points; left > 0 && index < text.length; left -= 1) {
    index += (text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1;
  }
  return index;
}

function generationOf(state: ChatState, message: Message): Generation | null {
  const { generation } = state;
  return generation?.message_id === message.id && !isTerminal(message.status) ? generation : null;
}

/** Whether a message is part of the tree: a queued prompt gets its parent when it starts. */
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
