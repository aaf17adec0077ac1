// @vitest-environment jsdom

import { json } from "parley-client/testing";
import { describe, expect, it, vi } from "vitest";
import { EmptyPage } from "../../src/page/chat/statusPages";
import { PageSetup } from "../support/page";

const page = PageSetup.use();

describe("the start page", () => {
  const start = async (hostname: string) => {
    page.server.overrides.set("GET /v1/config", () =>
      json({ push_url: "/ws", demo: true, limits: { content_bytes: 1024 } }),
    );
    page.reconnect();
    vi.stubGlobal("location", { hostname });
    await page.render(<EmptyPage />);
    await page.pass(50);
    return document.body.textContent;
  };

  it("shows on the server's machine how to use a real model", async () => {
    expect(await start("127.0.0.1")).toContain("OPENAI_API_KEY");
  });

  it("shows others only that it is a demo", async () => {
    const text = await start("chat.example");
    expect(text).toContain("demo model");
    expect(text).not.toContain("OPENAI_API_KEY");
  });
});
