import { describe, expect, it } from "vitest";
import { aMessage, anId, CHAT, Room } from "../src/testing/room.ts";
import { json, problem } from "../src/testing/server.ts";
import { flush, pass, Setup } from "./support/client";

const setup = Setup.use();
const LIST = `GET /v1/chats/${CHAT}/messages`;

describe("stopping and asking again", () => {
  const named = () =>
    setup.server.requests("POST", "/stop").map(({ body }) => (body as { message_id: string }).message_id);

  it("names the prompt in the first moment and its answer afterwards", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(`POST /v1/chats/${CHAT}/stop`, () => json({}, 202));
    setup.server.overrides.set(`POST /v1/chats/${CHAT}/messages`, () => json({}, 202));
    const id = chat.send("Hello");
    await flush();
    await chat.stop();
    setup.server.publish(setup.server.room.ask("Hello", id));
    await flush();
    await chat.stop();
    const answer = setup.server.room.messages.find(({ role }) => role === "assistant");
    expect(named()).toEqual([id, answer?.id]);
  });

  it("gives another answer an id of its own", async () => {
    const chat = await setup.watch();
    const path = `/v1/chats/${CHAT}/messages/${anId(1)}/regenerate`;
    setup.server.overrides.set(`POST ${path}`, () => json({}, 202));
    await chat.regenerate(anId(1));
    const bodies = setup.server.requests("POST", "/regenerate").map(({ body }) => body);
    expect(bodies).toEqual([{ id: expect.stringMatching(/^[0-9a-f-]{36}$/) }]);
  });
});

describe("older messages", () => {
  const OLDER = aMessage({ id: anId(0), content: "older", created_at: "2025-01-01T00:00:00Z" });

  it("are loaded before the oldest one, once at a time, to the beginning", async () => {
    const chat = await setup.watch();
    setup.server.publish([{ ...setup.server.room.snapshot(null), next: "page-2" }]);
    setup.server.overrides.set(LIST, () => json({ items: [OLDER], next: null }));
    const loading = chat.loadOlder();
    expect(chat.getSnapshot().loadingOlder).toBe(true);
    await chat.loadOlder();
    await loading;
    await chat.loadOlder();
    expect(setup.server.requests("GET", "/messages")).toHaveLength(1);
    expect(chat.getSnapshot().state).toMatchObject({ next: null, messages: [{ content: "older" }] });
  });

  it("are not added when a snapshot replaced everything meanwhile", async () => {
    const chat = await setup.watch();
    setup.server.publish([{ ...setup.server.room.snapshot(null), next: "page-2" }]);
    setup.server.overrides.set(LIST, () => json({ items: [OLDER], next: null }));
    const loading = chat.loadOlder();
    setup.server.publish([{ ...setup.server.room.snapshot(null), next: "page-9" }]);
    await loading;
    expect(chat.getSnapshot().state).toMatchObject({ next: "page-9", messages: [] });
  });

  it("can be asked for again after a failure", async () => {
    const chat = await setup.watch();
    setup.server.publish([{ ...setup.server.room.snapshot(null), next: "page-2" }]);
    setup.server.overrides.set(LIST, () => problem(503, "unavailable"));
    await expect(chat.loadOlder()).rejects.toThrow("It is unavailable.");
    expect(chat.getSnapshot().loadingOlder).toBe(false);
  });
});

describe("an observable chat", () => {
  it("is the same object until something changes", async () => {
    const chat = await setup.watch();
    const before = chat.getSnapshot();
    setup.server.publish([
      { type: "message", chat_id: CHAT, version: 1, message: aMessage({ chat_id: "other" }) },
    ]);
    const after = chat.getSnapshot();
    expect(after).not.toBe(before);
    setup.server.publish([{ type: "message", chat_id: CHAT, version: 1, message: aMessage() }]);
    expect(chat.getSnapshot()).toBe(after);
  });

  it("takes the chosen model from the server's answer, unless a frame brought newer", async () => {
    const chat = await setup.watch();
    const fields = setup.server.room.chat;
    setup.server.overrides.set(`PATCH /v1/chats/${CHAT}`, ({ body }) =>
      json({ ...fields, ...(body as object), version: 2 }),
    );
    await chat.setModel("demo-slow");
    expect(chat.getSnapshot().state.chat?.model).toBe("demo-slow");
    setup.server.publish([
      { type: "chat", chat_id: CHAT, version: 3, chat: { ...fields, version: 3, model: "new" } },
    ]);
    await chat.setModel("stale");
    expect(chat.getSnapshot().state.chat?.model).toBe("new");
  });

  it("stays in memory without listeners, up to a limit", async () => {
    const first = setup.parley.watch(CHAT);
    expect(setup.parley.watch(CHAT)).toBe(first);
    for (let count = 0; count < 40; count++) setup.parley.watch(anId(0x5000 + count));
    expect(setup.parley.watch(CHAT)).not.toBe(first);
  });

  it("keeps a chat with listeners in memory, however many others are opened", async () => {
    const chat = await setup.watch();
    for (let count = 0; count < 40; count++) setup.parley.watch(anId(0x5000 + count));
    expect(setup.parley.watch(CHAT)).toBe(chat);
  });

  it("gives tests its raw state", async () => {
    expect(setup.parley.state(CHAT)).toBeNull();
    await setup.watch();
    setup.server.act({ do: "ask", text: "Hi" });
    setup.server.act({ do: "delta", text: "raw *text*" });
    expect(setup.parley.state(CHAT)?.generation?.text).toBe("raw *text*");
  });
});

describe("the list of chats", () => {
  const chats = (count: number) =>
    Array.from({ length: count }, (_, index) => ({
      ...new Room(anId(index)).chat,
      updated_at: new Date(Date.UTC(2026, 0, 31 - index)).toISOString(),
    }));
  const ids = () => setup.parley.chats.getSnapshot().items.map(({ id }) => id);

  it("is read page by page, the newest first", async () => {
    const all = chats(4);
    setup.server.overrides.set("GET /v1/chats", () => json({ items: all.slice(0, 2), next: "page-2" }));
    await setup.parley.chats.refresh();
    setup.server.overrides.set("GET /v1/chats", () => json({ items: all.slice(2), next: null }));
    await setup.parley.chats.loadMore();
    expect(ids()).toEqual([anId(0), anId(1), anId(2), anId(3)]);
    expect(setup.parley.chats.getSnapshot().next).toBeNull();
  });

  it("removes chats that were deleted elsewhere on a refresh, and keeps the pages after the first", async () => {
    const all = chats(4);
    setup.server.overrides.set("GET /v1/chats", () => json({ items: all.slice(0, 3), next: "page-2" }));
    await setup.parley.chats.refresh();
    setup.server.overrides.set("GET /v1/chats", () => json({ items: [all[0], all[1]], next: "page-1b" }));
    await setup.parley.chats.refresh();
    expect(ids()).toEqual([anId(0), anId(1), anId(2)]);
    setup.server.overrides.set("GET /v1/chats", () => json({ items: [all[0], all[2]], next: null }));
    await setup.parley.chats.refresh();
    expect(ids()).toEqual([anId(0), anId(2)]);
  });

  it("moves a chat up when a watched one changes", async () => {
    setup.server.overrides.set("GET /v1/chats", () => json({ items: chats(2), next: null }));
    await setup.parley.chats.refresh();
    await setup.watch();
    const fields = {
      ...setup.server.room.chat,
      version: 5,
      title: "Moved",
      updated_at: "2026-03-01T00:00:00Z",
    };
    setup.server.publish([{ type: "chat", chat_id: CHAT, version: 5, chat: fields }]);
    expect(ids()[0]).toBe(CHAT);
  });

  it("takes a deleted chat out at once, and back when the server refuses", async () => {
    setup.server.overrides.set("GET /v1/chats", () => json({ items: chats(2), next: null }));
    await setup.parley.chats.refresh();
    setup.server.overrides.set(`DELETE /v1/chats/${anId(0)}`, () => problem(403, "forbidden"));
    const deleting = setup.parley.deleteChat(anId(0));
    expect(ids()).toEqual([anId(1)]);
    await expect(deleting).rejects.toThrow("It is forbidden.");
    expect(ids()).toEqual([anId(0), anId(1)]);
    setup.server.overrides.set(`DELETE /v1/chats/${anId(0)}`, () => new Response(null, { status: 204 }));
    await setup.parley.deleteChat(anId(0));
    await flush();
    expect(ids()).toEqual([anId(1)]);
  });
});

describe("presence in a shared chat", () => {
  const users = [
    { user_id: "u", state: "reading" },
    { user_id: "v", state: "writing" },
  ] as const;
  const present = () => setup.server.publish([{ type: "presence", chat_id: CHAT, users: [...users] }]);
  const typed = () => setup.server.socket.frames.filter(({ type }) => type === "typing");

  it("is shown until the connection is lost, and does not change the state of the chat", async () => {
    const chat = await setup.watch();
    const { state } = chat.getSnapshot();
    present();
    expect(chat.getSnapshot().presence).toEqual(users);
    expect(chat.getSnapshot().state).toBe(state);
    setup.server.socket.cut();
    expect(chat.getSnapshot().presence).toEqual([]);
  });

  it("is reported while the user writes, each three seconds at most", async () => {
    const chat = await setup.watch();
    present();
    for (let count = 0; count < 100; count++) {
      chat.typing();
      await pass(100);
    }
    expect(typed()).toHaveLength(4);
    expect(typed()[0]).toEqual({ type: "typing", chat_id: CHAT });
  });

  it("is not reported in a chat with one member", async () => {
    const chat = await setup.watch();
    chat.typing();
    expect(typed()).toHaveLength(0);
  });
});
