import { describe, expect, it } from "vitest";
import {
  type ChatState,
  emptyState,
  type Message,
  newestLeaf,
  queuedPrompts,
  visibleBranch,
} from "../src/index.ts";
import { aMessage, anId, CHAT, Room } from "../src/testing/room.ts";

/**
 *     1 prompt ─┬─ 2 answer ── 4 prompt ── 5 answer
 *               └─ 3 answer
 *     6 prompt (another root) ── 7 answer
 */
const [p1, a2, a3, p4, a5, p6, a7] = [
  at(1, null, "user"),
  at(2, 1, "assistant"),
  at(3, 1, "assistant"),
  at(4, 2, "user"),
  at(5, 4, "assistant"),
  at(6, null, "user"),
  at(7, 6, "assistant"),
] as const;

function at(number: number, parent: number | null, role: Message["role"]): Message {
  return aMessage({
    id: anId(number),
    parent_id: parent === null ? null : anId(parent),
    role,
    status: role === "user" ? "sent" : "complete",
    created_at: `2026-01-01T00:00:0${number}Z`,
  });
}

function state(messages: readonly Message[], tip: Message | null): ChatState {
  return { ...emptyState(CHAT), messages, chat: { ...new Room().chat, tip_id: tip?.id ?? null } };
}

const TREE = [p1, a2, a3, p4, a5, p6, a7];
const ids = (branch: ReturnType<typeof visibleBranch>) => branch.map(({ message }) => message.id);

describe("the visible branch", () => {
  it("contains the messages from the root to the chat's tip", () => {
    expect(ids(visibleBranch(state(TREE, a5)))).toEqual([p1, a2, p4, a5].map(({ id }) => id));
    expect(ids(visibleBranch(state(TREE, a7)))).toEqual([p6, a7].map(({ id }) => id));
  });

  it("ends at the reader's own choice", () => {
    expect(ids(visibleBranch(state(TREE, a5), a3.id))).toEqual([p1, a3].map(({ id }) => id));
  });

  it("knows the siblings of each message, roots among them", () => {
    const branch = visibleBranch(state(TREE, a5));
    expect(branch.map(({ siblings }) => siblings)).toEqual([
      [p1.id, p6.id],
      [a2.id, a3.id],
      [p4.id],
      [a5.id],
    ]);
  });

  it("starts at the first loaded message", () => {
    expect(ids(visibleBranch(state([p4, a5], a5)))).toEqual([p4.id, a5.id]);
  });

  it("ends at the newest message when the tip is not there", () => {
    expect(ids(visibleBranch(state([p1, a2], a5)))).toEqual([p1.id, a2.id]);
    expect(visibleBranch(state([], null))).toEqual([]);
  });

  it("has the running answer at its message, until that is over", () => {
    const generation = {
      generation_id: anId(99),
      message_id: a5.id,
      attempt: 1,
      status: "running" as const,
      seq: 1,
      text: "so far",
      reasoning: "",
      tool_calls: [],
      layout: [],
      retry_at: null,
    };
    const pending = TREE.map((message) => (message === a5 ? { ...a5, status: "pending" as const } : message));
    expect(visibleBranch({ ...state(pending, a5), generation }).at(-1)?.generation?.text).toBe("so far");
    expect(visibleBranch({ ...state(TREE, a5), generation }).at(-1)?.generation).toBeNull();
  });

  it("is finite in a circle", () => {
    const circle = [
      { ...p1, parent_id: a2.id },
      { ...a2, parent_id: p1.id },
    ];
    expect(visibleBranch(state(circle, a2))).toHaveLength(2);
    expect(newestLeaf(state(circle, a2), p1.id)).toBe(p1.id);
  });
});

describe("prompts that wait", () => {
  it("are not part of the tree, whatever their parent is, and stay in order", () => {
    const queued = [at(9, null, "user"), at(8, null, "user")].map((message) => ({
      ...message,
      status: "queued" as const,
    }));
    const deleted = { ...at(3, null, "user"), id: anId(77), status: "deleted" as const };
    const all = state([...TREE, ...queued, deleted], a5);
    expect(visibleBranch(all)[0]?.siblings).toEqual([p1.id, p6.id]);
    expect(queuedPrompts(all).map(({ id }) => id)).toEqual([anId(8), anId(9)]);
  });
});

describe("switching to another version", () => {
  it("arrives at the newest end of its branch", () => {
    expect(newestLeaf(state(TREE, a5), a2.id)).toBe(a5.id);
    expect(newestLeaf(state(TREE, a5), a3.id)).toBe(a3.id);
    expect(newestLeaf(state(TREE, a5), p6.id)).toBe(a7.id);
    expect(newestLeaf(state(TREE, a5), p1.id)).toBe(a3.id);
  });
});
