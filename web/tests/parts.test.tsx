// @vitest-environment jsdom
import { act, type ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ErrorBoundary } from "../src/page/ErrorBoundary";
import { incomplete, Part } from "../src/page/lazy";
import { groupsOf } from "../src/page/Sidebar";

let root: Root;

beforeEach(() => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  vi.stubGlobal("reportError", () => undefined);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  root = createRoot(document.body.appendChild(document.createElement("div")));
});

afterEach(async () => {
  await act(async () => root.unmount());
  document.body.replaceChildren();
  incomplete.set(false);
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const render = (node: ReactNode) => act(async () => root.render(node));

function Failing({ fails }: { readonly fails: boolean }) {
  if (fails) throw new Error("It failed.");
  return <p>drawn</p>;
}

describe("a part that fails", () => {
  it("is replaced by what stands for it, and leaves the rest as it is", async () => {
    await render(
      <>
        <ErrorBoundary fallback={<p>plain</p>}>
          <Failing fails />
        </ErrorBoundary>
        <p>rest</p>
      </>,
    );
    expect(document.body.textContent).toBe("plainrest");
  });

  it("is tried again when there is a reason to", async () => {
    const answer = (over: boolean) => (
      <ErrorBoundary fallback={<p>plain</p>} retryOn={over}>
        <Failing fails={!over} />
      </ErrorBoundary>
    );
    await render(answer(false));
    expect(document.body.textContent).toBe("plain");
    await render(answer(true));
    expect(document.body.textContent).toBe("drawn");
  });
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

describe("the list of chats", () => {
  it("is grouped by the days on which they were last used", () => {
    const now = new Date(2026, 4, 20, 9, 0);
    const chat = (id: string, day: number, hour: number) => ({
      id,
      owner_id: "",
      title: id,
      model: null,
      system_prompt: null,
      tip_id: null,
      created_at: "",
      updated_at: new Date(2026, 4, day, hour).toISOString(),
      version: 1,
      running: false,
    });
    const groups = groupsOf([chat("a", 20, 0), chat("b", 19, 23), chat("c", 14, 1), chat("d", 1, 1)], now);
    expect(groups.map(({ name, chats }) => [name, chats.map(({ id }) => id).join()])).toEqual([
      ["Today", "a"],
      ["Yesterday", "b"],
      ["Previous 7 days", "c"],
      ["Previous 30 days", "d"],
    ]);
  });
});
