import { describe, expect, it } from "vitest";
import { Backoff, decodeFrame, isId, newId } from "../src/client";

describe("ids", () => {
  it("are UUIDs of version 7 that sort by time", () => {
    const early = newId(Date.UTC(2026, 0, 1));
    const late = newId(Date.UTC(2026, 0, 1) + 1);
    expect(early).toMatch(/^019b76da-a800-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(early < late).toBe(true);
    expect(isId(early)).toBe(true);
  });

  it("are all different", () => {
    expect(new Set(Array.from({ length: 1000 }, () => newId())).size).toBe(1000);
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
