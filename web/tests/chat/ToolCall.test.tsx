// @vitest-environment jsdom

import type { ToolCall as Call } from "parley-client";
import { act } from "react";
import { describe, expect, it, vi } from "vitest";
import { ToolCall } from "../../src/page/chat/ToolCall";
import { find, findButton, PageSetup } from "../support/page";

const page = PageSetup.use();

const CALL: Call = { id: "call_1", name: "clock", arguments: '{"zone": "UTC"}', server: "time" };

function show(call: Partial<Call>, onDecide: ((approve: boolean) => Promise<void>) | null = null) {
  return page.render(<ToolCall call={{ ...CALL, ...call }} onDecide={onDecide} running />);
}

describe("a tool call", () => {
  it("shows its name, its server, its arguments and that it runs", async () => {
    await show({ status: "running" });
    const call = find("tool-call");
    expect(call?.getAttribute("aria-label")).toBe("Tool clock");
    expect(call?.ariaBusy ?? call?.getAttribute("aria-busy")).toBe("true");
    expect(call?.textContent).toContain("on time");
    expect(find("tool-status")?.textContent).toBe("Running…");
    expect(find("tool-arguments")?.textContent).toContain('{"zone": "UTC"}');
    expect(find("tool-result")).toBeNull();
  });

  it("shows a result behind its label, and how long the tool ran", async () => {
    await show({ status: "complete", result: "12:00", seconds: 0.42 });
    expect(find("tool-status")?.textContent).toBe("Done, 0.4 s");
    const result = find("tool-result") as HTMLDetailsElement;
    expect(result.open).toBe(false);
    await act(async () => result.querySelector("summary")?.click());
    expect(result.open).toBe(true);
    expect(result.querySelector("pre")?.textContent).toBe("12:00");
    expect(find("tool-show-all")).toBeNull();
  });

  it("cuts a long result until all of it is wanted", async () => {
    await show({ status: "complete", result: "line\n".repeat(5000) });
    const text = () => find("tool-result")?.querySelector("pre")?.textContent ?? "";
    expect(text().split("\n")).toHaveLength(20);
    await act(async () => find("tool-show-all")?.click());
    expect(text()).toBe("line\n".repeat(5000));
    await act(async () => find("tool-show-all")?.click());
    expect(text().length).toBeLessThan(200);
  });

  it("shows why it failed without being asked", async () => {
    await show({ status: "failed", result: "The server did not respond." });
    expect((find("tool-error") as HTMLDetailsElement).open).toBe(true);
    expect(find("tool-error")?.textContent).toContain("did not respond");
  });
});

describe("a tool call that waits for approval", () => {
  it("shows its arguments, and is approved once", async () => {
    const decide = vi.fn(() => Promise.resolve());
    await show({ status: "awaiting_approval" }, decide);
    expect((find("tool-arguments") as HTMLDetailsElement).open).toBe(true);
    const approve = findButton("Approve the call of clock");
    await act(async () => approve?.click());
    expect(decide.mock.calls).toEqual([[true]]);
    expect(approve?.disabled).toBe(true);
    expect(findButton("Deny the call of clock")?.disabled).toBe(true);
  });

  it("can be decided again after the server did not take the decision", async () => {
    const decide = vi.fn(() => Promise.reject(new Error("unreachable")));
    await show({ status: "awaiting_approval" }, decide);
    await act(async () => findButton("Deny the call of clock")?.click());
    expect(decide.mock.calls).toEqual([[false]]);
    expect(findButton("Deny the call of clock")?.disabled).toBe(false);
  });

  it("is not decided by a user who may only read", async () => {
    await show({ status: "awaiting_approval" }, null);
    expect(find("tool-approve")).toBeNull();
  });
});
