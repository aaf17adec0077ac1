// @vitest-environment jsdom

import { json, problem } from "parley-client/testing";
import { act } from "react";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { AccountDialog } from "../../src/page/account/AccountDialog";
import { find, findButton, PageSetup, type } from "../support/page";

const page = PageSetup.use();
const TIME = "2026-01-05T12:00:00Z";
const SESSION = { created_at: TIME, last_used_at: TIME, expires_at: TIME, address: "", method: "oidc" };

function me(fields: object): void {
  const user = { user_id: "u", guest: false, name: "Ada", email: null, role: "user", ...fields };
  page.server.overrides.set("GET /v1/me", () => json(user));
}

async function show(tab: string): Promise<void> {
  await page.render(<AccountDialog onClose={() => undefined} />);
  await click(find(`tab-${tab}`));
}

async function click(element: HTMLElement | null): Promise<void> {
  await act(async () => element?.click());
  await page.pass(50);
}

beforeEach(() => me({}));

describe("the profile", () => {
  it("shows the name and the id, and signs out", async () => {
    page.server.overrides.set("DELETE /v1/session", () => problem(503, "unavailable"));
    await show("profile");
    expect(find("account")?.textContent).toContain("Ada");
    expect(find("user-id")?.textContent).toBe("u");
    await click(find("sign-out"));
    expect(find("problem")?.textContent).toBe("It is unavailable.");
    expect(find("sign-out")).toHaveProperty("disabled", false);
  });

  it("does not sign out a guest, who could not come back, and offers to sign in where one can", async () => {
    me({ guest: true, name: null });
    page.server.auth = { guest: true, oidc: { name: "Example ID", login_url: "/login" } };
    page.reconnect();
    await show("profile");
    expect(find("sign-out")).toBeNull();
    expect(find("guest")?.textContent).toContain("they stay yours");
    expect(find("sign-in")?.textContent).toBe("Sign in with Example ID");
  });
});

describe("the sessions", () => {
  it("mark this one, and the others can be signed out", async () => {
    let items = [
      { ...SESSION, id: "one", user_agent: "Chrome/1 (Linux)", current: true },
      { ...SESSION, id: "two", user_agent: "curl/8", current: false },
    ];
    page.server.overrides.set("GET /v1/sessions", () => json({ items, next: null }));
    page.server.overrides.set("DELETE /v1/sessions/two", () => {
      items = items.slice(0, 1);
      return new Response(null, { status: 204 });
    });
    await show("sessions");
    const rows = document.querySelectorAll("[data-testid=session]");
    expect([...rows].map((row) => row.querySelector("button") !== null)).toEqual([false, true]);
    expect(rows[0]?.textContent).toContain("This session");
    await click(rows[1]?.querySelector("button") ?? null);
    expect(document.querySelectorAll("[data-testid=session]")).toHaveLength(1);
  });
});

describe("the API keys", () => {
  it("cannot be created without a name or a scope, and the secret is shown once", async () => {
    page.server.overrides.set("GET /v1/api-keys", () => json({ items: [], next: null }));
    page.server.overrides.set("POST /v1/api-keys", ({ body }) =>
      json(
        { key: { ...(body as object), id: "k", prefix: "pk_a", created_at: TIME }, secret: "pk_a_secret" },
        201,
      ),
    );
    await show("api-keys");
    expect(find("create-api-key")).toHaveProperty("disabled", true);
    await act(async () => type(find("api-key-name"), " Backup "));
    expect(find("create-api-key")).toHaveProperty("disabled", false);
    await click(document.querySelectorAll<HTMLElement>("input[type=checkbox]")[1] ?? null);
    expect(find("create-api-key")).toHaveProperty("disabled", true);
    await click(document.querySelectorAll<HTMLElement>("input[type=checkbox]")[0] ?? null);
    await click(find("create-api-key"));
    expect(page.server.requests("POST", "/api-keys")[0]?.body).toMatchObject({
      name: "Backup",
      scopes: ["read"],
    });
    expect(find("api-key-secret")?.textContent).toBe("pk_a_secret");
    await click(findButton("Done"));
    expect(find("api-key-secret")).toBeNull();
  });
});

describe("usage", () => {
  it("is loaded again for another period, and shows that there is none", async () => {
    page.server.overrides.set("GET /v1/usage", () => json({ items: [], next: null }));
    await show("usage");
    expect(find("account")?.textContent).toContain("Nothing was used");
    const period = find("usage-period") as HTMLSelectElement;
    await act(async () => {
      period.value = "90";
      period.dispatchEvent(new Event("change", { bubbles: true }));
    });
    await page.pass(50);
    expect(page.server.requests("GET", "/usage")).toHaveLength(2);
  });

  it("is a bar for each day with its numbers in a table", async () => {
    const day = new Date().toISOString().slice(0, 10);
    const item = { day, model: "demo", answers: 1, input_tokens: 30, output_tokens: 60, cost: 0.1 };
    page.server.overrides.set("GET /v1/usage", () => json({ items: [item], next: null }));
    await show("usage");
    const bars = document.querySelectorAll(`[data-day="${day}"] rect`);
    expect([...bars].map((bar) => bar.getAttribute("height"))).toEqual(["50", "100"]);
    expect(find("usage-days")?.querySelector("tbody tr:last-child")?.textContent).toContain("3060");
    expect(find("usage-models")?.textContent).toContain("0.10");
  });
});

describe("erasing", () => {
  it("takes the typed word, and an error leaves everything as it was", async () => {
    const erase = vi.fn(() => problem(503, "unavailable"));
    page.server.overrides.set("DELETE /v1/me", erase);
    await show("data");
    await act(async () => type(find("erase-confirmation"), "delete"));
    expect(find("erase")).toHaveProperty("disabled", true);
    await act(async () => type(find("erase-confirmation"), "Erase"));
    await click(find("erase"));
    expect(erase).toHaveBeenCalledOnce();
    expect(find("problem")?.textContent).toBe("It is unavailable.");
    expect(page.parley.user.getSnapshot().id).toBe("u");
  });
});
