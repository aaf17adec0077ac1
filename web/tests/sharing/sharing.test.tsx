// @vitest-environment jsdom

import { type Chat, Http, type Member, type PresentUser } from "parley-client";
import { aMessage, CHAT, json, problem } from "parley-client/testing";
import { act } from "react";
import { describe, expect, it, vi } from "vitest";
import { useObservable } from "../../src/page/session/context";
import { Invitations } from "../../src/page/sharing/Invitations";
import { Presence } from "../../src/page/sharing/Presence";
import { ShareDialog } from "../../src/page/sharing/ShareDialog";
import { SharedPage } from "../../src/page/sharing/SharedPage";
import { useRole } from "../../src/page/sharing/useRole";
import { find, findButton, PageSetup, type } from "../support/page";

const page = PageSetup.use();
const TIME = "2026-01-05T12:00:00Z";
const opened = vi.fn();

function chat(owner: string): Chat {
  return { ...page.server.room.chat, owner_id: owner };
}

function members(...items: Partial<Member>[]): void {
  const whole = items.map((item) => ({ status: "member", added_at: TIME, ...item }));
  page.server.overrides.set(`GET /v1/chats/${CHAT}/members`, () => json({ items: whole, next: null }));
}

async function click(element: HTMLElement | null): Promise<void> {
  await act(async () => element?.click());
  await page.pass(50);
}

const done = () => new Response(null, { status: 204 });

async function share(owner: string, branch: string | null = null): Promise<void> {
  await page.render(
    <ShareDialog branch={branch} chat={chat(owner)} onClose={() => undefined} onLeft={opened} />,
  );
  await page.pass(50);
}

describe("the members of a chat", () => {
  it("are invited, changed and removed by its owner", async () => {
    members({ user_id: "u", role: "owner" }, { user_id: "ada", name: "Ada", role: "writer" });
    page.server.overrides.set(`PUT /v1/chats/${CHAT}/members/grace`, () => json({}, 201));
    page.server.overrides.set(`DELETE /v1/chats/${CHAT}/members/ada`, done);
    await share("u");
    await act(async () => type(find("invite-user"), " grace "));
    await click(find("invite"));
    expect(page.server.requests("PUT", "/members/grace")[0]?.body).toEqual({ role: "writer" });
    expect(find("invite-user")).toHaveProperty("value", "");
    await click(findButton("Remove Ada"));
    expect(page.server.requests("DELETE", "/members/ada")).toHaveLength(1);
  });

  it("are handed the chat only after a confirmation", async () => {
    members({ user_id: "u", role: "owner" }, { user_id: "ada", name: "Ada", role: "writer" });
    page.server.overrides.set(`PUT /v1/chats/${CHAT}/owner`, () => json({}));
    await share("u");
    await click(findButton("Make owner"));
    expect(page.server.requests("PUT", "/owner")).toHaveLength(0);
    await click(find("hand-over"));
    expect(page.server.requests("PUT", "/owner")[0]?.body).toEqual({ user_id: "ada" });
  });

  it("who are not the owner see the others, and may leave", async () => {
    members({ user_id: "ada", role: "owner" }, { user_id: "u", role: "reader" });
    page.server.overrides.set(`DELETE /v1/chats/${CHAT}/members/u`, done);
    await share("ada");
    expect(find("invite")).toBeNull();
    expect(document.querySelectorAll("[data-testid=member] select")).toHaveLength(0);
    opened.mockClear();
    await click(find("leave"));
    expect(opened).toHaveBeenCalledOnce();
  });

  it("that a user id does not name are refused with the server's reason", async () => {
    members({ user_id: "u", role: "owner" });
    page.server.overrides.set(`PUT /v1/chats/${CHAT}/members/nobody`, () => problem(404, "not_found"));
    await share("u");
    await act(async () => type(find("invite-user"), "nobody"));
    await click(find("invite"));
    expect(find("problem")?.textContent).toBe("It is not_found.");
    expect(find("invite-user")).toHaveProperty("value", "nobody");
  });
});

describe("links", () => {
  it("are made, shown with their address, and revoked", async () => {
    members({ user_id: "u", role: "owner" });
    let items: object[] = [];
    page.server.overrides.set(`GET /v1/chats/${CHAT}/shares`, () => json({ items, next: null }));
    page.server.overrides.set(`POST /v1/chats/${CHAT}/shares`, ({ body }) => {
      items = [{ id: "l", created_at: TIME, ...(body as object) }];
      return json({ ...items[0], token: "secret" }, 201);
    });
    page.server.overrides.set(`DELETE /v1/chats/${CHAT}/shares/l`, () => {
      items = [];
      return done();
    });
    await share("u");
    await click(find("tab-links"));
    await click(find("create-link"));
    expect(page.server.requests("POST", "/shares")[0]?.body).toEqual({ live: false, tip_id: null });
    expect(find("link-address")?.textContent).toBe(`${location.origin}/shared/secret`);
    await click(document.querySelector<HTMLElement>("[data-testid=link] button"));
    expect(find("link")).toBeNull();
    expect(find("link-address")).toBeNull();
  });

  it.each([
    [false, "shown"],
    [true, null],
  ])("are of the branch that is shown, unless the newest is wanted (%s)", async (newest, tip) => {
    members({ user_id: "u", role: "owner" });
    page.server.overrides.set(`GET /v1/chats/${CHAT}/shares`, () => json({ items: [], next: null }));
    page.server.overrides.set(`POST /v1/chats/${CHAT}/shares`, () => json({ id: "l", token: "secret" }, 201));
    await share("u", "shown");
    await click(find("tab-links"));
    if (newest) await click(find("link-branch"));
    await click(find("create-link"));
    expect(page.server.requests("POST", "/shares")[0]?.body).toEqual({ live: false, tip_id: tip });
  });
});

describe("an invitation", () => {
  const invitation = { chat_id: CHAT, title: "Tides", role: "reader", invited_by: "ada", created_at: TIME };

  it("opens the chat when it is accepted", async () => {
    page.server.overrides.set("GET /v1/invitations", () => json({ items: [invitation], next: null }));
    page.server.overrides.set(`POST /v1/invitations/${CHAT}`, done);
    await page.render(<Invitations onOpen={opened} />);
    await page.pass(50);
    expect(find("invitation")?.textContent).toContain("ada invites you to read.");
    await click(find("accept"));
    expect(opened).toHaveBeenCalledWith(CHAT);
    expect(find("invitation")).toBeNull();
  });

  it("is shown to a guest as soon as the server reports it, and goes when it was withdrawn", async () => {
    let items: unknown[] = [];
    page.server.overrides.set("GET /v1/invitations", () => json({ items, next: null }));
    await page.render(<Invitations onOpen={opened} />);
    await page.pass(50);
    expect(find("invitation")).toBeNull();
    items = [invitation];
    page.server.socket.deliver({ type: "invitations" });
    await page.pass(50);
    expect(find("invitation")?.textContent).toContain("ada invites you to read.");
    items = [];
    page.server.socket.deliver({ type: "invitations" });
    await page.pass(50);
    expect(find("invitation")).toBeNull();
  });

  it("stays, with the error, when it could not be declined", async () => {
    page.server.overrides.set("GET /v1/invitations", () => json({ items: [invitation], next: null }));
    page.server.overrides.set(`DELETE /v1/invitations/${CHAT}`, () => problem(503, "unavailable"));
    await page.render(<Invitations onOpen={opened} />);
    await page.pass(50);
    await click(find("decline"));
    expect(find("invitation")).not.toBeNull();
    expect(document.querySelector("[role=alert]")?.textContent).toBe("It is unavailable.");
  });
});

describe("the role in a chat", () => {
  function Probe({ owner }: { readonly owner: string }) {
    return <p data-testid="probe">{useRole(chat(owner)) ?? "unknown"}</p>;
  }

  it("is the owner's without a request", async () => {
    await page.render(<Probe owner="u" />);
    expect(find("probe")?.textContent).toBe("owner");
    expect(page.server.requests("GET", "/members")).toHaveLength(0);
  });

  it("is read from the members, and unknown until then", async () => {
    members({ user_id: "ada", role: "owner" }, { user_id: "u", role: "reader" });
    await page.render(<Probe owner="ada" />);
    await page.pass(50);
    expect(find("probe")?.textContent).toBe("reader");
  });
});

describe("a role that the owner changes", () => {
  function Probe() {
    return <p data-testid="probe">{useRole(useObservable(page.parley.watch(CHAT)).state.chat)}</p>;
  }

  it("is read again", async () => {
    members({ user_id: "ada", role: "owner" }, { user_id: "u", role: "reader" });
    await page.render(<Probe />);
    await page.pass(100);
    expect(find("probe")?.textContent).toBe("reader");
    members({ user_id: "ada", role: "owner" }, { user_id: "u", role: "writer" });
    const { room } = page.server;
    room.version += 1;
    act(() => page.server.publish([{ type: "chat", chat_id: CHAT, version: room.version, chat: room.chat }]));
    await page.pass(100);
    expect(find("probe")?.textContent).toBe("writer");
  });
});

describe("presence", () => {
  it("shows who else reads and writes, by name", async () => {
    members({ user_id: "u", role: "owner" }, { user_id: "ada", name: "Ada", role: "writer" });
    const users: PresentUser[] = [
      { user_id: "u", state: "writing" },
      { user_id: "ada", state: "writing" },
      { user_id: "x", state: "reading" },
      { user_id: "y", state: "reading" },
    ];
    await page.render(<Presence chatId={CHAT} users={users} />);
    await page.pass(100);
    expect(find("presence")?.textContent).toBe("Ada is writing… · A member and 1 other are reading");
  });

  it("is not shown while nobody else is there", async () => {
    await page.render(<Presence chatId={CHAT} users={[{ user_id: "u", state: "reading" }]} />);
    await page.pass(50);
    expect(find("presence")).toBeNull();
    expect(page.server.requests("GET", "/members")).toHaveLength(0);
  });
});

describe("a shared chat", () => {
  it("is read page by page", async () => {
    const texts = ["one", "two", "three"];
    let pages = 0;
    page.server.overrides.set("GET /v1/shared/token", () => {
      const message = aMessage({ id: `m${pages}`, content: texts[pages] ?? "" });
      pages += 1;
      return json({ title: "Tides", messages: [message], next: pages < texts.length ? pages : null });
    });
    const chat = await new Http(page.server).shared("token");
    expect(chat.messages.map(({ content }) => content)).toEqual(texts);
  });

  it("is shown without an action, and without a session where the server asks for none", async () => {
    const messages = [
      aMessage({ id: "q", content: "What?" }),
      aMessage({ id: "a", role: "assistant", content: "**That**", status: "stopped" }),
    ];
    page.server.overrides.set("GET /v1/shared/token", () => json({ title: "Tides", messages, next: null }));
    const before = page.server.requests("POST", "/session").length;
    await page.render(<SharedPage http={new Http(page.server)} token="token" />);
    await page.pass(1_000);
    expect(document.querySelector("h1")?.textContent).toBe("Tides");
    expect(find("message-user")?.textContent).toContain("What?");
    expect(find("message-assistant")?.textContent).toContain("Stopped.");
    expect(document.querySelector("button")).toBeNull();
    expect(page.server.requests("POST", "/session")).toHaveLength(before);
  });

  it("is asked for with a session where the server wants one", async () => {
    let asked = 0;
    page.server.overrides.set("GET /v1/shared/token", () =>
      asked++ === 0 ? problem(401, "not_authenticated") : json({ title: null, messages: [], next: null }),
    );
    await page.render(<SharedPage http={new Http(page.server)} token="token" />);
    await page.pass(50);
    expect(asked).toBe(2);
    expect(document.querySelector("h1")?.textContent).toBe("Shared chat");
  });
});
