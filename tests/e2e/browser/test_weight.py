"""What the page costs: requests and script at first, and the main thread in long chats and long answers."""

import random
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.main_thread import traced
from tests.support.scripted_page import ORIGIN, ScriptedPage

FRAME = 50
"""Milliseconds of processor time that one task may take."""
OVER = 10
"""Tasks that may take longer: with ten busy threads for each core, which share its caches, 4 of some thousand did.
Work that grows with the chat or the answer makes hundreds of them."""
LONGEST = 2 * FRAME

ELEMENTS = 30
"""Elements of the page for each message of a chat such as these; 25.6 were counted."""
HEAP = 40e6
"""Bytes that the page's objects take with a thousand messages; 25 million were measured."""

WORDS = ("the", "tide", "moves", "because", "Moon", "and", "Sun", "pull", "at", "water", "with", "a", "force", "that")
ANSWER = (
    "## An answer\n\nWith **bold**, `code` and [a link](https://example.com).\n\n- one\n- two\n\n"
    "```python\nprint(1)\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n" + "A paragraph of some length. " * 20
)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=ORIGIN, viewport={"width": 1100, "height": 800})
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.mark.timeout(300)
def test_a_chat_of_a_thousand_messages_opens_and_scrolls_without_long_tasks(
    browser: Browser, context: BrowserContext
) -> None:
    server = ScriptedPage(context)
    chat = server.add_chat("A long chat")
    for turn in range(500):
        server.add_turn(chat, f"question {turn}", ANSWER)
    page = context.new_page()
    with traced(browser, page) as opening:
        page.goto(f"/c/{chat}")
        expect(page.locator(".markdown[data-drawn=true]")).to_have_count(25, timeout=60_000)
    scroller = page.get_by_test_id("scroller")
    with traced(browser, page) as loading:
        for count in range(100, 1050, 50):
            scroller.evaluate("element => element.scrollTo(0, 0)")
            page.wait_for_function("count => document.querySelectorAll('.message').length >= count", arg=count)
    with traced(browser, page) as scrolling:
        for part in range(20):
            scroller.evaluate("(element, part) => element.scrollTo(0, part * element.scrollHeight / 20)", part)
            page.wait_for_timeout(50)
        page.get_by_test_id("jump-latest").click()
    expect(page.locator(".markdown[data-drawn=true]")).to_have_count(500)
    elements = page.evaluate("document.querySelectorAll('*').length")
    heap = used_heap(page)
    begin_answer(server, chat)
    page.get_by_test_id("thinking").wait_for()
    with traced(browser, page) as growing:
        for _ in range(100):
            server.delta(chat, "some more words of the answer ")
            page.wait_for_timeout(10)
        server.delta(chat, "the end")
        # Looking for a text in so many elements is a long task itself.
        page.wait_for_timeout(500)
    expect(page.locator(".message").last).to_contain_text("the end", timeout=60_000)
    print(f"opening {opening.tasks[:3]}, loading {loading.tasks[:3]}, scrolling {scrolling.tasks[:3]} ms")
    print(f"growing {growing.tasks[:3]} ms, {elements} elements, {heap / 1e6:.1f} MB")
    for work in (opening, loading, scrolling, growing):
        assert work.longest < LONGEST
        assert len(work.longer_than(FRAME)) <= OVER
    assert elements < 1000 * ELEMENTS
    assert heap < HEAP


def used_heap(page: Page) -> float:
    session = page.context.new_cdp_session(page)
    for command in ("HeapProfiler.enable", "HeapProfiler.collectGarbage", "Performance.enable"):
        session.send(command)
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "JSHeapUsedSize")


def begin_answer(server: ScriptedPage, chat: str) -> None:
    """Begin an answer in a chat that is open."""
    begin = len(server.messages[chat])
    server.start_answer(chat, "Go on")
    version = server.chats[chat]["version"] = server.chats[chat]["version"] + 1
    for message in server.messages[chat][begin:]:
        message["version"] = version
        server.send({"type": "message", "chat_id": chat, "version": version, "message": message})
    server.send({"type": "chat", "chat_id": chat, "version": version, "chat": server.chats[chat]})
    running = server.running[chat]
    names = {"chat_id": chat, "generation_id": running["generation_id"], "message_id": running["message_id"]}
    server.send({"type": "generation", **names, "attempt": 1, "status": "started", "retry_at": None})


@pytest.mark.timeout(300)
def test_a_paragraph_of_twenty_thousand_tokens_is_drawn_without_long_tasks(
    browser: Browser, context: BrowserContext
) -> None:
    server = ScriptedPage(context)
    chat = server.add_chat("A long answer")
    server.start_answer(chat, "Go on")
    page = context.new_page()
    page.goto(f"/c/{chat}")
    page.get_by_test_id("thinking").wait_for()
    choose = random.Random(1)
    with traced(browser, page) as growing:
        for _ in range(500):
            server.delta(chat, " ".join(choose.choices(WORDS, k=40)) + " **and** ")
            page.wait_for_timeout(10)
        server.delta(chat, "the end")
        expect(page.get_by_text("the end")).to_be_attached(timeout=60_000)
    nodes = page.evaluate("document.querySelectorAll('*').length")
    print(f"longest tasks {growing.tasks[:5]} ms, {nodes} elements")
    assert growing.longest < LONGEST
    assert len(growing.longer_than(FRAME)) <= OVER
    assert nodes < 1_000
    server.finish_answer(chat)
    with traced(browser, page) as opening:
        page.reload()
        expect(page.locator(".markdown[data-drawn=true]")).to_have_count(1)
    print(f"opened again: {opening.tasks[:5]} ms")
    assert opening.longest < LONGEST
    assert len(opening.longer_than(FRAME)) <= OVER


def test_the_first_load_is_small(context: BrowserContext) -> None:
    server = ScriptedPage(context)
    page = context.new_page()
    page.goto("/")
    page.get_by_test_id("composer").wait_for()
    page.wait_for_timeout(1_000)
    files = [url for url in server.requested if "/v1/" not in url]
    scripts = [url for url in files if url.endswith(".js")]
    assert len(scripts) <= 3
    assert len(files) <= 7
    assert not [url for url in files if any(part in url for part in ("katex", "languages", "diagram"))]
