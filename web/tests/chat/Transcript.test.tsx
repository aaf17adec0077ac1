// @vitest-environment jsdom

import { type ChatSnapshot, newId } from "parley-client";
import { CHAT, json, problem } from "parley-client/testing";
import { act } from "react";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { ChatPage } from "../../src/page/chat/ChatPage";
import type { Route } from "../../src/page/route";
import { find, findButton, PageSetup } from "../support/page";

const page = PageSetup.use();
const OLDER = `GET /v1/chats/${CHAT}/messages`;
const requests = () => page.server.requests("GET", "/messages").length;

/** The beginning of the messages is in the view. */
class VisibleIntersection {
  private readonly report: (entries: { isIntersecting: boolean }[]) => void;
  constructor(report: (entries: { isIntersecting: boolean }[]) => void) {
    this.report = report;
  }
  observe = () => queueMicrotask(() => this.report([{ isIntersecting: true }]));
  disconnect = () => undefined;
}

beforeEach(() => {
  // What jsdom lacks.
  vi.stubGlobal("CSS", { escape: (text: string) => text });
  vi.stubGlobal("IntersectionObserver", VisibleIntersection);
  vi.stubGlobal(
    "ResizeObserver",
    class {
      observe = () => undefined;
      disconnect = () => undefined;
    },
  );
  const { room } = page.server;
  const snapshot = room.snapshot.bind(room);
  room.snapshot = (after) => ({ ...snapshot(after), next: "older" });
  room.perform({ do: "ask", text: "Hi" });
});

async function open(messageId: string | null = null): Promise<ChatSnapshot> {
  const route: Route = { chatId: CHAT, messageId, shared: null, unknown: false, visit: "1" };
  await page.render(
    <ChatPage
      covered={false}
      onMenu={() => undefined}
      onOpen={() => undefined}
      route={route}
      sidebarCollapsed={false}
    />,
  );
  await page.pass(1_000);
  return page.parley.watch(CHAT).getSnapshot();
}

describe("older messages", () => {
  it("that do not load are requested again by a person, and not by the page", async () => {
    page.server.overrides.set(OLDER, async () => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      return problem(503, "unavailable");
    });
    await open();
    expect(requests()).toBe(1);
    expect(find("notice")?.textContent).toBe("It is unavailable.");
    page.server.overrides.set(OLDER, () => json({ items: [], next: null }));
    await act(async () => findButton("Load older messages")?.click());
    await page.pass(1_000);
    expect(requests()).toBe(2);
    expect(find("notice")).toBeNull();
    expect(findButton("Load older messages")).toBeNull();
  });

  it("are loaded page by page while their beginning is in the view", async () => {
    const pages = ["2", "1", null];
    page.server.overrides.set(OLDER, () => json({ items: [], next: pages.shift() ?? null }));
    expect((await open()).state.next).toBeNull();
    expect(requests()).toBe(3);
  });

  it("that do not load hide the message of the address, and the page says why", async () => {
    vi.stubGlobal(
      "IntersectionObserver",
      class extends VisibleIntersection {
        override observe = () => undefined;
      },
    );
    page.server.overrides.set(OLDER, () => problem(503, "unavailable"));
    await open(newId());
    expect(requests()).toBe(1);
    expect(find("notice")?.textContent).toBe("It is unavailable.");
  });
});

describe("the error of an action", () => {
  it("goes when the connection is back", async () => {
    await open();
    page.server.unreachable = true;
    act(() => page.server.socket.cut());
    await page.pass(1_000);
    await act(async () => find("stop")?.click());
    await page.pass(50);
    expect(find("notice")?.textContent).toBe("The server cannot be reached.");
    page.server.unreachable = false;
    await page.pass(20_000);
    expect(find("connection")?.dataset.status).toBe("online");
    expect(find("notice")).toBeNull();
  });
});
