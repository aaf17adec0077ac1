"""Several tabs of one browser that has never been here are one guest."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, Route, expect

from tests.e2e.browser.conftest import FLAGS, chromium_path
from tests.e2e.browser.test_chat import choose, done, send
from tests.e2e.browser.test_sending import accepted, expect_accepted
from tests.support.stack import RunningStack

TABS = 4
LATENCY = 300
"""Milliseconds."""
SESSION = "**/v1/session"


def make_slow(tab: Page) -> None:
    # Not by delaying in route(): the browser adds its cookies only to a request that route() has let go.
    conditions = {"offline": False, "latency": LATENCY, "downloadThroughput": -1, "uploadThroughput": -1}
    tab.context.new_cdp_session(tab).send("Network.emulateNetworkConditions", conditions)


def begin_sessions_together(tabs: list[Page], url: str) -> list[str]:
    """Open the page in all tabs; no session begins before all are open. Return the user of each tab's session."""
    waiting: list[Route] = []
    blocked = True

    def block(route: Route) -> None:
        if blocked:
            waiting.append(route)
        else:
            route.continue_()

    tabs[0].context.route(SESSION, block)
    with ExitStack() as expected:
        sessions = [expected.enter_context(tab.expect_response(SESSION)) for tab in tabs]
        # Side by side: a tab waits only so long for another one's session.
        for tab in tabs:
            tab.goto(url, wait_until="commit")
        for tab in tabs:
            tab.wait_for_load_state()
            make_slow(tab)
        # By then every tab that does not wait for another one has asked.
        tabs[0].wait_for_timeout(LATENCY)
        blocked = False
        for route in waiting:
            route.continue_()
    return [session.value.json()["user_id"] for session in sessions]


@pytest.fixture
def plain_http(playwright: Playwright) -> Iterator[BrowserContext]:
    """A browser that knows this machine by another name: pages from there by plain HTTP have no Web Locks."""
    flags = [*FLAGS, "--host-resolver-rules=MAP parley.test 127.0.0.1"]
    browser = playwright.chromium.launch(executable_path=chromium_path(), args=flags)
    context = browser.new_context()
    context.set_default_timeout(30_000)
    yield context
    browser.close()


def test_tabs_at_a_first_visit_are_one_guest_and_share_their_chats(
    context: BrowserContext, stack: RunningStack
) -> None:
    tabs = [context.new_page() for _ in range(TABS)]
    users = begin_sessions_together(tabs, stack.url)
    assert len(set(users)) == 1
    assert len(context.cookies()) == 1
    first, second = tabs[:2]
    choose(first, "demo-fast")
    send(first, "A question of the first tab")
    done(first)
    second.goto(first.url)
    done(second)
    send(second, "A question of the second tab")
    done(second, 2)
    done(first, 2)


def test_tabs_at_a_first_visit_by_plain_http_are_one_guest(plain_http: BrowserContext, stack: RunningStack) -> None:
    url = stack.url.replace("127.0.0.1", "parley.test")
    tabs = [plain_http.new_page() for _ in range(TABS)]
    users = begin_sessions_together(tabs, url)
    assert tabs[0].evaluate("navigator.locks === undefined")
    assert len(set(users)) == 1
    assert len(plain_http.cookies()) == 1
    first, second = tabs[:2]
    choose(first, "demo-fast")
    send(first, "A question of the first tab")
    done(first)
    second.goto(first.url)
    done(second)
    # Nor is what they write while the server is away sent twice, or in another order.
    posts = accepted(plain_http)
    plain_http.route("**/messages", lambda route: route.abort())
    for tab, text in ((first, "one"), (second, "two"), (first, "three")):
        send(tab, text)
        expect(first.locator("[data-status=sending]").filter(has_text=text)).to_be_visible()
    plain_http.unroute("**/messages")
    done(first, 4)
    done(second, 4)
    expect_accepted(first, posts, ["one", "two", "three"])
