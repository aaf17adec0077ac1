import { beforeEach, describe, expect, it } from "vitest";
import type { ChatSummary, ServerFrame } from "../src/index.ts";
import { json, problem } from "../src/testing/server.ts";
import { flush, pass, Setup } from "./support/client";

const setup = Setup.use();
const ONE = "0190a000-0000-7000-8000-0000000000a1";
const TWO = "0190a000-0000-7000-8000-0000000000a2";

function summary(id: string, version: number, fields: Partial<ChatSummary> = {}): ChatSummary {
  const updated_at = new Date(Date.UTC(2026, 0, 1, 0, version)).toISOString();
  return { id, title: `Version ${version}`, updated_at, version, running: false, ...fields };
}

function listed(id: string, version: number, fields: Partial<ChatSummary> = {}): ServerFrame {
  return { type: "listed", chat_id: id, version, chat: summary(id, version, fields) };
}

const unlisted = (id: string): ServerFrame => ({ type: "listed", chat_id: id, version: 99, chat: null });
const titles = () => setup.parley.chats.getSnapshot().items.map(({ title }) => title);

let stored: ChatSummary[];
let reads: number;

beforeEach(() => {
  stored = [];
  reads = 0;
  setup.server.overrides.set("GET /v1/chats", () => {
    reads += 1;
    return json({ items: stored, next: null });
  });
});

describe("the list of chats", () => {
  it("receives the changes of other tabs and devices", () => {
    const { socket } = setup.server;
    socket.deliver(listed(ONE, 2));
    socket.deliver(listed(TWO, 3, { running: true }));
    expect(titles()).toEqual(["Version 3", "Version 2"]);
    expect(setup.parley.chats.getSnapshot().items.map(({ running }) => running)).toEqual([true, false]);
    socket.deliver(listed(ONE, 4, { title: "Renamed" }));
    expect(titles()).toEqual(["Renamed", "Version 3"]);
    socket.deliver(unlisted(ONE));
    expect(titles()).toEqual(["Version 3"]);
  });

  it("ignores a late frame with an older version", () => {
    setup.server.socket.deliver(listed(ONE, 5));
    setup.server.socket.deliver(listed(ONE, 4));
    expect(titles()).toEqual(["Version 5"]);
  });

  it("is refreshed on request of the server, after a random delay within the given bound", async () => {
    stored = [summary(ONE, 7)];
    setup.server.fraction = 0.5;
    setup.server.socket.deliver({ type: "relist", within: 4 });
    await pass(1_900);
    expect(reads).toBe(0);
    await pass(200);
    expect(titles()).toEqual(["Version 7"]);
  });

  it("that could not be read is read again with growing delays", async () => {
    setup.server.overrides.set("GET /v1/chats", () => {
      reads += 1;
      return problem(503, "unavailable");
    });
    setup.server.socket.deliver({ type: "relist" });
    await pass(4_000);
    expect(reads).toBeGreaterThan(1);
    expect(reads).toBeLessThan(5);
    setup.server.overrides.set("GET /v1/chats", () => json({ items: [summary(ONE, 7)], next: null }));
    await pass(30_000);
    expect(titles()).toEqual(["Version 7"]);
  });

  it("prefers frames that arrived while a page was being read", async () => {
    let answer: (response: Response) => void = () => undefined;
    setup.server.overrides.set("GET /v1/chats", () => new Promise((resolve) => (answer = resolve)));
    const reading = setup.parley.chats.refresh();
    await flush();
    setup.server.socket.deliver(unlisted(ONE));
    setup.server.socket.deliver(listed(TWO, 8));
    answer(json({ items: [summary(ONE, 3), summary(TWO, 3)], next: null }));
    await reading;
    expect(titles()).toEqual(["Version 8"]);
  });

  it("shows a new title at once, and the old one again when the server refuses", async () => {
    setup.server.socket.deliver(listed(ONE, 2));
    setup.server.overrides.set(`PATCH /v1/chats/${ONE}`, ({ body }) => {
      expect(body).toEqual({ title: "A new title" });
      return json({ ...summary(ONE, 3), title: "A new title" });
    });
    const renaming = setup.parley.chats.rename(ONE, "A new title");
    expect(titles()).toEqual(["A new title"]);
    await renaming;
    expect(titles()).toEqual(["A new title"]);
    setup.server.overrides.set(`PATCH /v1/chats/${ONE}`, () => problem(403, "forbidden"));
    await expect(setup.parley.chats.rename(ONE, "Another")).rejects.toThrow();
    expect(titles()).toEqual(["A new title"]);
  });
});

describe("the invitations", () => {
  const invitation = {
    chat_id: ONE,
    title: "Tides",
    role: "reader",
    invited_by: "ada",
    invited_by_name: null,
    created_at: "2026-01-01T00:00:00Z",
  };
  const chatIds = () => setup.parley.invitations.getSnapshot().map(({ chat_id }) => chat_id);
  let pending: unknown[];

  beforeEach(() => {
    pending = [invitation];
    setup.server.overrides.set("GET /v1/invitations", () => json({ items: pending, next: null }));
  });

  it("are read again when the server reports a change, and leave the list of chats alone", async () => {
    setup.server.socket.deliver({ type: "invitations" });
    await pass(10);
    expect(chatIds()).toEqual([ONE]);
    expect(reads).toBe(0);
    pending = [];
    setup.server.socket.deliver({ type: "invitations" });
    await pass(10);
    expect(chatIds()).toEqual([]);
  });

  it("are read again with the list of chats, within the same bound", async () => {
    setup.server.fraction = 0.5;
    setup.server.socket.deliver({ type: "relist", within: 4 });
    await pass(1_900);
    expect(chatIds()).toEqual([]);
    await pass(200);
    expect(chatIds()).toEqual([ONE]);
  });

  it("stay as they are when they cannot be read", async () => {
    setup.server.socket.deliver({ type: "invitations" });
    await pass(10);
    setup.server.overrides.set("GET /v1/invitations", () => problem(503, "unavailable"));
    setup.server.socket.deliver({ type: "invitations" });
    await pass(10);
    expect(chatIds()).toEqual([ONE]);
  });

  it("lose the one that was accepted", async () => {
    setup.server.overrides.set(`POST /v1/invitations/${ONE}`, () => json({}));
    setup.server.socket.deliver({ type: "invitations" });
    await pass(10);
    await setup.parley.invitations.accept(ONE);
    expect(chatIds()).toEqual([]);
  });
});
