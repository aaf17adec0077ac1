import { describe, expect, it } from "vitest";
import { FallbackStore, MemoryStore, type WatchedChat } from "../src/index.ts";
import { CHAT } from "../src/testing/room.ts";
import { json, problem } from "../src/testing/server.ts";
import { flush, pass, Setup } from "./support/client";

const setup = Setup.use();
const POST = `POST /v1/chats/${CHAT}/messages`;

const sent = () =>
  setup.server.requests("POST", "/messages").map(({ body }) => body as { id: string; content: string });
const outbox = (chat: WatchedChat) =>
  chat.getSnapshot().outbox.map(({ content, status }) => [content, status]);

describe("sending", () => {
  it("shows the message at once, and drops it when the chat shows it", async () => {
    const chat = await setup.watch();
    const id = chat.send("Hello");
    expect(outbox(chat)).toEqual([["Hello", "sending"]]);
    await flush();
    expect(outbox(chat)).toEqual([]);
    expect(chat.getSnapshot().state.messages[0]).toMatchObject({ id, content: "Hello", status: "sent" });
  });

  it("shows accepted messages while the connection is lost", async () => {
    const chat = await setup.watch();
    setup.server.socket.dead = true;
    chat.send("Hello");
    await flush();
    expect(outbox(chat)).toEqual([["Hello", "accepted"]]);
    await pass(60_000);
    expect(outbox(chat)).toEqual([]);
    expect(chat.getSnapshot().state.messages).toHaveLength(2);
  });

  it("reports an accepted message that could not be stored", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(POST, () => json({}, 202));
    const id = chat.send("Hello");
    await flush();
    expect(outbox(chat)).toEqual([["Hello", "accepted"]]);
    const error = { code: "not_stored", message: "It could not be stored.", retryable: true };
    setup.server.publish([{ type: "rejected", chat_id: CHAT, message_id: id, error }]);
    await flush();
    expect(outbox(chat)).toEqual([["Hello", "failed"]]);
    expect(chat.getSnapshot().outbox[0]?.problem).toBe("It could not be stored.");
  });

  it("sends the same id again when the network fails, and makes one turn of it", async () => {
    const chat = await setup.watch();
    let answers = 0;
    setup.server.overrides.set(POST, (request) => {
      const { id, content } = request.body as { id: string; content: string };
      setup.server.room.ask(content, id);
      // The server has it, but the response is lost.
      if (++answers < 4) throw new TypeError("Failed to fetch");
      return json({}, 202);
    });
    const id = chat.send("Hello");
    await pass(5_000);
    expect(sent().map((body) => body.id)).toEqual([id, id, id, id]);
    expect(setup.server.room.messages.filter(({ role }) => role === "user")).toHaveLength(1);
  });

  it("stops sending again once the chat shows the message", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(POST, () => problem(503, "unavailable"));
    const id = chat.send("Hello");
    await flush();
    setup.server.publish(setup.server.room.ask("Hello", id));
    await pass(60_000);
    expect(sent()).toHaveLength(1);
    expect(outbox(chat)).toEqual([]);
  });

  it("fails after a bounded time, and sends the same message again on request", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(POST, () => problem(503, "unavailable"));
    const id = chat.send("Hello");
    await pass(120_000);
    expect(sent()).toHaveLength(10);
    expect(chat.getSnapshot().outbox[0]).toMatchObject({ status: "failed", problem: "It is unavailable." });
    setup.server.overrides.clear();
    chat.resend(id);
    await flush();
    expect(sent().every((body) => body.id === id)).toBe(true);
    expect(outbox(chat)).toEqual([]);
    expect(setup.server.room.messages).toHaveLength(2);
  });

  it("does not retry a permanent error, and reports it", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(POST, () => problem(413, "too_large"));
    const id = chat.send("Hello");
    await pass(60_000);
    expect(sent()).toHaveLength(1);
    expect(chat.getSnapshot().outbox[0]).toMatchObject({ status: "failed", problem: "It is too_large." });
    chat.discard(id);
    expect(outbox(chat)).toEqual([]);
  });

  it("waits as long as the server asks for", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(POST, () => {
      setup.server.overrides.clear();
      return problem(429, "too_many", { "retry-after": "3" });
    });
    chat.send("Hello");
    await pass(2_900);
    expect(sent()).toHaveLength(1);
    await pass(200);
    expect(sent()).toHaveLength(2);
  });

  it("shows the limit that delays a message, and when that ends", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(POST, () => problem(429, "too_many_prompts", { "retry-after": "30" }));
    chat.send("Hello");
    await pass(10);
    const [waiting] = chat.getSnapshot().outbox;
    expect(waiting).toMatchObject({ status: "sending", problem: "It is too_many_prompts." });
    expect(Date.parse(waiting?.retry_at ?? "") - Date.now()).toBeGreaterThan(29_000);
    await pass(31_000);
    expect(sent()).toHaveLength(2);
    setup.server.overrides.clear();
    await pass(31_000);
    expect(sent()).toHaveLength(3);
    expect(chat.getSnapshot().outbox).toEqual([]);
  });

  it("leaves a message to a person when a limit lasts long, with all after it", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(POST, () => problem(429, "budget_spent", { "retry-after": "7200" }));
    chat.send("one");
    chat.send("two");
    await pass(10);
    expect(sent()).toHaveLength(1);
    const messages = chat.getSnapshot().outbox;
    expect(messages.map(({ status, retryable }) => [status, retryable])).toEqual([
      ["failed", true],
      ["failed", true],
    ]);
    expect(Date.parse(messages[0]?.retry_at ?? "") - Date.now()).toBeGreaterThan(7_190_000);
    setup.server.overrides.clear();
    chat.resend(messages[0]?.id ?? "");
    expect(chat.getSnapshot().outbox[0]).toMatchObject({ status: "sending", retry_at: null });
    await pass(1_000);
    expect(outbox(chat)).toEqual([["two", "failed"]]);
  });

  it("keeps the order, also when the first one has to be sent again", async () => {
    const chat = await setup.watch();
    setup.server.unreachable = true;
    chat.send("one");
    chat.send("two");
    chat.send("three");
    await pass(3_000);
    setup.server.unreachable = false;
    await pass(10_000);
    expect(sent().map(({ content }) => content)).toEqual(["one", "two", "three"]);
    expect(
      chat
        .getSnapshot()
        .state.messages.filter(({ role }) => role === "user")
        .map((m) => m.content),
    ).toEqual(["one", "two", "three"]);
  });

  it("tries at once when the network comes back", async () => {
    const chat = await setup.watch();
    setup.server.unreachable = true;
    chat.send("Hello");
    await pass(12_000);
    setup.server.unreachable = false;
    setup.server.emit("online");
    await flush();
    expect(sent()).toHaveLength(1);
  });

  it("names the parent of a branch", async () => {
    const chat = await setup.watch();
    chat.send("at the tip");
    chat.send("a new root", null);
    chat.send("a branch", CHAT);
    await flush();
    expect(sent().map((body) => [body.content, "parent_id" in body ? body.parent_id : "absent"])).toEqual([
      ["at the tip", "absent"],
      ["a new root", null],
      ["a branch", CHAT],
    ]);
  });
});

describe("messages written offline", () => {
  const contents = (chat: WatchedChat) =>
    chat
      .getSnapshot()
      .state.messages.filter(({ role }) => role === "user")
      .map(({ content }) => content);

  it("wait for the network as long as it takes", async () => {
    const chat = await setup.watch();
    setup.server.unreachable = true;
    chat.send("Hello");
    await pass(60 * 60_000);
    expect(outbox(chat)).toEqual([["Hello", "sending"]]);
    setup.server.unreachable = false;
    await pass(10_000);
    expect(contents(chat)).toEqual(["Hello"]);
  });

  it("are sent by the next page, in their order, when this one ends before", async () => {
    const chat = await setup.watch();
    setup.server.unreachable = true;
    for (const text of ["one", "two", "three"]) chat.send(text);
    await flush();
    setup.parley.close();
    await pass(60_000);
    setup.server.unreachable = false;
    const again = await setup.watch(CHAT, await setup.open());
    expect(sent().map(({ content }) => content)).toEqual(["one", "two", "three"]);
    expect(contents(again)).toEqual(["one", "two", "three"]);
    expect(outbox(again)).toEqual([]);
    expect(await setup.server.store.outgoing("u")).toEqual([]);
  });

  it("are sent by the next page also when their chat is not open", async () => {
    const chat = await setup.watch();
    setup.server.unreachable = true;
    chat.send("Hello");
    await flush();
    setup.parley.close();
    setup.server.unreachable = false;
    await setup.open();
    expect(sent().map(({ content }) => content)).toEqual(["Hello"]);
  });

  it("are shown by all tabs, and sent once by one of them", async () => {
    const tabs = [setup.parley, await setup.open(), await setup.open()];
    const chats = [];
    for (const tab of tabs) chats.push(await setup.watch(CHAT, tab));
    setup.server.unreachable = true;
    chats[0]?.send("one");
    await flush();
    chats[1]?.send("two");
    await flush();
    for (const chat of chats) {
      expect(outbox(chat)).toEqual([
        ["one", "sending"],
        ["two", "sending"],
      ]);
    }
    setup.server.unreachable = false;
    await pass(30_000);
    expect(sent().map(({ content }) => content)).toEqual(["one", "two"]);
    for (const chat of chats) expect([outbox(chat), contents(chat)]).toEqual([[], ["one", "two"]]);
  });

  it("create their chat first, in the next page too, which shows them until then", async () => {
    setup.server.unreachable = true;
    const chat = setup.parley.newChat({ title: "Greetings" });
    chat.send("one");
    chat.send("two");
    await flush();
    setup.parley.close();
    setup.server.unreachable = false;
    setup.server.overrides.set("POST /v1/chats", () => problem(503, "unavailable"));
    const parley = await setup.open();
    const again = await setup.watch(chat.id, parley);
    expect(again.getSnapshot().phase).toBe("draft");
    expect(outbox(again).map(([content]) => content)).toEqual(["one", "two"]);
    setup.server.overrides.clear();
    await pass(10_000);
    expect(contents(again)).toEqual(["one", "two"]);
    expect(again.getSnapshot().phase).toBe("ready");
    expect(setup.server.requests("POST", "/v1/chats").at(-1)?.body).toMatchObject({ title: "Greetings" });
  });

  it("do not overtake one that was given up for the moment", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(POST, () => problem(503, "unavailable"));
    chat.send("one");
    chat.send("two");
    await pass(120_000);
    expect(outbox(chat)).toEqual([
      ["one", "failed"],
      ["two", "failed"],
    ]);
    expect(new Set(sent().map(({ content }) => content))).toEqual(new Set(["one"]));
  });

  it("that were accepted and never stored are shown as failed by the next page", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(POST, () => json({}, 202));
    const id = chat.send("Hello");
    await flush();
    setup.parley.close();
    const error = { code: "not_stored", message: "It could not be stored.", retryable: true };
    setup.server.overrides.set(`GET /v1/chats/${CHAT}/messages/${id}`, () =>
      json({ status: "rejected", error }),
    );
    const again = await setup.watch(CHAT, await setup.open());
    expect(again.getSnapshot().outbox).toMatchObject([
      { status: "failed", problem: "It could not be stored." },
    ]);
  });

  it("that were accepted are forgotten by the next page, whatever part of the chat it shows", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(POST, () => json({}, 202));
    const id = chat.send("Hello");
    await flush();
    setup.parley.close();
    setup.server.overrides.set(`GET /v1/chats/${CHAT}/messages/${id}`, () => json({ status: "sent" }));
    const again = await setup.watch(CHAT, await setup.open());
    expect(outbox(again)).toEqual([]);
    expect(await setup.server.store.outgoing("u")).toEqual([]);
  });

  it("are sent from memory where the browser stores nothing", async () => {
    const refuse = () => Promise.reject(new DOMException("denied", "SecurityError"));
    const denied = Object.fromEntries(
      ["lastUser", "setUser", "outgoing", "add", "change", "remove", "draft", "setDraft", "forget"].map(
        (name) => [name, refuse],
      ),
    );
    setup.parley.close();
    setup.server.store = new FallbackStore(Object.assign(new MemoryStore(), denied));
    const chat = await setup.watch(CHAT, await setup.open());
    setup.server.unreachable = true;
    chat.send("one");
    chat.send("two");
    await pass(60_000);
    setup.server.unreachable = false;
    await pass(10_000);
    expect(contents(chat)).toEqual(["one", "two"]);
    expect(sent()).toHaveLength(2);
  });
});

describe("messages of a user", () => {
  it("are not sent as another one, whom another tab became", async () => {
    const chat = await setup.watch();
    setup.server.unreachable = true;
    chat.send("of the first");
    await flush();
    setup.server.unreachable = false;
    setup.server.user = "another";
    await pass(30_000);
    const accepted = setup.server.room.messages.filter(({ role }) => role === "user");
    expect(accepted).toEqual([]);
    expect(setup.parley.http.user.getSnapshot()).toBe("another");
    expect(outbox(chat)).toEqual([]);
    // They are there when the user is.
    expect((await setup.server.store.outgoing("u")).map(({ content }) => content)).toEqual(["of the first"]);
  });

  it("fail with the reason when the session is lost, and wait for a person", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set("POST /v1/session", () => problem(401, "token_invalid"));
    setup.server.overrides.set(POST, () => problem(401, "token_invalid"));
    chat.send("one");
    chat.send("two");
    await flush();
    const reason = "This browser's session is not valid any more.";
    expect(chat.getSnapshot().outbox).toMatchObject([
      { content: "one", status: "failed", problem: reason },
      { content: "two", status: "failed", problem: reason },
    ]);
  });

  it("become the new guest's draft when the browser lost its cookie, as by a crash soon after the first visit", async () => {
    const chat = await setup.watch();
    setup.server.unreachable = true;
    chat.send("not sent");
    setup.parley.drafts.of(CHAT).write("half a sent");
    await flush();
    setup.parley.close();
    setup.server.unreachable = false;
    setup.server.user = "new";
    setup.server.overrides.set("POST /v1/session", () =>
      json({ user_id: "new", access_token: "t", expires_at: "2100-01-01T00:00:00Z", new_guest: true }),
    );
    const again = await setup.open();
    again.drafts.of(null);
    again.drafts.of(CHAT);
    await flush();
    expect(sent()).toEqual([]);
    expect(again.drafts.of(null).getSnapshot()).toContain("not sent");
    expect(await setup.server.store.outgoing("u")).toEqual([]);
  });

  it("become the new guest's draft when the person starts over, with the draft that was shown", async () => {
    const other = await setup.open();
    const chat = await setup.watch();
    setup.server.overrides.set("POST /v1/session", ({ body }) => {
      if ((body as { start_over?: boolean }).start_over !== true) return problem(401, "token_invalid");
      setup.server.user = "new";
      setup.server.overrides.clear();
      return json({ user_id: "new", access_token: "t", expires_at: "2100-01-01T00:00:00Z", new_guest: true });
    });
    setup.server.overrides.set(POST, () => problem(401, "token_invalid"));
    chat.send("not sent");
    setup.parley.drafts.of(CHAT).write("half a sent");
    await flush();
    // A page shows a new chat as soon as the user is another one.
    setup.parley.http.sessions.subscribe(() => setup.parley.drafts.of(null));
    expect(await setup.parley.startOver()).toBe(true);
    await flush();
    expect(await setup.server.store.draft("new", CHAT)).toBe("");
    expect(sent()).toHaveLength(1);
    expect(outbox(chat)).toEqual([]);
    expect(setup.parley.drafts.of(null).getSnapshot()).toBe("not sent\n\nhalf a sent");
    expect(setup.parley.drafts.of(CHAT).getSnapshot()).toBe("");
    // The other tab switches to the new guest by itself.
    expect(other.http.user.getSnapshot()).toBe("new");
    expect(other.session.getSnapshot()).toBe("good");
  });
});

describe("a new chat", () => {
  it("is created with its first message, under the id that it already has, and then watched", async () => {
    const chat = setup.parley.newChat({ title: "Greetings" });
    setup.listen(chat);
    expect(chat.getSnapshot().phase).toBe("draft");
    chat.send("Hello");
    expect(outbox(chat)).toEqual([["Hello", "sending"]]);
    await flush();
    expect(setup.server.requests("POST", "/v1/chats")[0]?.body).toEqual({ id: chat.id, title: "Greetings" });
    expect(chat.getSnapshot()).toMatchObject({ phase: "ready", outbox: [] });
    expect(chat.getSnapshot().state.messages).toHaveLength(2);
  });

  it("is created once, however often the network fails", async () => {
    setup.server.unreachable = true;
    const chat = setup.parley.newChat();
    setup.listen(chat);
    chat.send("Hello");
    await pass(5_000);
    setup.server.unreachable = false;
    await pass(10_000);
    expect(setup.server.requests("POST", "/v1/chats")).toHaveLength(1);
    expect(chat.getSnapshot().phase).toBe("ready");
  });
});
