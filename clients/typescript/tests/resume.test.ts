import fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { connect } from "../src/index.ts";
import { CHAT } from "../src/testing/room.ts";
import { FakeServer } from "../src/testing/server.ts";
import { flush, pass } from "./support/client";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const event = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant("delta" as const), text: fc.string({ maxLength: 5 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("reasoning" as const), text: fc.string({ maxLength: 5 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("attempt" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("finish" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("ask" as const), text: fc.string({ maxLength: 5 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("cut" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("die" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("lose" as const), text: fc.string({ maxLength: 5 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sockets" as const), broken: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("network" as const), away: fc.boolean() }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant("wait" as const), time: fc.integer({ max: 20_000, min: 1 }) }),
  },
);

it("whatever the network does, a reader ends with what is stored, over sockets and events alike", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 50 }), async (events) => {
      const server = new FakeServer();
      const parley = connect(server);
      const chat = parley.watch(CHAT);
      const stop = chat.subscribe(() => undefined);
      await flush();
      for (const what of events) {
        switch (what.do) {
          case "cut":
            server.sockets.at(-1)?.cut();
            server.streams.at(-1)?.cut();
            break;
          case "die":
            server.socket.dead = true;
            break;
          case "lose":
            server.room.perform({ do: "delta", text: what.text });
            break;
          case "sockets":
            server.socketsBroken = what.broken;
            break;
          case "network":
            server.unreachable = what.away;
            break;
          case "wait":
            await pass(what.time);
            break;
          default:
            server.act(what);
        }
      }
      // The network is well again; nobody does anything but wait.
      server.socketsBroken = false;
      server.unreachable = false;
      await pass(120_000);
      const { state } = chat.getSnapshot();
      expect(state.messages).toEqual(server.room.messages);
      expect(state.generation?.text).toBe(server.room.generation?.text);
      expect(state.generation?.reasoning).toBe(server.room.generation?.reasoning);
      expect(parley.connection.getSnapshot()).toEqual({
        status: "online",
        transport: "socket",
        refusal: null,
      });
      stop();
      parley.close();
      vi.clearAllTimers();
    }),
    { numRuns: 60, interruptAfterTimeLimit: 60_000 },
  );
}, 90_000);
