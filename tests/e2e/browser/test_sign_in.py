"""Signing in with a certified OpenID provider, from the page, on a real stack."""

import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from tests.e2e.browser.test_chat import choose, done, send
from tests.support.openid_provider import OpenIdProvider
from tests.support.stack import RunningStack


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    with OpenIdProvider(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory, provider: OpenIdProvider) -> Iterator[RunningStack]:
    """A stack for guests and for users of the provider."""
    settings = {
        "AUTH_MODES": "guest,oidc",
        "OIDC_ISSUER": provider.issuer,
        "OIDC_CLIENT_ID": provider.client_id,
        "OIDC_CLIENT_SECRET": provider.client_secret,
        "OIDC_NAME": "Example ID",
    }
    with RunningStack(tmp_path_factory.mktemp("company") / "data", environment=settings) as stack:
        provider.set_addresses(
            redirect=f"{stack.url}/v1/auth/oidc/callback",
            logout=f"{stack.url}/",
            backchannel=f"{stack.url}/v1/auth/oidc/backchannel-logout",
        )
        yield stack


@pytest.fixture
def context(browser: Browser, company: RunningStack) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=company.url, viewport={"width": 1100, "height": 800})
    context.set_default_timeout(30_000)
    yield context
    context.close()


def open_page(context: BrowserContext) -> Page:
    page = context.new_page()
    page.goto("/")
    expect(page.get_by_test_id("connection")).to_have_attribute("data-status", "online")
    return page


def write(page: Page, text: str) -> None:
    choose(page, "demo-fast")
    send(page, text)
    done(page)


def sign_in(page: Page, name: str) -> None:
    page.get_by_test_id("sign-in").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Continue").click()


def sign_out(page: Page) -> None:
    page.get_by_test_id("open-account").click()
    page.get_by_test_id("sign-out").click()
    page.get_by_role("button", name="Sign out of the provider").click()


def signed_in_as(page: Page, name: str) -> None:
    expect(page.get_by_test_id("open-account")).to_contain_text(name)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-status", "online")


def disable(stack: RunningStack, user_id: str) -> None:
    command = [sys.executable, "-m", "parley_cli.main", "users", "disable", user_id]
    subprocess.run([*command, "--nats-url", stack.state.nats_url], check=True, capture_output=True)


def test_a_guest_signs_in_with_pkce_and_keeps_the_chats(context: BrowserContext) -> None:
    page = open_page(context)
    write(page, "A question of a guest")
    chat = page.url
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request))
    sign_in(page, "ada")
    signed_in_as(page, "Ada")
    assert page.url == chat
    (authorization,) = (request.url for request in requests if "code_challenge" in request.url)
    asked = parse_qs(urlsplit(authorization).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["response_type"] == ["code"]
    assert {"state", "nonce", "code_challenge"} <= asked.keys()
    done(page)
    send(page, "A question of Ada")
    done(page, 2)
    # No script of the page has the cookie.
    assert page.evaluate("document.cookie") == ""


def test_after_signing_out_nothing_of_the_user_is_there_and_it_is_after_a_rotation_of_the_providers_key(
    context: BrowserContext, provider: OpenIdProvider
) -> None:
    page = open_page(context)
    sign_in(page, "grace")
    signed_in_as(page, "Grace")
    write(page, "A question of Grace")
    title = page.get_by_test_id("chat-item").inner_text()
    page.get_by_test_id("composer").fill("A draft of Grace")
    sign_out(page)
    expect(page.get_by_test_id("open-account")).to_contain_text("Guest")
    expect(page.get_by_test_id("chat-item")).to_have_count(0)
    expect(page.get_by_test_id("composer")).to_have_value("")
    provider.rotate_key()
    sign_in(page, "grace")
    signed_in_as(page, "Grace")
    page.get_by_test_id("chat-item").get_by_text(title).click()
    expect(page.get_by_test_id("composer")).to_have_value("A draft of Grace")


def test_a_second_browser_brings_its_guests_chats_to_the_same_user(browser: Browser, company: RunningStack) -> None:
    pages = []
    for text in ("Written in one browser", "Written in another"):
        page = open_page(browser.new_context(base_url=company.url))
        write(page, text)
        sign_in(page, "mary")
        signed_in_as(page, "Mary")
        pages.append(page)
    expect(pages[1].get_by_test_id("chat-item")).to_have_count(2)
    # Signing out everywhere in one browser ends the session of the other.
    pages[1].get_by_test_id("open-account").click()
    pages[1].get_by_test_id("sign-out-everywhere").click()
    expect(pages[0].get_by_test_id("connection")).to_contain_text("Your session has ended")
    for page in pages:
        page.context.close()


def test_who_signs_out_at_the_provider_is_signed_out_here_and_not_in_another_browser(
    browser: Browser, company: RunningStack, provider: OpenIdProvider
) -> None:
    pages = [open_page(browser.new_context(base_url=company.url)) for _ in range(2)]
    for page in pages:
        sign_in(page, "joan")
        signed_in_as(page, "Joan")
    # In another tab of the first browser, where the provider has its own session.
    tab = pages[0].context.new_page()
    tab.goto(f"{provider.issuer}/session/end")
    tab.get_by_role("button", name="Sign out of the provider").click()
    expect(pages[0].get_by_test_id("connection")).to_contain_text("Your session has ended")
    pages[1].reload()
    signed_in_as(pages[1], "Joan")
    for page in pages:
        page.context.close()


def test_a_disabled_user_is_signed_out_at_once_and_cannot_sign_in(
    context: BrowserContext, company: RunningStack
) -> None:
    page = open_page(context)
    sign_in(page, "eve")
    signed_in_as(page, "Eve")
    user: str = page.evaluate("window.parley.http.user.getSnapshot()")
    disable(company, user)
    expect(page.get_by_test_id("connection")).to_contain_text("Your session has ended")
    page.get_by_test_id("sign-in").first.click()
    expect(page.get_by_test_id("sign-in-problem")).to_contain_text("disabled")
