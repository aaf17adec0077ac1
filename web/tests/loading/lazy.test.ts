// @vitest-environment jsdom
import { afterEach, describe, expect, it, vi } from "vitest";
import { LazyModule, loadFailed } from "../../src/page/loading/lazy";

afterEach(() => {
  loadFailed.set(false);
  vi.useRealTimers();
});

describe("a lazy module", () => {
  it("is retried before its load counts as failed", async () => {
    vi.useFakeTimers();
    const load = vi.fn().mockRejectedValueOnce(new Error("404")).mockResolvedValue("here");
    const loaded = new LazyModule(load).get();
    await vi.advanceTimersByTimeAsync(2_000);
    await expect(loaded).resolves.toBe("here");
    expect(loadFailed.getSnapshot()).toBe(false);
  });

  it("is retried at another address, since browsers cache failed imports by address", async () => {
    vi.useFakeTimers();
    const address = "https://parley.test/chat/assets/katex-abc.js";
    const load = vi
      .fn()
      .mockRejectedValue(new TypeError(`Failed to fetch dynamically imported module: ${address}`));
    const again = vi.fn().mockRejectedValueOnce(new TypeError("404")).mockResolvedValue("here");
    const part = new LazyModule(load, again);
    const lost = expect(part.get()).rejects.toThrow("404");
    await vi.advanceTimersByTimeAsync(2_000);
    await lost;
    const loaded = part.get();
    await vi.advanceTimersByTimeAsync(2_000);
    await expect(loaded).resolves.toBe("here");
    expect(again.mock.calls).toEqual([[`${address}?again=1`], [`${address}?again=2`]]);
  });

  it("reports a failed load, and is loaded again on the next use", async () => {
    vi.useFakeTimers();
    const load = vi.fn().mockRejectedValue(new Error("404"));
    const part = new LazyModule(load);
    const lost = expect(part.get()).rejects.toThrow("404");
    await vi.advanceTimersByTimeAsync(2_000);
    await lost;
    expect(loadFailed.getSnapshot()).toBe(true);
    load.mockResolvedValue("here");
    await expect(part.get()).resolves.toBe("here");
    expect(loadFailed.getSnapshot()).toBe(false);
  });
});
