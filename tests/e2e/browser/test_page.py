"""The page as a document: printed, left and come back to, at addresses that are nothing's, by keyboard and by ear."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.browser.test_chat import done, send
from tests.e2e.browser.test_state import LONG, in_view, long_chat, open_page, settled
from tests.support.scripted_page import ORIGIN, ScriptedPage
from tests.support.stack import RunningStack

PHONE = {"width": 390, "height": 844}


@pytest.fixture
def scripted(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=ORIGIN, viewport={"width": 1100, "height": 800})
    context.set_default_timeout(30_000)
    problems: list[str] = []
    context.on("weberror", lambda error: problems.append(str(error.error)))
    yield context
    context.close()
    assert not problems


@pytest.fixture
def server(scripted: BrowserContext) -> ScriptedPage:
    return ScriptedPage(scripted)


# --- paper ------------------------------


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def test_a_long_chat_is_printed_whole(scripted: BrowserContext, server: ScriptedPage) -> None:
    chat = long_chat(server, 60)
    code = "\n".join(f"line_{number} = {number}" for number in range(120))
    server.add_turn(chat, "A long prompt.\n" * 60, f"```python\n{code}\n```")
    page = open_page(scripted, f"/c/{chat}")
    in_view(page, "line_119")
    page.evaluate("() => { window.printed = 0; window.print = () => { window.printed += 1; }; }")
    page.keyboard.press("Control+p")
    page.wait_for_function("() => window.printed === 1", timeout=60_000)
    assert page.locator(".message").count() == 122
    pages = pages_of(page.pdf())
    assert pages > 15
    page.emulate_media(media="print")
    cut = page.evaluate(
        """() => [...document.querySelectorAll(".messages, .messages *")]
            .filter((element) => element.clientHeight > 0)
            .filter((element) => ["hidden", "auto", "scroll"].includes(getComputedStyle(element).overflowY))
            .filter((element) => element.scrollHeight > element.clientHeight + 1)
            .map((element) => element.className)"""
    )
    assert [name for name in cut if "sr-only" not in name] == []
    for hidden in ("nav", "form", "header"):
        expect(page.locator(hidden).first).to_be_hidden()


def test_paper_is_light_and_says_when_older_messages_are_missing(
    scripted: BrowserContext, server: ScriptedPage
) -> None:
    chat = long_chat(server)
    page = open_page(scripted, f"/c/{chat}")
    muted = "() => getComputedStyle(document.documentElement).getPropertyValue('--muted-foreground')"
    page.emulate_media(media="screen", color_scheme="light")
    light = page.evaluate(muted)
    page.emulate_media(media="print", color_scheme="dark")
    colours = page.evaluate(
        "() => { const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]; }"
    )
    assert colours == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    assert page.evaluate(muted) == light
    expect(page.get_by_text("Older messages are not printed.")).to_be_visible()


# --- blocks ------------------------------


def test_long_code_and_tables_stand_whole_and_leave_the_wheel_to_the_chat(
    scripted: BrowserContext, server: ScriptedPage
) -> None:
    chat = server.add_chat("Blocks")
    code = "\n".join(f"line_{number} = {number}" for number in range(80))
    rows = "\n".join(f"| {number} | {number * number} |" for number in range(60))
    server.start_answer(chat, "Show me")
    page = open_page(scripted, f"/c/{chat}")
    page.get_by_test_id("thinking").wait_for()
    server.delta(chat, f"```python\n{code}\n```\n\n| n | square |\n|---|---|\n{rows}\n\nthe end")
    in_view(page, "the end")
    server.finish_answer(chat)
    expect(page.get_by_test_id("message-assistant")).to_have_attribute("data-status", "complete")
    for selector in (".markdown pre", ".table-block"):
        inside = page.locator(selector).evaluate("block => block.scrollHeight - block.clientHeight")
        assert inside <= 1, f"{selector} scrolls within itself"
    settled(page)
    scroller = page.get_by_test_id("scroller")
    for selector, wheel in ((".table-block", -120), (".markdown pre", 120)):
        page.locator(selector).hover(position={"x": 30, "y": 5})
        settled(page)
        before = scroller.evaluate("element => element.scrollTop")
        page.mouse.wheel(0, wheel)
        page.wait_for_function(
            "before => document.querySelector('[data-testid=scroller]').scrollTop !== before", arg=before
        )


# --- addresses ------------------------------


def test_an_unknown_address_says_so_and_leads_home(page: Page, stack: RunningStack) -> None:
    problems: list[str] = []
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    for path in ("/c/nonsense", "/nothing/at/all"):
        answer = page.context.request.get(f"{stack.url}{path}", headers={"Accept": "text/html"})
        assert answer.status == 404
        assert "text/html" in answer.headers["content-type"]
        program = page.context.request.get(f"{stack.url}{path}", headers={"Accept": "application/json"})
        assert (program.status, program.json()["code"]) == (404, "not_found")


def test_the_page_of_an_unknown_address_leads_home(scripted: BrowserContext, server: ScriptedPage) -> None:
    server.add_chat("A chat")
    for path in ("/c/nonsense", "/nothing/at/all"):
        page = scripted.new_page()
        page.goto(path)
        expect(page.get_by_role("heading")).to_have_text("There is nothing at this address.")
        page.get_by_role("link", name="Go to your chats").click()
        expect(page.get_by_test_id("composer")).to_be_visible()
        page.wait_for_url(f"{ORIGIN}/")
        page.close()


def test_a_chat_that_does_not_exist_says_so(scripted: BrowserContext, server: ScriptedPage) -> None:
    page = scripted.new_page()
    page.goto("/c/0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a11")
    expect(page.get_by_test_id("unavailable")).to_contain_text("does not exist")


def test_a_dropped_file_does_not_replace_the_page(scripted: BrowserContext, server: ScriptedPage) -> None:
    page = open_page(scripted)
    refused = page.evaluate(
        """() => ["dragover", "drop"].map((type) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File(["text"], "notes.txt"));
            const event = new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer });
            document.querySelector("h1").dispatchEvent(event);
            return event.defaultPrevented;
        })"""
    )
    assert refused == [True, True]
    text = page.evaluate(
        """() => {
            const dataTransfer = new DataTransfer();
            dataTransfer.setData("text/plain", "words");
            const event = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer });
            document.querySelector("[data-testid=composer]").dispatchEvent(event);
            return event.defaultPrevented;
        }"""
    )
    assert text is False


# --- the keyboard ------------------------------


def test_escape_closes_the_drawer_and_gives_the_focus_back(scripted: BrowserContext, server: ScriptedPage) -> None:
    server.add_chat("A chat")
    page = open_page(scripted)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    drawer = page.get_by_role("navigation", name="Chats")
    expect(drawer).to_be_hidden()
    page.get_by_test_id("open-list").click()
    expect(drawer).to_be_visible()
    expect(drawer.get_by_role("button", name="Close the list of chats")).to_be_focused()
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.closest('main') === null"), "the page behind takes no focus"
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(page.get_by_test_id("open-list")).to_be_focused()


def test_escape_closes_a_menu_in_the_drawer_and_not_the_drawer(scripted: BrowserContext, server: ScriptedPage) -> None:
    server.add_chat("A chat")
    page = open_page(scripted)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.get_by_test_id("open-list").click()
    page.get_by_role("button", name="Actions for “A chat”").click()
    expect(page.get_by_role("menu")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_have_count(0)
    expect(page.get_by_role("navigation", name="Chats")).to_be_visible()


def test_the_focus_is_at_the_composer_when_stop_goes_away(scripted: BrowserContext, server: ScriptedPage) -> None:
    chat = server.add_chat("Stop")
    server.start_answer(chat, "Go on")
    page = open_page(scripted, f"/c/{chat}")
    server.delta(chat, "some text")
    expect(page.get_by_text("some text")).to_be_visible()
    page.get_by_test_id("stop").focus()
    page.keyboard.press("Enter")
    server.finish_answer(chat)
    expect(page.get_by_test_id("stop")).to_have_count(0)
    expect(page.get_by_test_id("composer")).to_be_focused()


def test_the_focus_goes_back_to_edit_when_editing_is_cancelled(scripted: BrowserContext, server: ScriptedPage) -> None:
    chat = server.add_chat("Edit")
    server.add_turn(chat, "a prompt", "an answer")
    page = open_page(scripted, f"/c/{chat}")
    edit = page.get_by_role("button", name="Edit this message")
    for leave in ("Escape", "Cancel"):
        edit.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("textbox", name="Edit the message")).to_be_focused()
        if leave == "Escape":
            page.keyboard.press("Escape")
        else:
            page.get_by_role("button", name="Cancel").press("Enter")
        expect(edit).to_be_focused()


def test_the_focus_stays_at_the_arrows_when_the_version_changes(scripted: BrowserContext, server: ScriptedPage) -> None:
    chat = server.add_chat("Versions")
    for version in ("first", "second", "third"):
        server.chats[chat]["tip_id"] = None
        server.add_turn(chat, f"{version} version", f"{version} answer")
    page = open_page(scripted, f"/c/{chat}")
    prompt = page.get_by_test_id("message-user")
    prompt.get_by_role("button", name="The version before").focus()
    page.keyboard.press("Enter")
    expect(prompt).to_contain_text("second version")
    expect(prompt.get_by_role("button", name="The version before")).to_be_focused()
    page.keyboard.press("Enter")
    expect(prompt).to_contain_text("first version")
    expect(prompt.get_by_role("button", name="The version after")).to_be_focused()


# --- a screen reader ------------------------------


def test_an_answer_that_was_complete_before_is_not_announced(scripted: BrowserContext, server: ScriptedPage) -> None:
    chats = [server.add_chat(f"Chat {number}") for number in range(2)]
    for chat in chats:
        server.add_turn(chat, "a prompt", f"an answer. {LONG}")
    page = open_page(scripted, f"/c/{chats[0]}")
    in_view(page, "an answer.")
    page.evaluate(
        """() => {
            window.said = [];
            new MutationObserver(() => {
                window.said.push(document.querySelector("[data-testid=announcer]").textContent);
            }).observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    page.get_by_test_id("chat-item").filter(has_text="Chat 1").click()
    page.wait_for_url(f"**/c/{chats[1]}")
    in_view(page, "an answer.")
    settled(page)
    assert set(page.evaluate("() => window.said")) <= {""}


def test_an_answer_is_announced_when_it_begins_and_when_it_is_complete(page: Page) -> None:
    announcer = page.get_by_test_id("announcer")
    expect(announcer).to_have_text("")
    page.get_by_test_id("model").select_option("demo-fast")
    send(page, "Hello")
    done(page)
    expect(announcer).to_have_text("The answer is complete.")


def test_the_seconds_until_the_next_try_are_not_announced(scripted: BrowserContext, server: ScriptedPage) -> None:
    chat = server.add_chat("Retry")
    server.start_answer(chat, "Go on")
    running = server.running[chat]
    page = open_page(scripted, f"/c/{chat}")
    page.get_by_test_id("thinking").wait_for()
    at = page.evaluate("() => new Date(Date.now() + 60_000).toISOString()")
    server.send(
        {
            "type": "generation",
            "chat_id": chat,
            "generation_id": running["generation_id"],
            "message_id": running["message_id"],
            "attempt": 1,
            "status": "retrying",
            "retry_at": at,
        }
    )
    notice = page.get_by_test_id("retrying")
    expect(notice).to_contain_text(re.compile(r"in \d+ s"))
    announced = notice.evaluate(
        """(notice) => {
            const copy = notice.cloneNode(true);
            for (const hidden of copy.querySelectorAll("[aria-hidden]")) hidden.remove();
            return copy.textContent;
        }"""
    )
    assert not re.search(r"\d", announced)


# --- the list of chats, and long prompts ------------------------------


def test_the_list_of_chats_is_put_away_and_stays_away_over_a_reload(
    scripted: BrowserContext, server: ScriptedPage
) -> None:
    server.add_chat("A chat")
    page = open_page(scripted)
    chats = page.get_by_role("navigation", name="Chats")
    page.get_by_role("button", name="Hide the list of chats").click()
    expect(chats).to_be_hidden()
    page.reload()
    page.get_by_test_id("composer").wait_for()
    expect(chats).to_be_hidden()
    page.get_by_test_id("open-list").click()
    expect(chats).to_be_visible()
    expect(page.get_by_test_id("composer")).to_be_enabled()
    page.get_by_test_id("composer").click()
    expect(page.get_by_test_id("composer")).to_be_focused()


def test_a_long_prompt_is_cut_short_and_shown_whole_on_request(scripted: BrowserContext, server: ScriptedPage) -> None:
    chat = server.add_chat("Long")
    server.add_turn(chat, "A line of a long prompt.\n" * 60, "an answer")
    page = open_page(scripted, f"/c/{chat}")
    prompt = page.get_by_test_id("message-user")
    box = prompt.bounding_box()
    assert box is not None
    assert box["height"] < 400
    prompt.get_by_role("button", name="Show all").click()
    expect(prompt.get_by_role("button", name="Show less")).to_have_attribute("aria-expanded", "true")
    box = prompt.bounding_box()
    assert box is not None
    assert box["height"] > 1200
