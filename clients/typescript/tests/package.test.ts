import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it, vi } from "vitest";
import { ask } from "../examples/ask.ts";
import * as library from "../src/index.ts";
import { FakeServer } from "../src/testing/server.ts";

const PACKAGE = join(import.meta.dirname, "..");
const TYPESCRIPT = join(PACKAGE, "..", "..", "node_modules", "typescript", "bin", "tsc");

it("the README shows the example that is run here", () => {
  const blocks = readFileSync(join(PACKAGE, "README.md"), "utf8").matchAll(/```ts\n(.*?)```/gs);
  const example = readFileSync(join(PACKAGE, "examples", "ask.ts"), "utf8");
  expect([...blocks].map(([, code]) => code)).toContain(example);
});

it("the example shows an answer as it grows, and ends", async () => {
  const server = new FakeServer();
  const shown: string[] = [];
  const stop = ask("Hello", (answer) => shown.push(answer), server);
  const chatId = await vi.waitFor(() => {
    const created = server.requests("POST", "/v1/chats").at(0)?.body as { id: string } | undefined;
    expect(created && server.roomOf(created.id).generation).toBeDefined();
    expect(shown).toContain("");
    return created?.id;
  });
  server.act({ do: "delta", text: "Good " }, chatId);
  server.act({ do: "delta", text: "morning" }, chatId);
  server.act({ do: "finish" }, chatId);
  await vi.waitFor(() => expect(shown.at(-1)).toBe("Good morning"));
  expect(shown).toContain("Good ");
  stop();
  expect(server.sockets.every(({ open }) => !open)).toBe(true);
});

it("the built package has the same exports and can be imported by Node", () => {
  mkdirSync(join(PACKAGE, "dist"), { recursive: true });
  const folder = mkdtempSync(join(PACKAGE, "dist", "test-"));
  try {
    const node = (...args: string[]) =>
      execFileSync(process.execPath, args, { cwd: PACKAGE, encoding: "utf8", stdio: "pipe" });
    node(TYPESCRIPT, "-p", "tsconfig.build.json", "--outDir", folder);
    const index = pathToFileURL(join(folder, "index.js"));
    const program = `console.log(JSON.stringify(Object.keys(await import("${index}"))))`;
    const exported: string[] = JSON.parse(node("--input-type=module", "-e", program));
    expect(exported.sort()).toEqual(Object.keys(library).sort());
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 60_000);
