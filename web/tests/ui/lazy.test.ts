// @vitest-environment jsdom
import { afterEach, describe, expect, it, vi } from "vitest";
import { incomplete, Part } from "../../src/page/ui/lazy";

afterEach(() => {
  incomplete.set(false);
  vi.useRealTimers();
});

describe("a part of the page that is loaded when it is needed", () => {
  it("is asked for a second time before it counts as lost", async () => {
    vi.useFakeTimers();
    const load = vi.fn().mockRejectedValueOnce(new Error("404")).mockResolvedValue("here");
    const loaded = new Part(load).get();
    await vi.advanceTimersByTimeAsync(2_000);
    await expect(loaded).resolves.toBe("here");
    expect(incomplete.getSnapshot()).toBe(false);
  });

  it("is asked for at another address the second time, since browsers remember one that failed", async () => {
    vi.useFakeTimers();
    const address = "https://parley.test/chat/assets/katex-abc.js";
    const load = vi
      .fn()
      .mockRejectedValue(new TypeError(`Failed to fetch dynamically imported module: ${address}`));
    const again = vi.fn().mockRejectedValueOnce(new TypeError("404")).mockResolvedValue("here");
    const part = new Part(load, again);
    const lost = expect(part.get()).rejects.toThrow("404");
    await vi.advanceTimersByTimeAsync(2_000);
    await lost;
    const loaded = part.get();
    await vi.advanceTimersByTimeAsync(2_000);
    await expect(loaded).resolves.toBe("here");
    expect(again.mock.calls).toEqual([[`${address}?again=1`], [`${address}?again=2`]]);
  });

  it("says that the page is incomplete when it is lost, and is asked for again at the next need", async () => {
    vi.useFakeTimers();
    const load = vi.fn().mockRejectedValue(new Error("404"));
    const part = new Part(load);
    const lost = expect(part.get()).rejects.toThrow("404");
    await vi.advanceTimersByTimeAsync(2_000);
    await lost;
    expect(incomplete.getSnapshot()).toBe(true);
    load.mockResolvedValue("here");
    await expect(part.get()).resolves.toBe("here");
  });
});
