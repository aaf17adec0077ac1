import { describe, expect, it, vi } from "vitest";
import { connect, type Environment } from "../src/index.ts";
import { CHAT, Room } from "../src/testing/room.ts";
import { json, problem } from "../src/testing/server.ts";
import { flush, pass, Setup } from "./support/client";

const setup = Setup.use();
const OTHER = "0190a000-0000-7000-8000-00000000000d";

describe("a session", () => {
  it("is started by one tab after the other", async () => {
    const names: string[] = [];
    let running = 0;
    let most = 0;
    let turn: Promise<unknown> = Promise.resolve();
    const withLock: Environment["withLock"] = (name, work) => {
      names.push(name);
      const mine = turn.then(async () => {
        most = Math.max(most, ++running);
        try {
          return await work();
        } finally {
          running -= 1;
        }
      });
      turn = mine.catch(() => undefined);
      return mine;
    };
    const tab = (): Environment => Object.assign(Object.create(setup.server) as Environment, { withLock });
    const tabs = [connect(tab()), connect(tab()), connect(tab())];
    await pass(1_000);
    expect(new Set(names)).toEqual(new Set(["parley-session"]));
    expect(most).toBe(1);
    for (const parley of tabs) parley.close();
  });

  it("that is lost stays until the person starts over", async () => {
    const bodies: unknown[] = [];
    setup.server.overrides.set("POST /v1/session", ({ body }) => {
      bodies.push(body);
      const startsOver = (body as { start_over?: boolean }).start_over === true;
      return startsOver
        ? json({ user_id: "new", access_token: "t", expires_at: "2100-01-01T00:00:00Z" })
        : problem(401, "token_invalid");
    });
    setup.server.overrides.set("POST /v1/push-ticket", () => problem(401, "token_invalid"));
    setup.server.socket.cut();
    await pass(60_000);
    expect(setup.parley.session.getSnapshot()).toBe("lost");
    expect(bodies).not.toContainEqual({ start_over: true });
    setup.server.overrides.delete("POST /v1/push-ticket");
    setup.server.overrides.set("GET /v1/chats", () => json({ items: [], next: null }));
    await setup.parley.startOver();
    await flush();
    expect(setup.parley.session.getSnapshot()).toBe("good");
    expect(setup.status).toBe("online");
  });

  it("is signed out when an administrator disables the user", async () => {
    setup.server.overrides.set("POST /v1/session", () => problem(403, "user_disabled"));
    setup.server.overrides.set("POST /v1/push-ticket", () => problem(403, "user_disabled"));
    setup.server.socket.cut();
    await pass(60_000);
    expect(setup.parley.session.getSnapshot()).toBe("lost");
  });

  it("is renewed in time also when the clock was set back, or is wrong by years", async () => {
    const renewals = () => setup.server.requests("POST", "/session").length;
    const before = renewals();
    vi.setSystemTime(Date.now() - 365 * 24 * 60 * 60_000);
    await setup.parley.http.models().catch(() => undefined);
    expect(renewals()).toBe(before + 1);
    // The session ends in an hour, by the server's clock; by this one in a year.
    setup.server.overrides.set("POST /v1/session", () =>
      json({ user_id: "u", access_token: "t", expires_at: new Date(Date.now() + 365 * 24 * 3_600_000) }),
    );
    await setup.parley.http.startSession();
    await pass(23 * 60 * 60_000);
    const renewed = renewals();
    await pass(2 * 60 * 60_000);
    await setup.parley.http.models().catch(() => undefined);
    expect(renewals()).toBe(renewed + 1);
  });

  it("that another tab restored is valid in this tab with the next request", async () => {
    setup.server.overrides.set("POST /v1/session", () => problem(401, "token_invalid"));
    await expect(setup.parley.http.startSession()).rejects.toThrow("not valid any more");
    setup.server.overrides.clear();
    await setup.parley.http.listChats();
    expect(setup.parley.session.getSnapshot()).toBe("good");
  });

  it("that comes back by itself is good again", async () => {
    setup.server.overrides.set("POST /v1/session", () => problem(401, "token_invalid"));
    await expect(setup.parley.http.startSession()).rejects.toThrow();
    expect(setup.parley.session.getSnapshot()).toBe("lost");
    setup.server.overrides.delete("POST /v1/session");
    await setup.parley.http.startSession();
    expect(setup.parley.session.getSnapshot()).toBe("good");
  });
});

describe("a user who is not a guest", () => {
  const signedIn = async (user: string, guest = false) => {
    Object.assign(setup.server, { user, guest });
    await setup.parley.http.startSession();
    await flush();
  };
  const draft = () => setup.parley.drafts.of(CHAT).getSnapshot();

  it("keeps what was not sent when another one signs in, who neither sees nor sends it", async () => {
    await signedIn("ada");
    setup.parley.drafts.of(CHAT).write("Ada's draft");
    setup.server.overrides.set(`POST /v1/chats/${CHAT}/messages`, () => problem(503, "unavailable"));
    const chat = await setup.watch(CHAT);
    chat.send("Ada's message");
    await pass(100);
    await signedIn("grace");
    await pass(60_000);
    setup.server.overrides.clear();
    expect(draft()).toBe("");
    expect(chat.getSnapshot().outbox).toEqual([]);
    expect(setup.server.room.messages).toEqual([]);
    await signedIn("ada");
    expect(draft()).toBe("Ada's draft");
    await pass(60_000);
    expect(setup.server.room.messages.map(({ content }) => content)).toContain("Ada's message");
  });

  it("does not leave it to a new guest either", async () => {
    await signedIn("ada");
    setup.parley.drafts.of(CHAT).write("Ada's draft");
    await flush();
    setup.server.overrides.set("POST /v1/session", () =>
      json({ user_id: "guest", access_token: "t", expires_at: "2100-01-01T00:00:00Z", new_guest: true }),
    );
    await setup.parley.startOver();
    await flush();
    setup.parley.drafts.of(null);
    await flush();
    expect(draft()).toBe("");
    expect(setup.parley.drafts.of(null).getSnapshot()).toBe("");
  });

  it("gets what a guest did not send, as the draft of a new chat", async () => {
    setup.parley.drafts.of(CHAT).write("The guest's draft");
    await flush();
    await signedIn("ada");
    setup.parley.drafts.of(null);
    await flush();
    expect(setup.parley.drafts.of(null).getSnapshot()).toBe("The guest's draft");
  });

  it("who was the guest of this browser is known in all its tabs with the next renewal", async () => {
    const tab = await setup.open();
    expect(tab.user.getSnapshot()).toEqual({ id: "u", guest: true });
    await signedIn("u");
    await tab.http.startSession();
    expect(tab.user.getSnapshot()).toEqual({ id: "u", guest: false });
    await flush();
    expect(await setup.server.store.lastUser()).toEqual({ id: "u", guest: false });
  });

  it("signs out: nothing of the user is shown before the next session is known, and it is there again after", async () => {
    await signedIn("ada");
    setup.parley.drafts.of(CHAT).write("Ada's draft");
    await flush();
    setup.server.overrides.set("DELETE /v1/session", () => json({ logout_url: "https://id.example/logout" }));
    expect(await setup.parley.signOut({ everywhere: false })).toBe("https://id.example/logout");
    setup.server.overrides.set("POST /v1/session", () => problem(403, "guests_not_allowed"));
    const again = await setup.open();
    expect(again.drafts.of(CHAT).getSnapshot()).toBe("");
    await flush();
    expect(again.drafts.of(CHAT).getSnapshot()).toBe("");
    setup.server.overrides.clear();
    await again.http.startSession();
    await flush();
    expect(again.drafts.of(CHAT).getSnapshot()).toBe("Ada's draft");
  });

  it("who was erased leaves nothing in the browser", async () => {
    await signedIn("ada");
    setup.parley.drafts.of(CHAT).write("Ada's draft");
    await flush();
    await setup.parley.forgetUser();
    expect(await setup.server.store.draft("ada", CHAT)).toBe("");
    expect(await setup.server.store.lastUser()).toEqual({ id: "", guest: true });
  });
});

describe("a socket of another user than the cookie's", () => {
  it("is replaced after an access error when the session is another user's", async () => {
    setup.server.user = "another tab's";
    setup.server.overrides.set("POST /v1/session", () => {
      // The cookie's user made it: the next socket finds it.
      setup.server.rooms.set(OTHER, new Room(OTHER));
      return json({ user_id: setup.server.user, access_token: "t", expires_at: "2100-01-01T00:00:00Z" });
    });
    const chat = setup.parley.watch(OTHER);
    setup.listen(chat);
    await pass(1_000);
    expect(setup.server.sockets).toHaveLength(2);
    expect(setup.server.socket.cursors(OTHER)).toHaveLength(1);
    expect(chat.getSnapshot().state.chat?.id).toBe(OTHER);
  });

  it("is left alone when both are the same user: the chat is not there", async () => {
    const chat = await setup.watch(OTHER);
    await pass(1_000);
    expect(setup.server.sockets).toHaveLength(1);
    expect(chat.getSnapshot().phase).toBe("unavailable");
    expect((await setup.watch(CHAT)).getSnapshot().state.chat?.id).toBe(CHAT);
  });
});
