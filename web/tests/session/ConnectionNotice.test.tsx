// @vitest-environment jsdom

import { json, problem } from "parley-client/testing";
import { act } from "react";
import { describe, expect, it } from "vitest";
import { ConnectionNotice } from "../../src/page/session/ConnectionNotice";
import { find, PageSetup } from "../support/page";

const page = PageSetup.use();

describe("the connection notice", () => {
  it("shows a lost session at once, and starts over on request", async () => {
    await page.render(<ConnectionNotice />);
    page.server.overrides.set("POST /v1/session", ({ body }) =>
      (body as { start_over?: boolean }).start_over
        ? json({ user_id: "new", access_token: "t", expires_at: "2100-01-01T00:00:00Z" })
        : problem(401, "token_invalid"),
    );
    await act(async () => page.parley.http.startSession().catch(() => undefined));
    await page.pass(50);
    expect(find("connection")?.textContent).toContain("not valid here");
    await act(async () => find("start-over")?.click());
    await page.pass(50);
    expect(page.parley.http.user.getSnapshot()).toBe("new");
    expect(find("connection")?.textContent).toBe("");
  });

  it("shows that guests are not allowed, and not that it connects", async () => {
    page.server.overrides.set("POST /v1/session", () => problem(403, "guests_not_allowed"));
    page.reconnect();
    await page.render(<ConnectionNotice />);
    await page.pass(60_000);
    expect(find("connection")?.dataset.session).toBe("refused");
    expect(find("connection")?.textContent).toContain("does not allow guests");
    expect(find("connection")?.querySelector("button")).toBeNull();
  });

  it("is hidden for a short disconnection, and shows reconnecting for a longer one", async () => {
    await page.render(<ConnectionNotice />);
    expect(find("connection")?.dataset.status).toBe("online");
    page.server.unreachable = true;
    act(() => page.server.socket.cut());
    await page.pass(100);
    expect(find("connection")?.dataset.status).toBe("reconnecting");
    expect(find("connection")?.textContent).toBe("");
    await page.pass(1_500);
    expect(find("connection")?.textContent).toBe("Reconnecting…");
    page.server.unreachable = false;
    await page.pass(15_000);
    expect(find("connection")?.dataset.status).toBe("online");
    expect(find("connection")?.textContent).toBe("");
  });

  it("offers to connect again after a refusal", async () => {
    await page.render(<ConnectionNotice />);
    act(() => page.server.socket.cut(4401));
    await page.pass(1_500);
    await act(async () => document.querySelector("button")?.click());
    await page.pass(100);
    expect(find("connection")?.dataset.status).toBe("online");
  });
});
