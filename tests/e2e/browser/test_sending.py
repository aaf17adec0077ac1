"""What a person wrote is not lost and not sent twice: over reloads, crashes and networks that are away."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Response, expect

from tests.e2e.browser.chromium import Chromium
from tests.e2e.browser.test_chat import answers, assembled, choose, done, open_chat, send, stored
from tests.support.cable import Cable
from tests.support.stack import RunningStack
from tests.support.waiting import wait_until

OFFLINE = float(os.environ.get("OFFLINE_SECONDS", "4"))
"""How long the network is away in mid-answer. By hand with the full minute: ``OFFLINE_SECONDS=60``."""
WRITTEN = ["the first, written offline", "the second", "the third"]


@dataclass
class Site:
    """A stack behind a network that can be pulled out."""

    url: str
    cables: tuple[Cable, Cable]

    def pull(self) -> None:
        for cable in self.cables:
            cable.pull()

    def plug_in(self) -> None:
        for cable in self.cables:
            cable.plug_in()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as all_of:
        cables = gateway, push = all_of.enter_context(Cable()), all_of.enter_context(Cable())
        url = f"http://127.0.0.1:{gateway.port}"
        settings = {"PUBLIC_PUSH_URL": f"ws://127.0.0.1:{push.port}/ws", "ALLOWED_ORIGINS": url}
        stack = all_of.enter_context(RunningStack(tmp_path / "data", environment=settings))
        gateway.lead_to(port_of(stack.state.url))
        push.lead_to(port_of(stack.state.push_url))
        yield Site(url, cables)


def port_of(url: str) -> int:
    return int(url.split(":")[2].split("/")[0])


def prompts(page: Page) -> list[str]:
    return [message["content"] for message in stored(page) if message["role"] == "user"]


def accepted(context: BrowserContext) -> list[str]:
    """The messages that the server accepts from any tab, from now on, again if it accepts one again."""
    contents: list[str] = []

    def look_at(response: Response) -> None:
        request = response.request
        if response.status == 202 and request.method == "POST" and request.url.endswith("/messages"):
            contents.append(json.loads(request.post_data or "{}")["content"])

    context.on("response", look_at)
    return contents


def expect_accepted(page: Page, posts: list[str], expected: list[str]) -> None:
    """Of a response, Playwright may report only after the page shows the answer that it brought."""

    def reported() -> int:
        # Playwright hands out its events during a call.
        page.evaluate("null")
        return len(posts)

    wait_until(lambda: reported() >= len(expected), what=f"the messages {expected}")
    assert posts == expected


def write(page: Page, text: str) -> None:
    page.get_by_test_id("composer").click()
    page.keyboard.type(text)


@pytest.mark.timeout(OFFLINE * 3 + 240)
def test_a_minute_offline_in_mid_answer_and_a_crash_lose_nothing_and_send_nothing_twice(
    playwright: Playwright, site: Site, tmp_path: Path
) -> None:
    with Chromium(playwright, tmp_path / "browser") as browser:
        browser.open(site.url).get_by_test_id("composer").wait_for()
        # A cookie that is younger than half a minute can be lost with the browser, and the guest with it.
        wait_until(browser.context.cookies, what="the cookie of the session")
        browser.restart()
        page = browser.open(site.url)
        page.get_by_test_id("composer").wait_for()
        open_chat(page, f"demo-rate-10x{int(10 * (OFFLINE + 10))}")
        send(page, "Tell me a long story")
        expect(answers(page).first).to_have_attribute("data-status", "streaming")
        choose(page, "demo-fast")
        site.pull()
        page.context.set_offline(True)
        expect(page.get_by_test_id("connection")).to_contain_text("You are offline")
        for text in WRITTEN:
            send(page, text)
        write(page, "half a sentence")
        expect(page.locator("[data-status=sending]")).to_have_count(3)
        page.wait_for_timeout(OFFLINE * 1000)
        address = page.url
        browser.crash()
        site.plug_in()
        browser.start()
        browser.wait_ready()
        posts = accepted(browser.context)
        page = browser.open(address)
        expect(page.get_by_test_id("composer")).to_have_value("half a sentence")
        done(page, 4)
        expect_accepted(page, posts, WRITTEN)
        assert prompts(page) == ["Tell me a long story", *WRITTEN]
        story = stored(page)[1]
        assert story["status"] == "complete"
        assert assembled(page, story["id"]) == story["content"]
        assert len(story["content"].split()) > 10 * OFFLINE
        page.reload()
        done(page, 4)
        assert prompts(page) == ["Tell me a long story", *WRITTEN]


def test_an_outage_in_mid_answer_ends_with_the_whole_text_and_each_message_sent_once(
    playwright: Playwright, site: Site, tmp_path: Path
) -> None:
    with Chromium(playwright, tmp_path / "browser") as browser:
        page = browser.open(site.url)
        page.get_by_test_id("composer").wait_for()
        open_chat(page, "demo-rate-20x200")
        send(page, "Tell me a story")
        expect(answers(page).first).to_have_attribute("data-status", "streaming")
        choose(page, "demo-fast")
        second = browser.open(page.url)
        expect(answers(second).first).to_have_attribute("data-status", "streaming")
        site.pull()
        browser.context.set_offline(True)
        for text in WRITTEN:
            send(page, text)
        # Every tab shows what is on its way.
        expect(second.locator("[data-status=sending]")).to_have_count(3)
        posts = accepted(browser.context)
        site.plug_in()
        browser.context.set_offline(False)
        done(page, 4)
        done(second, 4)
        expect_accepted(page, posts, WRITTEN)
        assert prompts(page) == ["Tell me a story", *WRITTEN]
        story = stored(page)[1]
        assert assembled(page, story["id"]) == assembled(second, story["id"]) == story["content"]


def test_a_draft_survives_a_reload_in_each_chat_and_for_a_new_one(page: Page) -> None:
    choose(page, "demo-fast")
    send(page, "Hello")
    done(page)
    write(page, "half a sentence")
    page.reload()
    expect(page.get_by_test_id("composer")).to_have_value("half a sentence")
    page.get_by_test_id("new-chat").click()
    expect(page.get_by_test_id("composer")).to_have_value("")
    write(page, "another beginning")
    page.reload()
    expect(page.get_by_test_id("composer")).to_have_value("another beginning")
    page.get_by_test_id("chat-item").first.click()
    expect(page.get_by_test_id("composer")).to_have_value("half a sentence")
    page.get_by_test_id("composer").press("Enter")
    done(page, 2)
    page.reload()
    done(page, 2)
    expect(page.get_by_test_id("composer")).to_have_value("")


def test_what_is_written_in_place_of_a_message_survives_a_reload(page: Page) -> None:
    choose(page, "demo-fast")
    send(page, "Hello")
    done(page)
    page.get_by_test_id("message-user").hover()
    page.get_by_label("Edit this message").click()
    page.get_by_label("Edit the message").fill("Hello again")
    page.reload()
    expect(page.get_by_label("Edit the message")).to_have_value("Hello again")
    page.get_by_label("Edit the message").press("Enter")
    expect(page.get_by_test_id("message-user")).to_contain_text("Hello again")
    done(page)
    page.reload()
    done(page)
    expect(page.get_by_label("Edit the message")).to_have_count(0)


def test_two_tabs_that_write_in_one_chat_each_keep_their_text_over_a_reload(
    page: Page, context: BrowserContext
) -> None:
    choose(page, "demo-fast")
    send(page, "Hello")
    done(page)
    write(page, "of the first tab")
    second = context.new_page()
    second.goto(page.url)
    # A tab in which nothing was written shows what was written elsewhere.
    expect(second.get_by_test_id("composer")).to_have_value("of the first tab")
    second.get_by_test_id("composer").fill("of the second tab")
    page.reload()
    expect(page.get_by_test_id("composer")).to_have_value("of the first tab")
    second.reload()
    expect(second.get_by_test_id("composer")).to_have_value("of the second tab")
    second.get_by_test_id("composer").press("Enter")
    done(page, 2)
    expect(second.get_by_test_id("composer")).to_have_value("")


@pytest.mark.parametrize("refusal", ["open", "add"])
def test_a_browser_that_stores_nothing_sends_all_the_same(browser: Browser, stack: RunningStack, refusal: str) -> None:
    """As in some private windows, where IndexedDB cannot be opened, and on a full disk."""
    context = browser.new_context(base_url=stack.url)
    context.add_init_script(
        """IDBFactory.prototype.open = () => { throw new DOMException("denied", "SecurityError"); };"""
        if refusal == "open"
        else """IDBObjectStore.prototype.add = IDBObjectStore.prototype.put = () => {
            throw new DOMException("full", "QuotaExceededError");
        };"""
    )
    page = context.new_page()
    page.goto("/")
    choose(page, "demo-fast")
    write(page, "Hello")
    page.get_by_test_id("composer").press("Enter")
    done(page)
    assert prompts(page) == ["Hello"]
    context.close()


@pytest.mark.parametrize("width", [390, 1100])
def test_on_a_touch_screen_of_any_width_the_actions_are_there_and_large_enough(
    browser: Browser, stack: RunningStack, width: int
) -> None:
    context = browser.new_context(base_url=stack.url, viewport={"width": width, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto("/")
    choose(page, "demo-fast")
    for count, text in enumerate(["Hello", "And then?"], start=1):
        send(page, text)
        done(page, count)
    # Of the message before the last, which no pointer is at.
    actions = answers(page).first.locator(".actions")
    actions.scroll_into_view_if_needed()
    expect(actions).to_have_css("opacity", "1")
    page.route("**/messages", lambda route: route.fulfill(status=413, json={"status": 413, "code": "too_large"}))
    send(page, "Too long for the server")
    page.get_by_test_id("not-sent").wait_for()
    for button in (
        actions.get_by_label("Copy the answer"),
        actions.get_by_label("Answer again"),
        page.get_by_role("button", name="Discard"),
        page.get_by_test_id("send"),
    ):
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44
    context.close()


def test_the_composer_is_one_line_that_grows_with_one_button_to_send_and_to_stop(page: Page) -> None:
    choose(page, "demo-slow")
    composer = page.get_by_test_id("composer")
    form = page.locator("form:has([data-testid=composer])")
    empty = form.bounding_box()
    assert empty is not None
    assert empty["height"] < 64
    composer.fill("one\ntwo\nthree")
    grown = form.bounding_box()
    assert grown is not None
    assert grown["height"] >= empty["height"] + 40
    send(page, "A long story, please")
    expect(page.get_by_test_id("stop")).to_be_visible()
    expect(form.get_by_role("button")).to_have_count(1)
    composer.fill("Meanwhile")
    expect(page.get_by_test_id("send")).to_be_enabled()
    expect(page.get_by_test_id("stop")).to_have_count(0)
    composer.fill("")
    expect(answers(page).first).to_have_attribute("data-status", "streaming")
    page.get_by_test_id("stop").click()
    expect(answers(page).first).to_have_attribute("data-status", "stopped")
    expect(composer).to_be_focused()


def test_editing_an_earlier_prompt_stops_the_answer_that_runs_below_it(page: Page) -> None:
    choose(page, "demo-fast")
    send(page, "first question")
    done(page)
    choose(page, "demo-slow")
    send(page, "second question")
    expect(answers(page).last).to_have_attribute("data-status", "streaming")
    page.get_by_test_id("message-user").first.hover()
    page.get_by_label("Edit this message").first.click()
    page.get_by_label("Edit the message").fill("another first question")
    page.get_by_label("Edit the message").press("Enter")
    # Demo-slow would go on for a minute: the new prompt does not wait for its end.
    expect(answers(page)).to_have_count(1)
    expect(answers(page).first).to_have_attribute("data-status", "streaming", timeout=15_000)
    assert "stopped" in {message["status"] for message in stored(page)}


def test_going_away_and_back_finds_the_chat_as_it_is_and_the_draft(
    playwright: Playwright, stack: RunningStack, tmp_path: Path
) -> None:
    # A browser of its own: Playwright's has no back/forward cache, which keeps pages as they were.
    with Chromium(playwright, tmp_path / "browser") as browser:
        page = browser.open(stack.url)
        choose(page, "demo-fast")
        send(page, "Hello")
        done(page)
        write(page, "half a sentence")
        address = page.url
        page.goto(f"{stack.url}/v1/config")
        other = browser.open(address)
        expect(other.get_by_test_id("composer")).to_have_value("half a sentence")
        other.get_by_test_id("composer").fill("from elsewhere")
        other.get_by_test_id("composer").press("Enter")
        done(other, 2)
        page.go_back()
        done(page, 2)
        expect(page.get_by_test_id("connection")).to_have_attribute("data-status", "online")
        send(page, "And again")
        done(page, 3)
        assert prompts(page) == ["Hello", "from elsewhere", "And again"]
