import { describe, expect, it, vi } from "vitest";
import { newId, type Parley } from "../src/index.ts";
import { CHAT } from "../src/testing/room.ts";
import { flush, Setup } from "./support/client";

const setup = Setup.use();

const text = (parley: Parley, chatId: string | null = CHAT) => parley.drafts.of(chatId).getSnapshot();

async function write(parley: Parley, written: string, chatId: string | null = CHAT): Promise<void> {
  parley.drafts.of(chatId).write(written);
  await flush();
}

describe("a draft", () => {
  it("is there again after the page was closed, for each chat and for a new one", async () => {
    await write(setup.parley, "half a sent");
    await write(setup.parley, "a new ch", null);
    setup.parley.close();
    const again = await setup.open();
    again.drafts.of(CHAT);
    again.drafts.of(null);
    await flush();
    expect(text(again)).toBe("half a sent");
    expect(text(again, null)).toBe("a new ch");
  });

  it("is shown before the session is known", async () => {
    await write(setup.parley, "half a sent");
    setup.parley.close();
    setup.server.unreachable = true;
    const again = await setup.open();
    again.drafts.of(CHAT);
    await flush();
    expect(text(again)).toBe("half a sent");
  });

  it("that was begun before the browser had a session belongs to the guest that it becomes", async () => {
    setup.parley.close();
    setup.server.user = "first";
    setup.server.unreachable = true;
    const parley = await setup.open();
    await write(parley, "early");
    setup.server.unreachable = false;
    await parley.http.startSession();
    await flush();
    expect(await setup.server.store.draft("first", CHAT)).toBe("early");
    expect(text(parley)).toBe("early");
  });

  it("ends with the message that it becomes, in all tabs", async () => {
    const other = await setup.open();
    other.drafts.of(CHAT);
    const chat = await setup.watch();
    await write(setup.parley, "Hello");
    expect(text(other)).toBe("Hello");
    chat.send("Hello", undefined, setup.parley.drafts.of(CHAT));
    expect(text(setup.parley)).toBe("");
    await flush();
    expect(text(other)).toBe("");
    setup.parley.close();
    const again = await setup.open();
    again.drafts.of(CHAT);
    await flush();
    expect(text(again)).toBe("");
  });

  it("that was written in two tabs stays in each as it was written there, also when one of them is sent", async () => {
    const other = await setup.open();
    const chat = await setup.watch();
    await write(setup.parley, "mine");
    other.drafts.of(CHAT);
    await flush();
    await write(other, "yours");
    expect(text(setup.parley)).toBe("mine");
    chat.send("mine", undefined, setup.parley.drafts.of(CHAT));
    await flush();
    expect(text(other)).toBe("yours");
    // Sending ended the stored draft; the one that is still written is stored again.
    expect(await setup.server.store.draft("u", CHAT)).toBe("yours");
  });

  it("that was written here is stored when the page may end, though another tab stored its own since", async () => {
    const other = await setup.open();
    await write(setup.parley, "mine");
    await write(other, "yours");
    other.close();
    setup.server.emit("hidden");
    await flush();
    expect(await setup.server.store.draft("u", CHAT)).toBe("mine");
  });

  it("is there after a reload also when the page ended before it was stored", async () => {
    const store = vi.spyOn(setup.server.store, "setDraft").mockReturnValue(new Promise(() => undefined));
    await write(setup.parley, "half");
    await write(setup.parley, "half a sentence");
    setup.server.emit("hidden");
    setup.parley.close();
    store.mockRestore();
    const again = await setup.open();
    again.drafts.of(CHAT);
    await flush();
    expect(text(again)).toBe("half a sentence");
    expect(await setup.server.store.draft("u", CHAT)).toBe("half a sentence");
    expect(setup.server.tabTexts.size).toBe(0);
  });

  it("is reloaded when the page becomes visible, which may have missed changes", async () => {
    const shared = setup.server.store;
    setup.parley.close();
    vi.spyOn(shared, "onChange").mockReturnValue(() => undefined);
    const away = await setup.open();
    away.drafts.of(CHAT);
    const chat = await setup.watch(CHAT, away);
    setup.server.unreachable = true;
    await shared.setDraft("u", CHAT, "half a sentence");
    await shared.add(
      {
        id: newId(),
        chat_id: CHAT,
        user_id: "u",
        content: "not sent",
        parent_id: undefined,
        creation: null,
        status: "sending",
        problem: null,
        retryable: true,
        created_at: new Date().toISOString(),
      },
      null,
    );
    await flush();
    expect([text(away), chat.getSnapshot().outbox]).toEqual(["", []]);
    setup.server.emit("visible");
    await flush();
    expect(text(away)).toBe("half a sentence");
    expect(chat.getSnapshot().outbox).toMatchObject([{ content: "not sent" }]);
  });

  it("of a chat that is deleted is deleted", async () => {
    setup.server.overrides.set(`DELETE /v1/chats/${CHAT}`, () => new Response(null, { status: 204 }));
    await write(setup.parley, "for nobody");
    await setup.parley.deleteChat(CHAT);
    await flush();
    expect(await setup.server.store.draft("u", CHAT)).toBe("");
  });
});
