"""What a person meets whose browser has no session that is good."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.browser.test_chat import choose, done, send
from tests.support.stack import RunningStack


@pytest.fixture
def context(browser: Browser, stack: RunningStack) -> Iterator[BrowserContext]:
    """A guest; what the server refuses is an error in the browser's console, too."""
    context = browser.new_context(base_url=stack.url)
    context.set_default_timeout(30_000)
    yield context
    context.close()


def lose_session(context: BrowserContext) -> None:
    (cookie,) = context.cookies()
    # As after the server's key was changed.
    context.add_cookies([{**cookie, "value": "not.a.token"}])  # type: ignore[typeddict-item]


def user_of(page: Page) -> str:
    user: str = page.evaluate("window.parley.http.user.getSnapshot()")
    return user


def test_a_send_without_a_session_says_so_and_starting_over_keeps_what_was_written(
    context: BrowserContext, page: Page
) -> None:
    choose(page, "demo-fast")
    send(page, "Hello")
    done(page)
    before = user_of(page)
    lose_session(context)
    send(page, "Are you there?")
    expect(page.get_by_test_id("not-sent")).to_contain_text("session is not valid any more")
    expect(page.get_by_text("There is no such chat")).to_have_count(0)
    expect(page.get_by_test_id("sidebar-problem")).to_contain_text("session is not valid")
    page.get_by_test_id("composer").press_sequentially("And more")
    page.reload()
    expect(page.get_by_test_id("not-sent")).to_contain_text("session is not valid any more")
    expect(page.get_by_test_id("composer")).to_have_value("And more")
    page.get_by_test_id("connection").get_by_test_id("start-over").click()
    expect(page.get_by_test_id("composer")).to_have_value("Are you there?\n\nAnd more")
    expect(page.get_by_test_id("chat-item")).to_have_count(0)
    assert user_of(page) != before
    page.get_by_test_id("composer").press("Enter")
    done(page)


def test_what_was_sent_after_the_cookie_was_deleted_is_the_draft_that_the_page_shows(
    context: BrowserContext, page: Page
) -> None:
    choose(page, "demo-fast")
    send(page, "Hello")
    done(page)
    context.clear_cookies()
    send(page, "Are you there?")
    expect(page.get_by_test_id("composer")).to_have_value("Are you there?")
    expect(page.get_by_test_id("user-changed")).to_contain_text("has a new session")
    page.get_by_test_id("composer").press("Enter")
    done(page)
    expect(page.get_by_test_id("chat-item")).to_have_count(1)


def test_tabs_that_start_over_at_once_are_one_new_guest_and_the_others_follow(context: BrowserContext) -> None:
    tabs = [context.new_page() for _ in range(3)]
    for tab in tabs:
        tab.goto("/")
        expect(tab.get_by_test_id("connection")).to_have_attribute("data-status", "online")
    before = user_of(tabs[0])
    lose_session(context)
    for tab in tabs:
        # The next request of each finds out.
        tab.evaluate("window.parley.http.models().catch(() => null)")
        expect(tab.get_by_test_id("connection")).to_have_attribute("data-session", "lost")
    for tab in tabs[:2]:
        tab.evaluate("() => { window.startedOver = window.parley.startOver(); }")
    for tab in tabs:
        expect(tab.get_by_test_id("connection")).to_have_attribute("data-session", "good")
        expect(tab.get_by_test_id("connection")).to_have_attribute("data-status", "online")
    users = {user_of(tab) for tab in tabs}
    assert len(users) == 1
    assert before not in users
    choose(tabs[0], "demo-fast")
    send(tabs[0], "Hello")
    done(tabs[0])
    tabs[2].goto(tabs[0].url)
    done(tabs[2])


def test_where_guests_are_not_allowed_the_page_says_so(browser: Browser, tmp_path: Path) -> None:
    with RunningStack(tmp_path / "data", environment={"AUTH_MODES": "api-key"}) as stack:
        context = browser.new_context(base_url=stack.url)
        page = context.new_page()
        page.goto("/")
        notice = page.get_by_test_id("connection")
        expect(notice).to_contain_text("This server does not allow guests")
        expect(page.get_by_test_id("sidebar-problem")).to_contain_text("This server does not allow guests")
        page.get_by_test_id("composer").fill("Hello?")
        page.get_by_test_id("composer").press("Enter")
        expect(page.get_by_test_id("not-sent")).to_contain_text("does not allow guests")
        expect(notice).not_to_contain_text("Connecting")
        page.goto("/c/0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a12")
        expect(page.get_by_test_id("no-session")).to_be_visible()
        context.close()
