"""Several tabs of one browser that has never been here are one guest."""

from contextlib import ExitStack

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from tests.e2e.browser.test_chat import choose, done, send
from tests.support.stack import RunningStack

TABS = 4
LATENCY = 300
"""Milliseconds that a session request takes: long enough for every tab to begin before the first has its cookie."""


@pytest.fixture
def tabs(context: BrowserContext) -> list[Page]:
    """Blank tabs, whose session requests are slow."""

    def delay(route: Route) -> None:
        route.request.frame.page.wait_for_timeout(LATENCY)
        route.continue_()

    context.route("**/v1/session", delay)
    return [context.new_page() for _ in range(TABS)]


def open_at_once(tabs: list[Page], url: str) -> list[str]:
    """Open the page in all tabs together, and return the user of each tab's session."""
    with ExitStack() as expected:
        sessions = [expected.enter_context(tab.expect_response("**/v1/session")) for tab in tabs]
        for tab in tabs:
            # Unlike goto(), it does not wait for the tab before.
            tab.evaluate("(url) => void setTimeout(() => location.assign(url))", url)
    for tab in tabs:
        tab.get_by_test_id("composer").wait_for()
    return [session.value.json()["user_id"] for session in sessions]


def test_tabs_at_a_first_visit_are_one_guest_and_share_their_chats(
    tabs: list[Page], context: BrowserContext, stack: RunningStack
) -> None:
    users = open_at_once(tabs, stack.url)
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
