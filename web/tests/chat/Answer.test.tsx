// @vitest-environment jsdom

import type { Message, WatchedChat } from "parley-client";
import { CHAT } from "parley-client/testing";
import { describe, expect, it, vi } from "vitest";
import { Answer } from "../../src/page/chat/Answer";
import { find, PageSetup } from "../support/page";

const page = PageSetup.use();

describe("a complete answer", () => {
  const show = (message: Partial<Message>) =>
    page.render(
      <Answer
        busy={false}
        chat={{ regenerate: vi.fn() } as unknown as WatchedChat}
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
        siblings={["a"]}
      />,
    );
  const error = (retryable: boolean) => ({ code: "rate_limited", message: "Later.", retryable });

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
});
