import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ChatState,
  cursorOf,
  emptyState,
  type Generation,
  merge,
  mergeOlder,
  type Outcome,
  type RoomFrame,
} from "../src/index.ts";
import { aMessage, CHAT, Room } from "../src/testing/room.ts";

interface Case {
  readonly name: string;
  readonly chat_id: string;
  readonly steps: readonly { readonly frame: RoomFrame; readonly outcome: Outcome }[];
  readonly expect: Partial<ChatState> & {
    readonly cursor?: unknown;
    readonly generation?: Partial<Generation> | null;
  };
}

const table = JSON.parse(
  readFileSync(new URL("../../../tests/cases/frames.json", import.meta.url), "utf8"),
) as {
  cases: Case[];
};

describe("the table of frames", () => {
  it.each(table.cases.map((row) => [row.name, row] as const))("%s", (_name, row) => {
    let state = emptyState(row.chat_id);
    row.steps.forEach(({ frame, outcome }, index) => {
      const before = state;
      const merged = merge(state, frame);
      expect(merged.outcome, `step ${index}`).toBe(outcome);
      if (outcome === "ignored") expect(merged.state).toBe(before);
      state = merged.state;
    });
    const { cursor, ...expected } = row.expect;
    expect(state).toMatchObject(expected);
    if (cursor !== undefined) expect(cursorOf(state)).toEqual(cursor);
  });
});

describe("merging a page of older messages", () => {
  it("puts it before the loaded messages, of which the newer versions stay", () => {
    const room = new Room();
    const { state } = merge(emptyState(CHAT), { ...room.snapshot(null), next: "older" });
    const first = room.prompt("first");
    const second = room.prompt("second");
    const withSecond = merge(state, { type: "message", chat_id: CHAT, version: 9, message: second }).state;
    const stale = { ...second, content: "stale", version: 0 };
    const merged = mergeOlder(withSecond, { items: [first, stale], next: null });
    expect(merged.messages.map((message) => message.content)).toEqual(["first", "second"]);
    expect(merged.next).toBeNull();
  });
});

describe("whatever frames are lost", () => {
  /** Events of an answer and of one reader's connection. */
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant("delta" as const), text: fc.string({ maxLength: 6 }) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant("reasoning" as const), text: fc.string({ maxLength: 6 }) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("attempt" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("finish" as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant("ask" as const), text: fc.string({ maxLength: 6 }) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("lose" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("cut" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("repeat" as const) }) },
  );

  it("a reader that watches again at a gap ends with exactly what the room holds", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const room = new Room();
        room.ask("Hello");
        let state = merge(emptyState(CHAT), room.snapshot(null)).state;
        let last: RoomFrame[] = [];
        const receive = (frames: readonly RoomFrame[]) => {
          for (const frame of frames) {
            const merged = merge(state, frame);
            state = merged.state;
            if (merged.outcome === "gap") watch();
          }
        };
        const watch = () => {
          for (let tries = 0; tries < 2; tries++) {
            const merged = merge(state, room.snapshot(cursorOf(state)));
            state = merged.state;
            if (merged.outcome !== "gap") return;
          }
          throw new Error("the whole snapshot was a gap");
        };
        for (const what of steps) {
          if (what.do === "cut") watch();
          else if (what.do === "repeat") receive(last);
          else if (what.do === "lose") room.perform({ do: "delta", text: "lost" });
          else {
            last = room.perform(what);
            // A connection can lose the last frames of one change.
            receive(last);
          }
        }
        watch();
        expect(state.messages).toEqual(room.messages);
        expect(state.generation?.text ?? null).toBe(room.generation?.text ?? null);
        expect(state.generation?.reasoning ?? null).toBe(room.generation?.reasoning ?? null);
        expect(state.version).toBe(room.version);
      }),
      { numRuns: 500 },
    );
  });

  it("a connection that ends between two frames of one change loses nothing", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), fc.nat(), (steps, seed) => {
        const room = new Room();
        room.ask("Hello");
        let state = merge(emptyState(CHAT), room.snapshot(null)).state;
        steps.forEach((what, index) => {
          if (what.do === "cut" || what.do === "repeat" || what.do === "lose") return;
          const frames = room.perform(what);
          const received = (seed + index) % (frames.length + 1);
          for (const frame of frames.slice(0, received)) state = merge(state, frame).state;
          if (received < frames.length) {
            const merged = merge(state, room.snapshot(cursorOf(state)));
            state = merged.outcome === "gap" ? merge(merged.state, room.snapshot(null)).state : merged.state;
          }
        });
        expect(state.messages).toEqual(room.messages);
        // Until a worker claims it, a generation appears in snapshots only.
        expect(state.generation?.text ?? "").toBe(room.generation?.text ?? "");
      }),
      { numRuns: 500 },
    );
  });
});

describe("a message that is known", () => {
  it("is not replaced by an older one", () => {
    const room = new Room();
    room.ask("Hello");
    const { state } = merge(emptyState(CHAT), room.snapshot(null));
    const older = aMessage({ ...room.messages[0], content: "old", version: 0 });
    const merged = merge(state, { type: "message", chat_id: CHAT, version: 1, message: older });
    expect(merged.outcome).toBe("ignored");
  });
});
