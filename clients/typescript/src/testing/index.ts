/** A Parley server in memory, for tests of what is built on the library. */

export { type Act, aMessage, anId, CHAT, Room } from "./room.ts";
export { FakeServer, type FakeSocket, json, problem, type Received } from "./server.ts";
