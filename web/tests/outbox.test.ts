import { describe, expect, it } from "vitest";
import type { WatchedChat } from "../src/client";
import { pass, Setup, settle } from "./support/client";
import { CHAT } from "./support/room";
import { json, problem } from "./support/server";

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
    await settle();
    expect(outbox(chat)).toEqual([]);
    expect(chat.getSnapshot().state.messages[0]).toMatchObject({ id, content: "Hello", status: "sent" });
  });

  it("keeps showing what was accepted while the line is away", async () => {
    const chat = await setup.watch();
    setup.server.socket.dead = true;
    chat.send("Hello");
    await settle();
    expect(outbox(chat)).toEqual([["Hello", "accepted"]]);
    await pass(60_000);
    expect(outbox(chat)).toEqual([]);
    expect(chat.getSnapshot().state.messages).toHaveLength(2);
  });

  it("says of an accepted message that it could not be stored", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(POST, () => json({}, 202));
    const id = chat.send("Hello");
    await settle();
    expect(outbox(chat)).toEqual([["Hello", "accepted"]]);
    const error = { code: "not_stored", message: "It could not be stored.", retryable: true };
    setup.server.publish([{ type: "rejected", chat_id: CHAT, message_id: id, error }]);
    await settle();
    expect(outbox(chat)).toEqual([["Hello", "failed"]]);
    expect(chat.getSnapshot().outbox[0]?.problem).toBe("It could not be stored.");
  });

  it("sends the same id again when the network fails, and makes one turn of it", async () => {
    const chat = await setup.watch();
    let answers = 0;
    setup.server.overrides.set(POST, (request) => {
      const { id, content } = request.body as { id: string; content: string };
      setup.server.room.ask(content, id);
      // The server has it, but its answer is lost on the way.
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
    await settle();
    setup.server.publish(setup.server.room.ask("Hello", id));
    await pass(60_000);
    expect(sent()).toHaveLength(1);
    expect(outbox(chat)).toEqual([]);
  });

  it("gives up after a bounded time, and sends the same message again when it is told to", async () => {
    const chat = await setup.watch();
    setup.server.overrides.set(POST, () => problem(503, "unavailable"));
    const id = chat.send("Hello");
    await pass(120_000);
    expect(sent()).toHaveLength(10);
    expect(chat.getSnapshot().outbox[0]).toMatchObject({ status: "failed", problem: "It is unavailable." });
    setup.server.overrides.clear();
    chat.resend(id);
    await settle();
    expect(sent().every((body) => body.id === id)).toBe(true);
    expect(outbox(chat)).toEqual([]);
    expect(setup.server.room.messages).toHaveLength(2);
  });

  it("does not repeat what the server refuses, and says why", async () => {
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
    setup.server.tell("online");
    await settle();
    expect(sent()).toHaveLength(1);
  });

  it("says where a branch starts", async () => {
    const chat = await setup.watch();
    chat.send("at the tip");
    chat.send("a new root", null);
    chat.send("a branch", CHAT);
    await settle();
    expect(sent().map((body) => [body.content, "parent_id" in body ? body.parent_id : "absent"])).toEqual([
      ["at the tip", "absent"],
      ["a new root", null],
      ["a branch", CHAT],
    ]);
  });
});

describe("a new chat", () => {
  it("is created with its first message, under the id that it already has, and then watched", async () => {
    const chat = setup.parley.newChat({ title: "Greetings" });
    setup.listen(chat);
    expect(chat.getSnapshot().phase).toBe("draft");
    chat.send("Hello");
    expect(outbox(chat)).toEqual([["Hello", "sending"]]);
    await settle();
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
