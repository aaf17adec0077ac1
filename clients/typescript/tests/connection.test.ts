import { beforeEach, describe, expect, it, vi } from "vitest";
import { connect, type Environment } from "../src/index.ts";
import { CHAT, Room } from "../src/testing/room.ts";
import { json, problem } from "../src/testing/server.ts";
import { flush, newestText, pass, Setup } from "./support/client";

const setup = Setup.use();
const OTHER = "0190a000-0000-7000-8000-00000000000d";

describe("connecting", () => {
  it("authenticates with a ticket and is online when the server is ready", () => {
    expect(setup.status).toBe("online");
    expect(setup.server.socket.url).toBe("ws://parley.test/ws");
    expect(setup.server.socket.frames).toEqual([{ type: "auth", ticket: "ticket-1", chats: true }]);
  });

  it("is connecting until then, and reconnecting after a loss", async () => {
    const seen: string[] = [];
    setup.server.unreachable = true;
    setup.server.socket.cut();
    expect(setup.status).toBe("reconnecting");
    const parley = connect(setup.server);
    expect(parley.connection.getSnapshot().status).toBe("connecting");
    parley.connection.subscribe(() => seen.push(parley.connection.getSnapshot().status));
    await pass(5_000);
    expect(seen).toEqual([]);
    setup.server.unreachable = false;
    await pass(15_000);
    expect(seen).toEqual(["online"]);
    parley.close();
  });

  it("watches several chats over one socket and leaves one after a while without listeners", async () => {
    setup.server.rooms.set(OTHER, new Room(OTHER));
    const chat = await setup.watch();
    const other = setup.parley.watch(OTHER);
    const release = setup.listen(other);
    await flush();
    expect(setup.server.sockets).toHaveLength(1);
    setup.server.act({ do: "ask", text: "to the other" }, OTHER);
    expect(other.getSnapshot().state.messages).toHaveLength(2);
    expect(chat.getSnapshot().state.messages).toHaveLength(0);
    release();
    await pass(9_000);
    setup.server.act({ do: "delta", text: "a" }, OTHER);
    expect(newestText(other)).toBe("a");
    await pass(1_500);
    expect(setup.server.socket.frames.at(-1)).toEqual({ type: "unwatch", chat_id: OTHER });
    setup.listen(other);
    expect(setup.server.socket.cursors(OTHER).at(-1)).toMatchObject({ seq: 1 });
  });

  it("gets a ticket with a new session when the old one has ended", async () => {
    setup.server.overrides.set("POST /v1/push-ticket", () => {
      setup.server.overrides.delete("POST /v1/push-ticket");
      return problem(401, "not_authenticated");
    });
    const sessions = setup.server.requests("POST", "/session").length;
    setup.server.socket.cut();
    await pass(500);
    expect(setup.status).toBe("online");
    expect(setup.server.requests("POST", "/session")).toHaveLength(sessions + 1);
  });

  it("renews a session shortly before its end", async () => {
    await pass(3_600_000 - 30_000);
    const sessions = setup.server.requests("POST", "/session").length;
    await setup.parley.http.pushTicket();
    await setup.parley.http.pushTicket();
    expect(setup.server.requests("POST", "/session")).toHaveLength(sessions + 1);
  });

  it("does not renew with each request when this device's clock is wrong", async () => {
    setup.server.overrides.set("POST /v1/session", () =>
      json({ user_id: "u", access_token: "t", expires_at: "2001-01-01T00:00:00Z" }),
    );
    await setup.parley.http.startSession();
    const sessions = setup.server.requests("POST", "/session").length;
    for (let count = 0; count < 10; count++) await setup.parley.http.pushTicket();
    expect(setup.server.requests("POST", "/session")).toHaveLength(sessions);
  });
});

describe("resuming", () => {
  const ANSWER = ["Hel", "lo ", "wörld ", "\u{1F600}\r\n", "", "```js\n", "x", "\n```"];

  it("has the whole text when the socket is cut after every single delta", async () => {
    const chat = await setup.watch();
    setup.server.act({ do: "ask", text: "Hi" });
    for (const text of ANSWER) {
      await pass(10_000);
      setup.server.act({ do: "delta", text });
      setup.server.socket.cut();
      await pass(500);
      expect(setup.status).toBe("online");
      expect(setup.transport).toBe("socket");
    }
    expect(newestText(chat)).toBe(ANSWER.join(""));
    setup.server.act({ do: "finish" });
    expect(chat.getSnapshot().state.messages).toEqual(setup.server.room.messages);
    expect(newestText(chat)).toBe(ANSWER.join(""));
    expect(setup.server.sockets).toHaveLength(ANSWER.length + 1);
  });

  it("receives what it missed while it was disconnected", async () => {
    const chat = await setup.watch();
    setup.server.act({ do: "ask", text: "Hi" });
    for (const text of ANSWER) {
      setup.server.act({ do: "delta", text });
      setup.server.socket.cut();
      setup.server.act({ do: "delta", text: `(${text})` });
      await pass(500);
    }
    expect(newestText(chat)).toBe(ANSWER.map((text) => `${text}(${text})`).join(""));
  });

  it("asks only for what it does not have", async () => {
    await setup.watch();
    setup.server.act({ do: "ask", text: "Hi" });
    setup.server.act({ do: "delta", text: "one" });
    setup.server.act({ do: "delta", text: "two" });
    setup.server.socket.cut();
    await pass(500);
    const { generation_id } = setup.server.room.generation ?? {};
    expect(setup.server.socket.cursors()).toEqual([{ version: 1, generation_id, attempt: 1, seq: 2 }]);
  });

  it("drops the text of an attempt that another worker took over meanwhile", async () => {
    const chat = await setup.watch();
    setup.server.act({ do: "ask", text: "Hi" });
    setup.server.act({ do: "delta", text: "the first try" });
    setup.server.socket.cut();
    setup.server.act({ do: "attempt" });
    setup.server.act({ do: "delta", text: "the second" });
    await pass(500);
    expect(newestText(chat)).toBe("the second");
  });

  it("learns that the answer ended meanwhile", async () => {
    const chat = await setup.watch();
    setup.server.act({ do: "ask", text: "Hi" });
    setup.server.act({ do: "delta", text: "Hello" });
    setup.server.socket.cut();
    setup.server.act({ do: "delta", text: " there" });
    setup.server.act({ do: "finish" });
    await pass(500);
    expect(chat.getSnapshot().state.generation).toBeNull();
    expect(newestText(chat)).toBe("Hello there");
  });

  it("watches again, once and with its cursor, when a delta is missing", async () => {
    const chat = await setup.watch();
    setup.server.act({ do: "ask", text: "Hi" });
    setup.server.act({ do: "delta", text: "one " });
    setup.server.room.perform({ do: "delta", text: "two " });
    setup.server.act({ do: "delta", text: "three" });
    expect(newestText(chat)).toBe("one two three");
    expect(setup.server.socket.cursors()).toHaveLength(2);
    expect(setup.server.socket.cursors()[1]).toMatchObject({ seq: 1 });
  });

  it("does not ask without end when watching again does not help", async () => {
    const chat = await setup.watch();
    setup.server.act({ do: "ask", text: "Hi" });
    const strange = { chat_id: CHAT, generation_id: OTHER, attempt: 1, kind: "text", text: "x" } as const;
    for (let seq = 1; seq <= 100; seq++) {
      setup.server.publish([{ type: "delta", from: seq, to: seq, ...strange }]);
      await pass(100);
    }
    expect(setup.server.socket.cursors().length).toBeLessThan(12);
    expect(newestText(chat)).toBe("");
  });
});

describe("backing off", () => {
  it("waits longer each time, at most 15 s, and drawn evenly from zero on", async () => {
    const dials: number[] = [];
    setup.server.overrides.set("POST /v1/push-ticket", () => {
      dials.push(Date.now());
      return problem(503, "unavailable");
    });
    setup.server.fraction = 0.5;
    dials.push(Date.now());
    setup.server.socket.cut();
    await pass(60_000);
    const delays = dials.slice(1).map((at, index) => at - (dials[index] ?? 0));
    // Half of 0.5, 1, 2, … 15 s.
    expect(delays.slice(0, 8)).toEqual([250, 500, 1_000, 2_000, 4_000, 7_500, 7_500, 7_500]);
  });

  it("starts from the shortest delay after a socket that lasted", async () => {
    for (let times = 0; times < 6; times++) {
      await pass(11_000);
      setup.server.socket.cut();
      await pass(510);
      expect(setup.status).toBe("online");
    }
  });

  it("continues its backoff when sockets are accepted and close at once", async () => {
    setup.server.fraction = 0.999999;
    for (let times = 0; times < 6; times++) {
      setup.server.socket.cut(4001);
      await pass(400);
      await pass(15_000 * Number(times > 3));
    }
    expect(setup.server.sockets.length).toBeLessThan(6);
  });
});

describe("closing codes", () => {
  it.each([1000, 1001, 1006, 1011, 1012, 4000, 4001, 4002, 4399, 4500])("%i: comes back", async (code) => {
    setup.server.socket.cut(code);
    expect(setup.status).toBe("reconnecting");
    await pass(500);
    expect(setup.status).toBe("online");
    expect(setup.server.socket.frames[0]).toEqual({ type: "auth", ticket: "ticket-2", chats: true });
  });

  it.each([4400, 4401, 4403, 4429, 4499])("%i: reconnects on request only", async (code) => {
    setup.server.socket.cut(code);
    setup.server.emit("visible");
    setup.server.emit("online");
    await pass(600_000);
    expect(setup.server.sockets).toHaveLength(1);
    expect(setup.parley.connection.getSnapshot()).toEqual({
      status: "offline",
      transport: "socket",
      refusal: code,
    });
    setup.parley.reconnect();
    await flush();
    expect(setup.status).toBe("online");
  });
});

describe("a session that has ended", () => {
  const end = () => {
    for (const route of ["POST /v1/session", "POST /v1/push-ticket"]) {
      setup.server.overrides.set(route, () => problem(401, "session_ended"));
    }
  };
  const signedOut = { status: "offline", transport: "socket", refusal: 4410 };

  it("is reported once, and not connected with again", async () => {
    const states: string[] = [];
    setup.parley.session.subscribe(() => states.push(setup.parley.session.getSnapshot()));
    await setup.watch();
    end();
    setup.server.socket.cut(4410);
    await pass(600_000);
    expect(states).toEqual(["lost"]);
    expect(setup.parley.connection.getSnapshot()).toEqual(signedOut);
    expect(setup.server.sockets).toHaveLength(1);
    expect(setup.server.requests("POST", "/session")).toHaveLength(2);
    expect(setup.server.requests("POST", "/push-ticket")).toHaveLength(1);
  });

  it("is asked about again when a person comes back to the page, and connects when there is one", async () => {
    const chat = await setup.watch();
    end();
    setup.server.socket.cut(4410);
    await pass(1_000);
    setup.server.emit("visible");
    await pass(1_000);
    expect(setup.parley.connection.getSnapshot()).toEqual(signedOut);
    setup.server.overrides.clear();
    setup.server.emit("visible");
    await pass(1_000);
    expect(setup.status).toBe("online");
    setup.server.act({ do: "ask", text: "Hi" });
    setup.server.act({ do: "delta", text: "Hello" });
    expect(newestText(chat)).toBe("Hello");
  });

  it("connects when another one is started", async () => {
    end();
    setup.server.socket.cut(4410);
    await pass(1_000);
    setup.server.overrides.clear();
    await setup.parley.http.startSession();
    await pass(1_000);
    expect(setup.status).toBe("online");
  });

  it("of the socket alone is replaced by the browser's: another tab signed in", async () => {
    setup.server.socket.cut(4410);
    await pass(1_000);
    expect(setup.status).toBe("online");
    expect(setup.server.sockets).toHaveLength(2);
  });

  it("while the gateway still accepts it, is retried with backoff", async () => {
    for (let times = 0; times < 10; times++) {
      if (setup.server.socket.open) setup.server.socket.cut(4410);
      await pass(1_000);
    }
    expect(setup.server.sockets.length).toBeLessThan(7);
  });

  it("stops a connection that is being retried", async () => {
    end();
    setup.server.socket.cut();
    await pass(600_000);
    expect(setup.parley.connection.getSnapshot()).toEqual(signedOut);
    expect(setup.server.requests("POST", "/push-ticket")).toHaveLength(2);
    expect(setup.server.requests("POST", "/session")).toHaveLength(2);
  });

  it("ends server-sent events, by an event or by a refusal", async () => {
    for (const refused of [false, true]) {
      const chat = await setup.watch();
      setup.server.socketsBroken = true;
      setup.server.socket.cut();
      await pass(20_000);
      expect(setup.transport).toBe("events");
      end();
      setup.server.overrides.set(`GET /v1/chats/${CHAT}/stream`, () => problem(401, "session_ended"));
      const stream = setup.server.streams.at(-1);
      if (refused) stream?.cut();
      else stream?.deliver({ type: "error", code: "session_ended", message: "", chat_id: CHAT });
      await pass(600_000);
      expect(setup.parley.connection.getSnapshot()).toEqual(signedOut);
      expect(setup.parley.session.getSnapshot()).toBe("lost");
      expect(chat.getSnapshot().phase).not.toBe("unavailable");
      const streams = setup.server.streams.length;
      await pass(600_000);
      expect(setup.server.streams).toHaveLength(streams);
      setup.server.overrides.clear();
      setup.server.socketsBroken = false;
      await setup.parley.http.startSession();
      await pass(1_000);
      expect(setup.status).toBe("online");
    }
  });
});

describe("the page and its network", () => {
  it("is offline when the browser reports it, and reconnects at once when the network is back", async () => {
    setup.server.offline = true;
    setup.server.unreachable = true;
    setup.server.socket.cut();
    expect(setup.status).toBe("offline");
    await pass(60_000);
    setup.server.offline = false;
    setup.server.unreachable = false;
    setup.server.emit("online");
    await flush();
    expect(setup.status).toBe("online");
  });

  it("is offline at once, although the socket still looks open, and online with it when the network is back", async () => {
    await setup.watch();
    setup.server.offline = true;
    setup.server.emit("offline");
    expect(setup.status).toBe("offline");
    setup.server.offline = false;
    setup.server.emit("online");
    await pass(5_000);
    expect(setup.status).toBe("online");
    expect(setup.server.sockets).toHaveLength(1);
  });

  it.each(["awake", "online", "visible"] as const)(
    "shows what was missed within three seconds of being %s, although the old socket looks open",
    async (event) => {
      const chat = await setup.watch();
      setup.server.act({ do: "ask", text: "Hi" });
      setup.server.socket.dead = true;
      setup.server.act({ do: "delta", text: "while it slept" });
      setup.server.emit(event);
      await pass(3_000);
      expect(newestText(chat)).toBe("while it slept");
      expect(setup.status).toBe("online");
    },
  );

  it("probes the socket when the page becomes visible", async () => {
    await setup.watch();
    setup.server.emit("visible");
    expect(setup.server.socket.cursors()).toHaveLength(2);
    await pass(9_000);
    expect(setup.server.sockets).toHaveLength(1);
  });

  it("abandons a socket that does not respond, without waiting for a close event", async () => {
    const chat = await setup.watch();
    setup.server.act({ do: "ask", text: "Hi" });
    setup.server.socket.dead = true;
    setup.server.act({ do: "delta", text: "unheard" });
    setup.server.emit("online");
    await pass(9_000);
    expect(setup.server.sockets).toHaveLength(2);
    expect(newestText(chat)).toBe("unheard");
  });

  it("notices by itself when a socket fell silent", async () => {
    const chat = await setup.watch();
    setup.server.act({ do: "ask", text: "Hi" });
    setup.server.socket.dead = true;
    setup.server.act({ do: "delta", text: "unheard" });
    await pass(40_000);
    expect(newestText(chat)).toBe("unheard");
  });

  it("sends no probes while the page is hidden", async () => {
    await setup.watch();
    setup.server.hidden = true;
    await pass(3_600_000);
    expect(setup.server.socket.cursors()).toHaveLength(1);
    expect(setup.status).toBe("online");
  });

  it("gives up a socket that never gets ready", async () => {
    const environment: Environment = setup.server;
    const open = vi.spyOn(environment, "openSocket").mockReturnValue({ send: vi.fn(), close: vi.fn() });
    setup.server.socket.cut();
    await pass(31_000);
    expect(open).toHaveBeenCalledTimes(2);
    open.mockRestore();
    await pass(120_000);
    expect(setup.server.sockets).toHaveLength(2);
    expect(setup.transport).toBe("socket");
  });
});

describe("a chat that cannot be watched", () => {
  it("is unavailable when it does not exist, and is not asked for again", async () => {
    const chat = await setup.watch(OTHER);
    expect(chat.getSnapshot()).toMatchObject({ phase: "unavailable", problem: { code: "not_found" } });
    setup.server.socket.cut();
    await pass(500);
    expect(setup.server.socket.cursors(OTHER)).toEqual([]);
  });

  it("is resumed with backoff after a transient error", async () => {
    const chat = await setup.watch();
    setup.server.socket.deliver({ type: "error", code: "unavailable", message: "Later.", chat_id: CHAT });
    expect(setup.server.socket.cursors()).toHaveLength(1);
    await pass(300);
    expect(setup.server.socket.cursors()).toHaveLength(2);
    expect(chat.getSnapshot().phase).toBe("ready");
  });

  it("is gone when it is deleted", async () => {
    const chat = await setup.watch();
    setup.server.publish([{ type: "chat", chat_id: CHAT, version: 2, chat: null }]);
    expect(chat.getSnapshot().state.deleted).toBe(true);
  });
});

describe("a network that kills sockets", () => {
  beforeEach(async () => {
    await setup.watch();
    setup.server.socketsBroken = true;
    setup.server.socket.cut();
    await pass(5_000);
  });

  it("is read over server-sent events, from the cursor on", () => {
    expect(setup.transport).toBe("events");
    expect(setup.status).toBe("online");
    expect(setup.server.streams).toHaveLength(1);
    expect(setup.server.streams[0]?.after).toEqual({ version: 1 });
  });

  it("shows the same text, cut after every single delta", async () => {
    const chat = setup.parley.watch(CHAT);
    setup.server.act({ do: "ask", text: "Hi" });
    const texts = ["Hel", "lo ", "wörld \u{1F600}", "\r\n", "!"];
    for (const text of texts) {
      setup.server.act({ do: "delta", text });
      await flush();
      setup.server.streams.at(-1)?.cut();
      setup.server.act({ do: "delta", text: "+" });
      await pass(500);
    }
    expect(newestText(chat)).toBe(texts.map((text) => `${text}+`).join(""));
    setup.server.act({ do: "finish" });
    await flush();
    expect(chat.getSnapshot().state.messages).toEqual(setup.server.room.messages);
  });

  it("opens a stream for each chat that is watched later, and none for one that is left", async () => {
    setup.server.rooms.set(OTHER, new Room(OTHER));
    const release = setup.listen(setup.parley.watch(OTHER));
    await flush();
    expect(setup.server.streams).toHaveLength(2);
    release();
    await pass(11_000);
    expect(setup.server.streams.map((stream) => stream.isOpen)).toEqual([true, false]);
  });

  it("reports a chat that does not exist", async () => {
    const chat = await setup.watch(OTHER);
    await flush();
    expect(chat.getSnapshot().phase).toBe("unavailable");
    await pass(60_000);
    expect(setup.server.requests("GET", `${OTHER}/stream`)).toHaveLength(1);
  });

  it("is tried with a socket from time to time, and the socket takes over where the events were", async () => {
    const chat = setup.parley.watch(CHAT);
    setup.server.act({ do: "ask", text: "Hi" });
    setup.server.act({ do: "delta", text: "over events, " });
    await flush();
    setup.server.socketsBroken = false;
    await pass(60_000);
    expect(setup.transport).toBe("socket");
    await pass(2_000);
    expect(setup.server.streams.filter(({ isOpen }) => isOpen)).toEqual([]);
    expect(setup.server.socket.cursors()[0]).toMatchObject({ seq: 1 });
    setup.server.act({ do: "delta", text: "over a socket" });
    expect(newestText(chat)).toBe("over events, over a socket");
  });

  it("reconnects with backoff when events fail as well", async () => {
    setup.server.unreachable = true;
    setup.server.streams.at(-1)?.cut();
    await flush();
    expect(setup.status).toBe("reconnecting");
    setup.server.unreachable = false;
    setup.server.socketsBroken = false;
    await pass(16_000);
    expect(setup.status).toBe("online");
  });

  it("gives up a stream that fell silent", async () => {
    await pass(61_000);
    expect(setup.server.streams.length).toBeGreaterThan(1);
    expect(setup.server.streams[0]?.isOpen).toBe(false);
  });
});

describe("a network with a push process that drains", () => {
  it("is not treated as a network without websockets", async () => {
    await setup.watch();
    for (let times = 0; times < 5; times++) {
      setup.server.socket.cut(4000);
      await pass(15_000);
    }
    expect(setup.transport).toBe("socket");
    expect(setup.server.streams).toHaveLength(0);
  });
});

describe("a proxy that closes sockets with its own code", () => {
  it.each([1000, 1002, 1005, 1011])("counts as a lost connection, whatever the code: %i", async (code) => {
    await setup.watch();
    for (let times = 0; times < 3; times++) {
      setup.server.socket.cut(code);
      await pass(2_500);
    }
    expect(setup.transport).toBe("events");
    expect(setup.status).toBe("online");
  });
});

describe("closing the client", () => {
  it("ends everything", async () => {
    await setup.watch();
    setup.parley.close();
    expect(setup.server.socket.open).toBe(false);
    setup.server.emit("online");
    await pass(600_000);
    expect(setup.server.sockets).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});
