// @vitest-environment jsdom

import type { Message, WatchedChat } from "parley-client";
import { CHAT } from "parley-client/testing";
import { act } from "react";
import { describe, expect, it, vi } from "vitest";
import { Answer } from "../../src/page/chat/Answer";
import { find, PageSetup } from "../support/page";

const page = PageSetup.use();

describe("an answer", () => {
  const decideToolCall = vi.fn(() => Promise.resolve());
  const regenerate = vi.fn(() => Promise.resolve());
  const show = (message: Partial<Message>) =>
    page.render(
      <Answer
        busy={false}
        chat={{ regenerate, decideToolCall } as unknown as WatchedChat}
        generation={null}
        message={
          {
            id: "a",
            chat_id: CHAT,
            parent_id: null,
            role: "assistant",
            author_id: null,
            content: "",
            reasoning: "",
            status: "complete",
            model: null,
            error: null,
            usage: null,
            created_at: "2026-11-22T21:04:05Z",
            version: 1,
            ...message,
          } satisfies Message
        }
        onAction={() => undefined}
        onChoose={() => undefined}
        readOnly={false}
        siblings={["a"]}
      />,
    );
  const error = (retryable: boolean) => ({ code: "rate_limited", message: "Later.", retryable });

  it("is requested once by a double click", async () => {
    await show({ content: "Done." });
    for (const detail of [1, 2]) {
      const click = new MouseEvent("click", { bubbles: true, detail });
      await act(async () => find("regenerate")?.dispatchEvent(click));
    }
    expect(regenerate).toHaveBeenCalledTimes(1);
  });

  it("says that it has no text", async () => {
    await show({});
    expect(find("message-assistant")?.textContent).toContain("This answer has no text.");
  });

  it("offers Retry where that can help", async () => {
    await show({ status: "failed", error: error(true) });
    expect(find("retry")).not.toBeNull();
    expect(find("regenerate")).toBeNull();
  });

  it("offers only to answer again where a retry cannot help", async () => {
    await show({ status: "failed", error: error(false) });
    expect(find("retry")).toBeNull();
    expect(find("regenerate")).not.toBeNull();
  });

  it("has a note when it reached the limit of its length", async () => {
    await show({ content: "Night tr", finish_reason: "length" });
    expect(find("ending")?.textContent).toContain("limit");
  });

  it("has no note after an ordinary end", async () => {
    await show({ content: "Night trains.", finish_reason: "stop" });
    expect(find("ending")).toBeNull();
  });

  it("shows its tool calls between its text", async () => {
    await show({
      content: "Let me see. Noon.",
      tool_calls: [{ id: "call_1", name: "clock", status: "complete", result: "12:00" }],
      layout: [{ kind: "text", length: 12 }, { kind: "tool" }, { kind: "text", length: 5 }],
    });
    const answer = find("message-assistant")?.textContent ?? "";
    const places = ["Let me see.", "clock", "12:00", "Noon."].map((text) => answer.indexOf(text));
    expect(places).toEqual([...places].sort((one, other) => one - other));
    expect(places).not.toContain(-1);
  });

  it("sends the decision about a call that waits for approval", async () => {
    await show({
      status: "streaming",
      tool_calls: [{ id: "call_1", name: "mail", server: "office", status: "awaiting_approval" }],
    });
    await act(async () => find("tool-approve")?.click());
    expect(decideToolCall.mock.calls).toEqual([["a", "call_1", true]]);
  });
});
