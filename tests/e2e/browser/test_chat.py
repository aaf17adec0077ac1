"""What a person sees: issue by issue, in a real browser."""

import re
from urllib.parse import urljoin

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.support.waiting import wait_until

_STATE = "() => window.parley.state(location.pathname.split('/').pop())"


def choose(page: Page, model: str) -> None:
    page.get_by_test_id("model").select_option(model)
    expect(page.get_by_test_id("model")).to_have_value(model)


def open_chat(page: Page, model: str) -> None:
    """Open a new chat with a model that the picker does not offer."""
    wait_until(page.context.cookies, what="the cookie of the page's session")
    chat = page.evaluate(
        """async (model) => {
            const headers = { "Content-Type": "application/json" };
            const answer = await fetch("/v1/chats", { method: "POST", headers, body: JSON.stringify({ model }) });
            return (await answer.json()).id;
        }""",
        model,
    )
    page.goto(urljoin(page.url, f"/c/{chat}"))


def send(page: Page, text: str) -> None:
    page.get_by_test_id("composer").fill(text)
    page.get_by_test_id("composer").press("Enter")


def answers(page: Page) -> Locator:
    return page.get_by_test_id("message-assistant")


def done(page: Page, count: int = 1) -> None:
    """Wait until the newest of ``count`` answers is complete."""
    expect(answers(page)).to_have_count(count, timeout=60_000)
    expect(answers(page).last).to_have_attribute("data-status", "complete", timeout=60_000)


def at_the_end(page: Page) -> None:
    """Wait until the newest text is in view."""
    page.wait_for_function(
        """() => {
            const element = document.querySelector("[data-testid=scroller]");
            return element.scrollHeight - element.scrollTop - element.clientHeight < 40;
        }"""
    )


def stored(page: Page) -> list[dict[str, str]]:
    """The chat's messages, as the gateway tells them to this page's user."""
    items: list[dict[str, str]] = page.evaluate(
        """async () => {
            const chat = location.pathname.split("/").pop();
            const page = await fetch(`/v1/chats/${chat}/messages?limit=100`);
            return (await page.json()).items;
        }"""
    )
    return items


def assembled(page: Page, message_id: str) -> str:
    """What the page's client has put together for a message."""
    text: str = page.evaluate(
        f"(id) => ({_STATE})().messages.find((message) => message.id === id).content",
        message_id,
    )
    return text


def test_the_message_is_there_at_once_and_the_answer_grows_until_it_is_done(page: Page) -> None:
    choose(page, "demo")
    send(page, "Tell me about lighthouses")
    expect(page.get_by_test_id("message-user")).to_have_text(re.compile("Tell me about lighthouses"))
    answer = answers(page).first
    expect(answer).to_have_attribute("data-status", "streaming")
    first = len(answer.inner_text())
    page.wait_for_function(
        "([length]) => document.querySelector('[data-testid=message-assistant]').innerText.length > length + 20",
        arg=[first],
    )
    assert answer.get_attribute("data-status") == "streaming"
    done(page)
    expect(answer.locator("pre").first).to_be_visible()
    expect(answer.locator("table").first).to_be_visible()
    prompt, reply = stored(page)
    assert prompt["content"] == "Tell me about lighthouses"
    assert assembled(page, reply["id"]) == reply["content"]


def test_a_reload_in_mid_answer_goes_on_and_ends_with_the_stored_text(page: Page) -> None:
    choose(page, "demo")
    send(page, "What is a reload?")
    expect(answers(page).first).to_have_attribute("data-status", "streaming")
    page.reload()
    expect(answers(page).first).to_have_attribute("data-status", "streaming")
    done(page)
    reply = stored(page)[-1]
    assert assembled(page, reply["id"]) == reply["content"]
    assert len(reply["content"]) > 100


def test_a_second_tab_shows_the_same_answer(page: Page, context: BrowserContext) -> None:
    choose(page, "demo")
    send(page, "One answer, two tabs")
    expect(answers(page).first).to_have_attribute("data-status", "streaming")
    second = context.new_page()
    second.goto(page.url)
    expect(answers(second).first).to_have_attribute("data-status", "streaming")
    done(page)
    done(second)
    reply = stored(page)[-1]
    assert assembled(page, reply["id"]) == assembled(second, reply["id"]) == reply["content"]
    assert answers(page).first.inner_text() == answers(second).first.inner_text()


def test_thirty_turns_load_at_their_end_and_scroll_to_their_beginning(page: Page) -> None:
    choose(page, "demo-fast")
    send(page, "turn 1")
    done(page)
    chat = page.url.rsplit("/", 1)[-1]
    page.evaluate(
        """async (chat) => {
            for (let turn = 2; turn <= 30; turn += 1) {
                await fetch(`/v1/chats/${chat}/messages`, {
                    method: "POST",
                    headers: { "Content-Type": "application/json" },
                    body: JSON.stringify({ content: `turn ${turn}` }),
                });
            }
        }""",
        chat,
    )
    page.wait_for_function(
        f"() => ({_STATE})().messages.filter((message) => message.status === 'complete').length === 30",
        timeout=60_000,
    )
    page.reload()
    expect(page.get_by_test_id("message-user").last).to_have_text(re.compile(r"turn 30\b"))
    at_the_end(page)
    first = page.get_by_test_id("message-user").filter(has_text=re.compile(r"turn 1\b"))
    for _ in range(50):
        if first.count() and first.first.is_visible():
            break
        page.get_by_test_id("scroller").evaluate("(element) => element.scrollTo(0, 0)")
        page.wait_for_timeout(50)
    first.first.scroll_into_view_if_needed()
    expect(first.first).to_be_in_viewport()
    page.get_by_test_id("jump-latest").click()
    at_the_end(page)


def test_stop_ends_the_answer_with_what_was_said(page: Page) -> None:
    choose(page, "demo-slow")
    send(page, "A long story, please")
    expect(answers(page).first).to_have_attribute("data-status", "streaming")
    page.get_by_test_id("stop").click()
    expect(answers(page).first).to_have_attribute("data-status", "stopped")
    expect(page.get_by_test_id("stop")).to_have_count(0)
    send(page, "And now something else")
    expect(answers(page)).to_have_count(2)


def test_a_failure_that_trying_again_cannot_cure_offers_another_answer_in_place_of_retry(page: Page) -> None:
    open_chat(page, "demo-error-401")
    send(page, "This will fail")
    error = page.get_by_test_id("error").first
    expect(error).to_contain_text("API key")
    assert "Traceback" not in error.inner_text()
    choose(page, "demo-fast")
    expect(page.get_by_test_id("retry")).to_have_count(0)
    page.get_by_test_id("regenerate").click()
    done(page)


def test_enter_sends_and_shift_enter_breaks_the_line_and_focus_stays(page: Page) -> None:
    choose(page, "demo-fast")
    composer = page.get_by_test_id("composer")
    composer.click()
    height = composer.bounding_box()
    page.keyboard.type("first line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("third line")
    grown = composer.bounding_box()
    assert height is not None
    assert grown is not None
    assert grown["height"] > height["height"]
    page.keyboard.press("Enter")
    expect(composer).to_have_value("")
    expect(composer).to_be_focused()
    done(page)
    assert stored(page)[0]["content"] == "first line\nsecond line\nthird line"


def test_the_view_follows_the_answer_unless_the_reader_scrolled_up(page: Page) -> None:
    page.set_viewport_size({"width": 900, "height": 400})
    choose(page, "demo")
    send(page, "Something long enough to scroll")
    scroller = page.get_by_test_id("scroller")
    page.wait_for_function(
        """() => {
            const element = document.querySelector("[data-testid=scroller]");
            return element.scrollHeight > element.clientHeight + 200;
        }"""
    )
    at_the_end(page)
    scroller.hover()
    page.mouse.wheel(0, -150)
    expect(page.get_by_test_id("jump-latest")).to_be_visible()
    place = scroller.evaluate("(element) => element.scrollTop")
    length = len(answers(page).first.inner_text())
    page.wait_for_function(
        "([length]) => document.querySelector('[data-testid=message-assistant]').innerText.length > length",
        arg=[length],
    )
    assert abs(scroller.evaluate("(element) => element.scrollTop") - place) < 5
    page.get_by_test_id("jump-latest").click()
    at_the_end(page)


def test_a_message_sent_while_an_answer_runs_is_queued_and_answered_next(page: Page) -> None:
    choose(page, "demo")
    send(page, "first question")
    expect(answers(page).first).to_have_attribute("data-status", "streaming")
    send(page, "second question")
    expect(page.get_by_test_id("message-user").last).to_have_attribute("data-status", "queued")
    done(page, 2)
    assert [message["content"] for message in stored(page) if message["role"] == "user"] == [
        "first question",
        "second question",
    ]


@pytest.mark.parametrize("markup", ["<img src=x onerror=window.hacked=1>", "<script>window.hacked=1</script>"])
def test_markup_of_a_message_does_nothing(page: Page, markup: str) -> None:
    choose(page, "demo-fast")
    send(page, markup)
    done(page)
    assert page.evaluate("window.hacked") is None


def test_yesterdays_chats_are_listed_and_can_be_deleted(page: Page) -> None:
    choose(page, "demo-fast")
    send(page, "Remember me")
    done(page)
    page.goto("/")
    item = page.get_by_test_id("chat-item").filter(has_text="Remember me")
    item.click()
    expect(page.get_by_test_id("message-user").first).to_contain_text("Remember me")
