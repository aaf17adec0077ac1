import { type ChatSnapshot, emptyState, type OutgoingMessage } from "parley-client";
import { aMessage, anId, CHAT, Room } from "parley-client/testing";
import { describe, expect, it } from "vitest";
import {
  entriesOf,
  isBelow,
  isRunning,
  type PromptEntry,
  runningAnswer,
  titleFrom,
} from "../../src/page/chat/entries";

function snapshot(room: Room, outbox: readonly Partial<OutgoingMessage>[] = []): ChatSnapshot {
  return {
    state: { ...emptyState(CHAT), messages: room.messages, chat: room.chat },
    outbox: outbox.map((message, index) => ({
      id: anId(0x900 + index),
      content: "",
      parent_id: undefined,
      status: "sending",
      problem: null,
      retryable: true,
      created_at: "2026-01-01T00:00:00Z",
      ...message,
    })),
    phase: "ready",
    problem: null,
    loadingOlder: false,
    presence: [],
  };
}

function talk(): Room {
  const room = new Room();
  room.ask("one");
  room.delta("first");
  room.finish();
  room.ask("two");
  room.delta("second");
  return room;
}

const shown = (of: ChatSnapshot, leaf: string | null = null) =>
  entriesOf(of, leaf).map((entry) =>
    entry.kind === "prompt" ? `${entry.content} (${entry.status})` : `answer (${entry.item.message.status})`,
  );

describe("what a chat shows", () => {
  it("is the branch, then what is queued, then what is on its way", () => {
    const room = talk();
    room.ask("three");
    expect(shown(snapshot(room, [{ content: "four" }]))).toEqual([
      "one (sent)",
      "answer (complete)",
      "two (sent)",
      "answer (pending)",
      "three (queued)",
      "four (sending)",
    ]);
  });

  it("counts what is answered before each prompt that waits", () => {
    const room = talk();
    for (const text of ["three", "four", "five"]) room.ask(text);
    const queued = entriesOf(snapshot(room), null).filter(
      (entry): entry is PromptEntry => entry.kind === "prompt" && entry.status === "queued",
    );
    expect(queued.map(({ content, ahead }) => [content, ahead])).toEqual([
      ["three", 0],
      ["four", 1],
      ["five", 2],
    ]);
  });

  it("ends where an edited prompt on its way begins", () => {
    const room = talk();
    const [, answer] = room.messages;
    expect(shown(snapshot(room, [{ content: "two!", parent_id: answer?.id ?? null }]))).toEqual([
      "one (sent)",
      "answer (complete)",
      "two! (sending)",
    ]);
    expect(shown(snapshot(room, [{ content: "one!", parent_id: null }]))).toEqual(["one! (sending)"]);
  });

  it("leaves out what was taken back", () => {
    const room = talk();
    room.messages = [...room.messages, aMessage({ id: anId(77), status: "deleted" })];
    expect(shown(snapshot(room))).toHaveLength(4);
  });
});

describe("whether there is something to stop", () => {
  it("is so from the moment a prompt is accepted until its answer is over", () => {
    const room = new Room();
    expect(isRunning(snapshot(room))).toBe(false);
    expect(isRunning(snapshot(room, [{ status: "sending" }]))).toBe(false);
    expect(isRunning(snapshot(room, [{ status: "accepted" }]))).toBe(true);
    room.ask("one");
    expect(isRunning(snapshot(room))).toBe(true);
    room.finish();
    expect(isRunning(snapshot(room))).toBe(false);
  });
});

describe("a title", () => {
  it.each([
    ["  Hello there\nand more", "Hello there"],
    ["", ""],
    ["x".repeat(60), "x".repeat(60)],
    ["\u{1F600}".repeat(61), `${"\u{1F600}".repeat(59)}…`],
  ])("of %j is %j", (content, title) => {
    expect(titleFrom(content)).toBe(title);
  });
});

describe("the answer that an edited prompt replaces", () => {
  it("is the one to the prompt, or to one that came after it; not one of another version", () => {
    const room = talk();
    const { messages, generation, chat } = { ...snapshot(room).state, generation: room.generation };
    const state = { ...emptyState(CHAT), messages, chat };
    const running = runningAnswer(state);
    expect(running?.id).toBe(generation?.message_id);
    const [one, answer, two] = messages;
    if (running === null || !one || !answer || !two) throw new Error("the chat is not as it was made");
    expect([one, answer, two].map(({ id }) => isBelow(state, running, id))).toEqual([true, true, true]);
    expect(isBelow(state, running, running.id)).toBe(false);
    expect(isBelow(state, answer, two.id)).toBe(false);
  });

  it("is none when none runs", () => {
    const room = new Room();
    expect(runningAnswer(snapshot(room).state)).toBeNull();
  });
});
