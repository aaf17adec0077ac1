// @vitest-environment jsdom

import { problem } from "parley-client/testing";
import { act } from "react";
import { beforeEach, describe, expect, it } from "vitest";
import { AccountButton } from "../../src/page/session/AccountButton";
import { ConnectionNotice } from "../../src/page/session/ConnectionNotice";
import { SignInNotices } from "../../src/page/session/SignInNotices";
import { SignInPage } from "../../src/page/session/SignInPage";
import { find, findButton, PageSetup } from "../support/page";

const page = PageSetup.use();

beforeEach(async () => {
  page.server.auth = { guest: true, oidc: { name: "Example ID", login_url: "/v1/login" } };
  page.server.guest = false;
  page.reconnect();
  await page.pass(50);
});

const startSession = () => act(async () => page.parley.http.startSession().catch(() => undefined));

describe("a session that ended", () => {
  it("of a user asks to sign in again, and offers nothing that would lose it", async () => {
    page.server.overrides.set("POST /v1/session", () => problem(401, "token_invalid"));
    await startSession();
    await page.render(<ConnectionNotice />);
    await page.pass(50);
    expect(find("connection")?.textContent).toContain("Your session has ended. What you wrote is kept.");
    expect(find("sign-in")?.textContent).toBe("Sign in again");
    expect(find("start-over")).toBeNull();
  });
});

describe("the sign-in page", () => {
  it("names the provider, and leads back to the address it was opened at", async () => {
    history.replaceState(null, "", "/c/0199f3a2-0000-7000-8000-000000000001");
    await page.render(<SignInPage ended={false} />);
    await page.pass(50);
    const link = find("sign-in") as HTMLAnchorElement;
    expect(link.textContent).toBe("Sign in with Example ID");
    link.addEventListener("click", (event) => event.preventDefault());
    await act(async () => link.click());
    expect(new URL(link.href).search).toBe("?return_to=%2Fc%2F0199f3a2-0000-7000-8000-000000000001");
  });

  it("shows why a sign-in failed", async () => {
    history.replaceState(null, "", "/?sign_in_error=disabled");
    await page.render(<SignInPage ended={false} />);
    expect(find("sign-in-problem")?.textContent).toContain("This account is disabled.");
    history.replaceState(null, "", "/");
  });
});

describe("a sign-in that failed", () => {
  it("is shown also where guests use the page, until the notice is hidden", async () => {
    history.replaceState(null, "", "/?sign_in_error=expired");
    await page.render(<SignInNotices />);
    expect(find("sign-in-problem")?.textContent).toContain("took too long");
    await act(async () => findButton("Hide this notice")?.click());
    expect(find("sign-in-problem")).toBeNull();
    history.replaceState(null, "", "/");
  });
});

describe("the account button", () => {
  it("names the user; a guest may sign in", async () => {
    await page.render(<AccountButton />);
    await page.pass(50);
    expect(find("open-account")?.textContent).toContain("u");
    expect(find("sign-in")).toBeNull();
    page.server.user = "g";
    page.server.guest = true;
    await startSession();
    await page.pass(50);
    expect(find("open-account")?.textContent).toContain("Guest");
    expect(find("sign-in")?.textContent).toBe("Sign in");
  });
});

describe("another user's sign-in in another tab", () => {
  it("is shown until the notice is hidden", async () => {
    await page.render(<SignInNotices />);
    await page.pass(50);
    expect(find("user-changed")).toBeNull();
    page.server.user = "Grace";
    await startSession();
    await page.pass(50);
    expect(find("user-changed")?.textContent).toContain("signed in as Grace");
    await act(async () => findButton("Hide this notice")?.click());
    expect(find("user-changed")).toBeNull();
  });
});
