import { ProblemError } from "parley-client";
import { describe, expect, it } from "vitest";
import { browserOf } from "../../src/page/account/browserOf";
import { byDay, byModel, lastDays } from "../../src/page/account/usageSums";
import { messageOf } from "../../src/page/requests/errors";
import { timeAgo, whenFrom } from "../../src/page/ui/time";

const line = { answers: 1, input_tokens: 10, output_tokens: 5 };

describe("usage", () => {
  it("has every day of the period, also those without usage", () => {
    const usage = [
      { ...line, day: "2026-03-01", model: "a", cost: null },
      { ...line, day: "2026-03-01", model: "b", cost: null },
      { ...line, day: "2026-02-01", model: "a", cost: null },
    ];
    expect(byDay(usage, lastDays(3, new Date("2026-03-02T01:00:00Z")))).toEqual([
      { day: "2026-02-28", input: 0, output: 0 },
      { day: "2026-03-01", input: 20, output: 10 },
      { day: "2026-03-02", input: 0, output: 0 },
    ]);
  });

  it("is summed by model, the most used first; a model without a price has no cost", () => {
    const usage = [
      { ...line, day: "2026-03-01", model: "free", cost: null },
      { ...line, day: "2026-03-01", model: "paid", cost: 0.5 },
      { ...line, day: "2026-03-02", model: "paid", cost: 0.25, estimated: 1 },
    ];
    expect(byModel(usage)).toEqual([
      { model: "paid", answers: 2, estimated: 1, input: 20, output: 10, cost: 0.75 },
      { model: "free", answers: 1, estimated: 0, input: 10, output: 5, cost: null },
    ]);
  });
});

describe("a user agent", () => {
  it.each([
    ["Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/141.0 Safari/537.36 Edg/141.0", "Edge on Windows"],
    ["Mozilla/5.0 (X11; Linux x86_64) Chrome/141.0 Safari/537.36", "Chrome on Linux"],
    ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on iOS"],
    ["Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Firefox/140.0", "Firefox on macOS"],
    ["parley-client/0.1", "parley-client/0.1"],
    ["", "Unknown program"],
  ])("%s is %s", (userAgent, name) => {
    expect(browserOf(userAgent)).toBe(name);
  });
});

describe("a past time", () => {
  it.each([
    [-5 * 3600, "just now"],
    [30, "just now"],
    [5 * 60, "5 minutes ago"],
    [3 * 3600, "3 hours ago"],
    [26 * 3600, "yesterday"],
    [10 * 24 * 3600, "Feb 19, 2026"],
  ])("%d seconds ago is %s", (seconds, text) => {
    const now = Date.parse("2026-03-01T12:00:00Z");
    expect(timeAgo(new Date(now - seconds * 1000).toISOString(), now)).toBe(text);
  });
});

describe("a time to come", () => {
  const now = new Date(2026, 2, 1, 12).getTime();

  it.each([
    [0, "in 1 second"],
    [20, "in 20 seconds"],
    [150, "in 3 minutes"],
    [3 * 3600, "after 3:00 PM"],
    [14 * 3600, "after 2:00 AM on Mar 2, 2026"],
  ])("in %d seconds is %s", (seconds, text) => {
    expect(whenFrom(new Date(now + seconds * 1000).toISOString(), now)).toBe(text);
  });
});

describe("an error", () => {
  it("of a limit says when one can try again", () => {
    const limit = new ProblemError({ status: 429, detail: "Too many searches." }, 2);
    expect(messageOf(limit)).toBe("Too many searches. You can try again in 2 seconds.");
  });

  it.each([
    [new ProblemError({ status: 503, detail: "It is away." }, 2), "It is away."],
    [new ProblemError({ status: 429, detail: "Too many." }), "Too many."],
    ["text", "text"],
  ])("%s is its own text", (error, text) => {
    expect(messageOf(error)).toBe(text);
  });
});
