"""The account dialogue and signing in, on a server that the test scripts."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.scripted_account import PROVIDER
from tests.support.scripted_page import ORIGIN, USER, ScriptedPage


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=ORIGIN, viewport={"width": 1100, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def server(context: BrowserContext) -> ScriptedPage:
    return ScriptedPage(context)


def open_page(context: BrowserContext, path: str = "/") -> Page:
    page = context.new_page()
    page.goto(path)
    return page


def open_account(context: BrowserContext, tab: str = "profile") -> Page:
    page = open_page(context)
    page.get_by_test_id("open-account").click()
    page.get_by_test_id(f"tab-{tab}").click()
    return page


def clipboard(page: Page) -> str:
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


# --- signing in and out ------------------------------


def test_where_one_has_to_sign_in_the_page_names_the_provider(context: BrowserContext, server: ScriptedPage) -> None:
    server.account.provider = PROVIDER
    server.account.guests = False
    server.account.refused = True
    page = open_page(context, "/c/0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a12")
    button = page.get_by_test_id("sign-in")
    expect(button).to_have_text("Sign in with Example ID")
    expect(page.get_by_test_id("composer")).to_have_count(0)
    with page.expect_request("**/v1/auth/oidc/login?*") as login:
        button.click()
    assert login.value.url.endswith("?return_to=%2Fc%2F0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a12")


def test_a_refused_sign_in_is_shown_with_its_reason(context: BrowserContext, server: ScriptedPage) -> None:
    server.account.provider = PROVIDER
    server.account.refused = True
    page = open_page(context, "/?sign_in_error=disabled")
    expect(page.get_by_test_id("sign-in-problem")).to_contain_text("disabled")


def test_a_guest_may_sign_in_and_a_user_is_named(context: BrowserContext, server: ScriptedPage) -> None:
    server.account.provider = PROVIDER
    page = open_page(context)
    expect(page.get_by_test_id("open-account")).to_contain_text("Guest")
    expect(page.get_by_test_id("sign-in")).to_have_text("Sign in")
    server.account.sign_in()
    page.reload()
    expect(page.get_by_test_id("open-account")).to_contain_text("Ada Lovelace")
    expect(page.get_by_test_id("sign-in")).to_have_count(0)


def test_a_session_that_ended_asks_once_to_sign_in_again_and_keeps_what_was_written(
    context: BrowserContext, server: ScriptedPage
) -> None:
    server.account.sign_in()
    chat = server.add_chat("A chat")
    page = open_page(context, f"/c/{chat}")
    page.get_by_test_id("composer").fill("Half a sentence")
    server.account.signed_in = False
    page.evaluate("window.parley.http.startSession().catch(() => null)")
    expect(page.get_by_test_id("connection")).to_contain_text("Your session has ended")
    expect(page.get_by_text("session has ended")).to_have_count(1)
    expect(page.get_by_test_id("start-over")).to_have_count(0)
    expect(page.get_by_test_id("sign-in")).to_have_text("Sign in again")
    expect(page.get_by_test_id("composer")).to_have_value("Half a sentence")
    page.reload()
    expect(page.get_by_test_id("sign-in-page")).to_contain_text("What you wrote")
    server.account.signed_in = True
    page.reload()
    expect(page.get_by_test_id("composer")).to_have_value("Half a sentence")


def test_what_a_user_did_not_send_is_not_shown_to_the_next_user(context: BrowserContext, server: ScriptedPage) -> None:
    server.account.sign_in()
    page = open_page(context)
    page.get_by_test_id("composer").fill("Ada's secret")
    server.account.user_id, server.account.name = "0199f3a2-0000-7000-8000-000000000002", "Grace Hopper"
    page.evaluate("window.parley.http.startSession()")
    expect(page.get_by_test_id("user-changed")).to_contain_text("signed in as Grace Hopper")
    expect(page.get_by_test_id("composer")).to_have_value("")
    server.account.user_id, server.account.name = USER, "Ada Lovelace"
    page.evaluate("window.parley.http.startSession()")
    expect(page.get_by_test_id("composer")).to_have_value("Ada's secret")


@pytest.mark.parametrize(("button", "path"), [("sign-out", "/session"), ("sign-out-everywhere", "/sessions")])
def test_signing_out_ends_the_session_and_loads_the_page_again(
    context: BrowserContext, server: ScriptedPage, button: str, path: str
) -> None:
    server.account.sign_in()
    page = open_account(context)
    expect(page.get_by_test_id("user-id")).to_have_text(USER)
    with page.expect_event("load"):
        page.get_by_test_id(button).click()
    assert ("DELETE", path, None) in server.account.requests
    assert page.evaluate("window.parley !== undefined")


# --- the account ------------------------------


def test_sessions_are_listed_and_another_one_is_signed_out(context: BrowserContext, server: ScriptedPage) -> None:
    server.account.sign_in()
    server.account.add_session(current=True)
    other = server.account.add_session(current=False)
    page = open_account(context, "sessions")
    rows = page.get_by_test_id("session")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("Firefox on Linux")
    expect(rows.first).to_contain_text("This session")
    page.get_by_role("button", name="Sign out Firefox").click()
    expect(rows).to_have_count(1)
    assert ("DELETE", f"/sessions/{other}", None) in server.account.requests


def test_an_api_key_is_shown_once_copied_and_revoked(context: BrowserContext, server: ScriptedPage) -> None:
    page = open_account(context, "api-keys")
    page.get_by_test_id("api-key-name").fill("Backup")
    page.get_by_role("checkbox", name="OpenAI").check()
    page.get_by_test_id("create-api-key").click()
    secret = page.get_by_test_id("api-key-secret").inner_text()
    page.get_by_role("button", name="Copy the key").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert clipboard(page) == secret
    ((_, _, body),) = server.account.requests
    assert (body["name"], body["scopes"]) == ("Backup", ["write", "openai"])
    assert body["expires_at"] is not None
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_test_id("api-key-secret")).to_have_count(0)
    page.get_by_role("button", name="Revoke the key “Backup”").click()
    expect(page.get_by_test_id("api-key")).to_have_count(0)


def test_usage_is_plotted_by_day_with_a_table_behind_it_and_listed_by_model(
    context: BrowserContext, server: ScriptedPage
) -> None:
    server.account.add_usage()
    page = open_account(context, "usage")
    plot = page.get_by_test_id("usage-plot")
    expect(plot.locator("g[data-day]")).to_have_count(30)
    # The day with the most tokens fills the plot.
    heights = plot.locator("g[data-day]:last-of-type rect").evaluate_all(
        "bars => bars.map((bar) => Number(bar.getAttribute('height')))"
    )
    assert [round(height) for height in heights] == [50, 100]
    plot.get_by_role("button", name="Show as a table").click()
    expect(page.get_by_test_id("usage-days").get_by_role("row").last).to_contain_text("2,400")
    rows = page.get_by_test_id("usage-models").get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("0.75")
    expect(rows.nth(2)).to_contain_text("–")


def test_erasing_asks_to_type_a_word_and_forgets_what_the_browser_has(
    context: BrowserContext, server: ScriptedPage
) -> None:
    page = open_page(context)
    page.get_by_test_id("composer").fill("A draft")
    page.get_by_test_id("open-account").click()
    page.get_by_test_id("tab-data").click()
    expect(page.get_by_test_id("export")).to_have_attribute("href", "/v1/me/export")
    erase = page.get_by_test_id("erase")
    expect(erase).to_be_disabled()
    page.get_by_test_id("erase-confirmation").fill("erase")
    with page.expect_event("load"):
        erase.click()
    assert ("DELETE", "/me", {"confirm": "erase"}) in server.account.requests
    expect(page.get_by_test_id("composer")).to_have_value("")


def test_the_tabs_of_the_dialogue_are_chosen_with_the_arrow_keys(context: BrowserContext, server: ScriptedPage) -> None:
    page = open_account(context)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_test_id("tab-sessions")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Sessions")).to_be_visible()
    page.keyboard.press("End")
    expect(page.get_by_test_id("tab-data")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("account")).to_have_count(0)
    expect(page.get_by_test_id("open-account")).to_be_focused()


def test_a_dialogue_that_did_not_load_opens_with_the_next_click(context: BrowserContext, server: ScriptedPage) -> None:
    server.lost.add("/assets/AccountDialog-")
    page = open_page(context)
    page.get_by_test_id("open-account").click()
    expect(page.get_by_test_id("reload")).to_be_visible()
    server.lost.clear()
    page.get_by_test_id("open-account").click()
    expect(page.get_by_test_id("account")).to_be_visible()
    expect(page.get_by_test_id("reload")).to_have_count(0)


def test_an_error_of_the_server_is_shown_in_the_dialogue(context: BrowserContext, server: ScriptedPage) -> None:
    detail = "You have as many keys as you may have."
    context.route(
        "**/v1/api-keys",
        lambda route: (
            route.fulfill(status=409, json={"status": 409, "code": "conflict", "detail": detail})
            if route.request.method == "POST"
            else route.fallback()
        ),
    )
    page = open_account(context, "api-keys")
    page.get_by_test_id("api-key-name").fill("One more")
    page.get_by_test_id("create-api-key").click()
    expect(page.get_by_test_id("problem")).to_have_text(detail)
