import fc from "fast-check";
import { describe, expect, it } from "vitest";
import cases from "../../../tests/cases/frames.json";
import { SERVER_FRAMES } from "../src/protocol/frames.ts";
import { decodeFrame } from "../src/protocol/protocol.ts";

const DELTA = {
  type: "delta",
  chat_id: "c",
  generation_id: "g",
  attempt: 1,
  from: 1,
  to: 2,
  kind: "text",
  text: "Hello",
};

function decode(frame: unknown) {
  return decodeFrame(JSON.stringify(frame));
}

describe("a frame is validated before it is used", () => {
  it("is returned unchanged when it matches its schema", () => {
    expect(decode(DELTA)).toEqual(DELTA);
    expect(decode({ ...DELTA, new_field: {} })).toEqual({ ...DELTA, new_field: {} });
  });

  it("is not used when a field is missing", () => {
    for (const field of Object.keys(DELTA)) {
      expect(decode(Object.fromEntries(Object.entries(DELTA).filter(([name]) => name !== field)))).toBeNull();
    }
  });

  it("is not used when a field is of another type", () => {
    for (const field of Object.keys(DELTA)) {
      for (const value of [null, 1.5, [], {}, true]) expect(decode({ ...DELTA, [field]: value })).toBeNull();
    }
  });

  it("is not used when something within it is wrong", () => {
    const snapshot = {
      type: "snapshot",
      chat_id: "c",
      version: 1,
      recovered: false,
      messages: [{}],
      generation: null,
    };
    expect(decode({ ...snapshot, chat: {} })).toBeNull();
    expect(decode({ type: "chat", chat_id: "c", version: 1, chat: null })).not.toBeNull();
    expect(decode({ type: "chat", chat_id: "c", version: 1, chat: "gone" })).toBeNull();
  });

  it("is not used when its type is unknown or a name that every object has", () => {
    for (const type of ["news", "constructor", "__proto__", "toString", 1, null]) {
      expect(decode({ ...DELTA, type })).toBeNull();
    }
  });

  it("is never anything but a frame, whatever comes", () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.string()), (value) => {
        expect(decodeFrame(typeof value === "string" ? value : JSON.stringify(value))).toBeNull();
      }),
    );
  });

  it("is valid in every case of the table that both clients share", () => {
    const frames = cases.cases.flatMap(({ steps }) => steps.map(({ frame }) => frame as { type: string }));
    const known = frames.filter(({ type }) => Object.hasOwn(SERVER_FRAMES, type));
    expect(known.length).toBeGreaterThan(50);
    expect(known.filter((frame) => decode(frame) === null)).toEqual([]);
  });
});
