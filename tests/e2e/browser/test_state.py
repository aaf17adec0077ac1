"""What the page keeps and finds: titles, searches, versions, models and places in chats."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.support.scripted_page import ORIGIN, ScriptedPage

LONG = "A paragraph of some length that goes on for a while. " * 12


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=ORIGIN, viewport={"width": 1100, "height": 800})
    context.set_default_timeout(30_000)
    problems: list[str] = []
    context.on("weberror", lambda error: problems.append(str(error.error)))
    yield context
    context.close()
    assert not problems


@pytest.fixture
def server(context: BrowserContext) -> ScriptedPage:
    return ScriptedPage(context)


def long_chat(server: ScriptedPage, turns: int = 100, title: str = "A long chat") -> str:
    chat = server.add_chat(title)
    for turn in range(turns):
        server.add_turn(chat, f"question {turn}", f"answer {turn}. {LONG}")
    return chat


def open_page(context: BrowserContext, path: str = "/") -> Page:
    page = context.new_page()
    page.goto(path)
    page.get_by_test_id("composer").wait_for()
    return page


def in_view(page: Page, text: str) -> None:
    expect(page.get_by_text(text, exact=False).first).to_be_in_viewport()


def top_of(message: Locator) -> float:
    box = message.bounding_box()
    assert box is not None
    return box["y"]


def scroll_to(page: Page, text: str) -> None:
    """Scroll by the wheel, as a reader does, until a text is in view."""
    target = page.get_by_text(text).first
    page.get_by_test_id("scroller").hover()
    for _ in range(200):
        if target.is_visible() and -100 < top_of(target) < 700:
            break
        page.mouse.wheel(0, -400)
        page.wait_for_timeout(20)
    expect(target).to_be_in_viewport()
    settled(page)


def settled(page: Page) -> None:
    """Wait until nothing moves: neither older messages nor layout change where the view is."""
    page.wait_for_function(
        """async () => {
            const element = document.querySelector("[data-testid=scroller]");
            const before = [element.scrollTop, element.scrollHeight].join();
            await new Promise((resolve) => setTimeout(resolve, 300));
            return [element.scrollTop, element.scrollHeight].join() === before;
        }"""
    )


# --- titles ------------------------------


def test_a_chat_is_renamed_in_the_side_bar_with_the_keyboard(context: BrowserContext, server: ScriptedPage) -> None:
    chat = server.add_chat("An old title")
    page = open_page(context, f"/c/{chat}")
    item = page.get_by_test_id("chat-item")
    item.hover()
    page.get_by_role("button", name="Actions for “An old title”").click()
    page.keyboard.press("Enter")
    editor = page.get_by_test_id("title-editor")
    expect(editor).to_be_focused()
    expect(editor).to_have_value("An old title")
    page.keyboard.type("A new title")
    page.keyboard.press("Enter")
    expect(item).to_contain_text("A new title")
    expect(page.get_by_test_id("title")).to_have_text("A new title")
    expect(item.get_by_role("link")).to_be_focused()
    assert server.chats[chat]["title"] == "A new title"


def test_a_chat_is_renamed_at_its_title_and_escape_leaves_it(context: BrowserContext, server: ScriptedPage) -> None:
    chat = server.add_chat("An old title")
    page = open_page(context, f"/c/{chat}")
    page.get_by_test_id("title").click()
    page.keyboard.type("Not this")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("title")).to_have_text("An old title")
    page.get_by_test_id("title").click()
    page.keyboard.type("But this")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("title")).to_have_text("But this")
    expect(page.get_by_test_id("chat-item")).to_contain_text("But this")


def test_a_long_title_can_be_read(context: BrowserContext, server: ScriptedPage) -> None:
    title = " ".join(f"word{number}" for number in range(28))
    chat = server.add_chat(title)
    page = open_page(context, f"/c/{chat}")
    assert title in (page.get_by_test_id("title").get_attribute("title") or "")
    assert page.get_by_test_id("chat-item").get_by_role("link").get_attribute("title") == title
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_test_id("title").click()
    whole = page.get_by_test_id("title-editor").evaluate("field => field.scrollHeight <= field.clientHeight + 1")
    assert whole, "on a phone, which has no tooltips, the editor shows all of it"


# --- searching ------------------------------


def test_search_finds_a_message_and_goes_to_it_with_the_keyboard_alone(
    context: BrowserContext, server: ScriptedPage
) -> None:
    chat = long_chat(server)
    server.messages[chat][41]["content"] = f"The needle is in here. {LONG}"
    page = open_page(context)
    page.keyboard.press("Control+k")
    field = page.get_by_test_id("search")
    expect(field).to_be_focused()
    page.keyboard.type("needle")
    hit = page.get_by_test_id("search-hit")
    expect(hit).to_have_count(1)
    expect(hit.locator("mark")).to_have_text("needle")
    expect(page.get_by_test_id("search-state")).to_have_text("1 found.")
    expect(hit).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(field).to_have_count(0)
    in_view(page, "The needle is in here.")
    message = page.locator("[data-found]")
    expect(message).to_be_focused()
    settled(page)
    assert 50 < top_of(message) < 200
    assert page.url.endswith(f"/c/{chat}")


def test_search_shows_the_branch_that_holds_the_message(context: BrowserContext, server: ScriptedPage) -> None:
    chat = server.add_chat("Branches")
    server.add_turn(chat, "first version", "an answer with a needle")
    server.chats[chat]["tip_id"] = None
    server.add_turn(chat, "second version", "another answer")
    page = open_page(context, f"/c/{chat}")
    expect(page.get_by_test_id("message-user")).to_have_text(re.compile("second version"))
    page.keyboard.press("Control+k")
    page.keyboard.type("needle")
    page.get_by_test_id("search-hit").click()
    expect(page.get_by_test_id("message-user")).to_have_text(re.compile("first version"))
    expect(page.locator("[data-found]")).to_contain_text("needle")


def test_search_is_opened_from_the_side_bar_closed_by_escape_and_goes_to_chats_by_title(
    context: BrowserContext, server: ScriptedPage
) -> None:
    server.add_chat("Lighthouses")
    trains = server.add_chat("Night trains")
    page = open_page(context)
    page.get_by_test_id("open-search").click()
    expect(page.get_by_test_id("search-hit")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("search")).to_have_count(0)
    expect(page.get_by_test_id("open-search")).to_be_focused()
    page.keyboard.press("Meta+k")
    page.keyboard.type("train")
    expect(page.get_by_test_id("search-hit")).to_have_text(["Night trains"])
    page.keyboard.press("ArrowDown")
    expect(page.get_by_test_id("search-state")).to_have_text("1 found.")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/c/{trains}")


def test_a_search_that_finds_nothing_or_fails_says_so(context: BrowserContext, server: ScriptedPage) -> None:
    page = open_page(context)
    page.keyboard.press("Control+k")
    page.keyboard.type("nowhere")
    expect(page.get_by_test_id("search-state")).to_have_text("Nothing found.")
    problem = {"status": 503, "code": "unavailable", "detail": "Too many people search. Try again in a moment."}
    context.route("**/v1/search*", lambda route: route.fulfill(status=503, json=problem))
    page.keyboard.type(" else")
    expect(page.get_by_test_id("search-state")).to_have_text("Too many people search. Try again in a moment.")


# --- versions and models ------------------------------


def versions(page: Page) -> Locator:
    return page.get_by_test_id("message-user").first.get_by_test_id("branch")


def test_the_version_chosen_survives_a_reload(context: BrowserContext, server: ScriptedPage) -> None:
    chat = server.add_chat("Versions")
    server.add_turn(chat, "first version", "first answer")
    server.chats[chat]["tip_id"] = None
    server.add_turn(chat, "second version", "second answer")
    page = open_page(context, f"/c/{chat}")
    prompt = page.get_by_test_id("message-user")
    expect(prompt).to_contain_text("second version")
    prompt.hover()
    page.get_by_role("button", name="The version before").click()
    expect(prompt).to_contain_text("first version")
    page.reload()
    expect(prompt).to_contain_text("first version")
    expect(page.get_by_text("first answer")).to_be_visible()


def test_the_arrows_lead_away_from_the_message_that_the_address_named(
    context: BrowserContext, server: ScriptedPage
) -> None:
    chat = server.add_chat("Versions")
    server.add_turn(chat, "first version", "first answer")
    server.chats[chat]["tip_id"] = None
    server.add_turn(chat, "second version", "second answer")
    named = server.messages[chat][0]["id"]
    page = open_page(context, f"/c/{chat}#{named}")
    expect(page.get_by_text("first answer")).to_be_visible()
    versions(page).get_by_role("button", name="The version after").click()
    expect(page.get_by_text("second answer")).to_be_visible()
    # It stays: what would lead back would have been rendered with the other version.
    versions(page).get_by_role("button", name="The version before").hover()
    expect(page.get_by_text("second answer")).to_be_visible()


def test_the_arrows_stay_alive_after_an_edit_and_a_further_message(
    context: BrowserContext, server: ScriptedPage
) -> None:
    chat = server.add_chat("Versions")
    server.add_turn(chat, "first version", "first answer")
    page = open_page(context, f"/c/{chat}")
    expect(page.get_by_text("first answer")).to_be_visible()

    def turn(prompt: str, answer: str) -> None:
        server.chats[chat]["version"] += 1
        begin = len(server.messages[chat])
        server.add_turn(chat, prompt, answer)
        version = server.chats[chat]["version"]
        for message in server.messages[chat][begin:]:
            server.send({"type": "message", "chat_id": chat, "version": version, "message": message})
        server.send({"type": "chat", "chat_id": chat, "version": version, "chat": server.chats[chat]})
        expect(page.get_by_text(answer)).to_be_visible()

    server.chats[chat]["tip_id"] = None
    turn("second version", "second answer")
    turn("a further message", "a further answer")
    for _ in range(2):
        versions(page).get_by_role("button", name="The version before").click()
        expect(page.get_by_text("first answer")).to_be_visible()
        versions(page).get_by_role("button", name="The version after").click()
        expect(page.get_by_text("a further answer")).to_be_visible()


def test_the_model_of_a_new_chat_survives_a_reload(context: BrowserContext, server: ScriptedPage) -> None:
    page = open_page(context)
    page.get_by_test_id("model").select_option("demo-large")
    page.reload()
    expect(page.get_by_test_id("model")).to_have_value("demo-large")


# --- places ------------------------------


def test_the_place_in_a_chat_survives_a_reload_and_back(context: BrowserContext, server: ScriptedPage) -> None:
    chat, other = long_chat(server), long_chat(server, 3, "A short chat")
    page = open_page(context, f"/c/{chat}")
    in_view(page, "answer 99.")
    scroll_to(page, "answer 60.")
    message = page.get_by_text("answer 60.").first
    before = top_of(message)
    page.reload()
    expect(message).to_be_in_viewport()
    settled(page)
    assert abs(top_of(message) - before) < 3
    page.get_by_test_id("chat-item").filter(has_text="A short chat").click()
    page.wait_for_url(f"**/c/{other}")
    in_view(page, "answer 2.")
    page.go_back()
    expect(message).to_be_in_viewport()
    settled(page)
    assert abs(top_of(message) - before) < 3


def test_a_reader_at_the_end_is_at_the_end_after_a_reload(context: BrowserContext, server: ScriptedPage) -> None:
    chat = long_chat(server)
    page = open_page(context, f"/c/{chat}")
    scroll_to(page, "answer 90.")
    page.get_by_test_id("jump-latest").click()
    in_view(page, "answer 99.")
    settled(page)
    page.reload()
    expect(page.get_by_test_id("message-assistant").last).to_be_in_viewport()
    expect(page.get_by_test_id("jump-latest")).to_have_count(0)
