import { describe, expect, it } from "vitest";
import { idAt } from "../src/ids.ts";
import { Backoff, decodeFrame, isId, newId } from "../src/index.ts";

describe("ids", () => {
  it("are UUIDs of version 7 with the time first", () => {
    const id = idAt(Date.UTC(2026, 0, 1));
    expect(id).toMatch(/^019b76da-a800-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(isId(id)).toBe(true);
  });

  it("are all different, and sort in the order in which they were made", () => {
    const ids = Array.from({ length: 1000 }, () => newId());
    expect(new Set(ids).size).toBe(1000);
    expect(ids.toSorted()).toEqual(ids);
  });

  it.each(["", "x", newId().toUpperCase().replace(/^./, "A"), `${newId()}0`])("%s is none", (text) => {
    expect(isId(text)).toBe(false);
  });
});

describe("frames", () => {
  it.each(["", "{", "[]", "null", "1", '{"type":1}', '{"type":"typing"}'])("%s is ignored", (data) => {
    expect(decodeFrame(data)).toBeNull();
  });

  it("are not binary", () => {
    expect(decodeFrame(new ArrayBuffer(2))).toBeNull();
  });
});

describe("backoff", () => {
  it("doubles its bound up to the cap, and draws from zero to the bound", () => {
    const draws = (random: number) => {
      const backoff = new Backoff({ base: 100, cap: 1_000 }, () => random);
      return Array.from({ length: 6 }, () => backoff.next());
    };
    expect(draws(1)).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    expect(draws(0)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it("starts again after a reset", () => {
    const backoff = new Backoff({ base: 100, cap: 1_000 }, () => 1);
    backoff.next();
    backoff.next();
    backoff.reset();
    expect(backoff.next()).toBe(100);
  });
});
