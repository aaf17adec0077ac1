"""What an answer may do to the page, in a real browser: nothing but be read."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.scripted_page import ORIGIN, ScriptedPage

CASES = Path(__file__).parents[3] / "web" / "tests" / "markdown" / "cases" / "hostile.json"
HOSTILE: list[str] = json.loads(CASES.read_text(encoding="utf-8"))

FORMULA = "The area is \\(a^2\\), and\n\n\\[\n\\int_0^1 x\\,dx = \\frac{1}{2}\n\\]\n"
CODE = "```python\ndef f(x):\n    return x  # the same\n```\n\nAfter the code."


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=ORIGIN, viewport={"width": 1100, "height": 800})
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def server(context: BrowserContext) -> ScriptedPage:
    return ScriptedPage(context)


@pytest.fixture
def problems(context: BrowserContext) -> list[str]:
    """What the pages of the context complained about."""
    problems: list[str] = []

    def look_at(page: Page) -> None:
        page.on("pageerror", lambda error: problems.append(f"{error}"))
        page.on(
            "console", lambda line: problems.append(f"{line.text} {line.location}") if line.type == "error" else None
        )
        page.on("dialog", lambda dialog: problems.append(dialog.message))

    context.on("page", look_at)
    return problems


def show(context: BrowserContext, server: ScriptedPage, answer: str) -> Page:
    chat = server.add_chat("A chat")
    server.add_turn(chat, "Say it", answer)
    page = context.new_page()
    page.goto(f"/c/{chat}")
    expect(page.locator(".markdown[data-drawn=true]")).to_have_count(1, timeout=60_000)
    return page


def test_hostile_answers_run_nothing_and_fetch_nothing_while_they_stream(
    context: BrowserContext, server: ScriptedPage, problems: list[str]
) -> None:
    chat = server.add_chat("Hostile")
    server.start_answer(chat, "Do your worst")
    page = context.new_page()
    page.goto(f"/c/{chat}")
    page.get_by_test_id("thinking").wait_for()
    for text in HOSTILE:
        for start in range(0, len(text), max(1, len(text) // 3)):
            server.delta(chat, text[start : start + max(1, len(text) // 3)])
            page.wait_for_timeout(1)
        server.delta(chat, "\n\nAn ordinary paragraph.\n\n")
    server.delta(chat, "The very end.")
    expect(page.get_by_text("The very end.")).to_be_attached(timeout=60_000)
    server.finish_answer(chat)
    expect(page.get_by_test_id("message-assistant")).to_have_attribute("data-status", "complete", timeout=60_000)
    page.wait_for_timeout(1_000)
    assert page.evaluate("window.hacked") is None
    assert page.url == f"{ORIGIN}/c/{chat}"
    assert [url for url in server.requested if not url.startswith((ORIGIN, "data:", "blob:"))] == []
    # Mermaid tries a label as markup within its own document, whose policy stops it.
    assert [line for line in problems if not ("inline event handler" in line and "/assets/chunk-" in line)] == []
    expect(page.get_by_test_id("composer")).to_be_editable()
    page.get_by_test_id("composer").click()


def test_formulas_are_typeset_under_the_pages_policy(
    context: BrowserContext, server: ScriptedPage, problems: list[str]
) -> None:
    page = show(context, server, FORMULA)
    expect(page.locator(".maths .katex-html")).to_have_count(2, timeout=30_000)
    expect(page.locator(".maths-source")).to_have_count(0)
    assert problems == []


def test_diagrams_are_drawn_as_pictures_by_a_document_without_an_origin(
    context: BrowserContext, server: ScriptedPage, problems: list[str]
) -> None:
    page = show(context, server, "```mermaid\ngraph LR\n  Moon -->|pull| Ocean\n```")
    picture = page.locator(".diagram-picture img")
    picture.wait_for(timeout=60_000)
    box = picture.bounding_box()
    assert box is not None
    assert box["width"] > 50
    assert page.evaluate("() => { try { return frames[0].document } catch { return 'closed' } }") == "closed"
    assert problems == []


def test_a_diagram_that_is_none_stays_text(context: BrowserContext, server: ScriptedPage) -> None:
    page = show(context, server, "```mermaid\nthis is no diagram\n```")
    expect(page.locator("pre")).to_have_text("this is no diagram")


def test_code_stays_readable_when_the_highlighter_does_not_load(context: BrowserContext, server: ScriptedPage) -> None:
    server.lost.add("/assets/languages-")
    page = show(context, server, CODE)
    expect(page.get_by_text("After the code.")).to_be_visible()
    expect(page.locator("pre")).to_contain_text("return x  # the same", timeout=30_000)
    expect(page.get_by_test_id("reload")).to_be_visible(timeout=60_000)
    tries = [url for url in server.requested if "/assets/languages-" in url]
    assert len(tries) == 2
    page.get_by_test_id("composer").fill("It works on")
    server.lost.clear()
    page.get_by_role("button", name="Reload").click()
    expect(page.locator("pre .hljs-keyword").first).to_be_visible(timeout=30_000)


def test_a_part_that_fails_once_is_loaded_by_the_second_try(context: BrowserContext, server: ScriptedPage) -> None:
    server.lost_once.add("/assets/katex-")
    page = show(context, server, FORMULA)
    expect(page.locator(".maths .katex-html")).to_have_count(2, timeout=30_000)
    expect(page.get_by_test_id("reload")).to_have_count(0)


def test_a_page_whose_script_does_not_load_says_so(context: BrowserContext, server: ScriptedPage) -> None:
    server.lost.add("/assets/index-")
    page = context.new_page()
    page.goto("/")
    expect(page.get_by_text("Parley did not start.")).to_be_visible()


def test_links_jump_within_their_message_or_leave_without_parleys_address(
    context: BrowserContext, server: ScriptedPage
) -> None:
    chat = server.add_chat("Links")
    filler = "\n\n".join(["A paragraph between."] * 60)
    links = "[down](#the-end) [file](./docs/a.md) [out](HTTPS://EXAMPLE.COM/a) and a note[^1]"
    text = f"{links}\n\n{filler}\n\n## The end\n\n[^1]: Noted."
    server.add_turn(chat, "first", "## The end\n\nof another message")
    server.add_turn(chat, "second", text)
    page = context.new_page()
    page.goto(f"/c/{chat}")
    answer = page.get_by_test_id("message-assistant").last
    expect(answer.locator("h2", has_text="The end")).to_be_attached()
    answer.get_by_text("down", exact=True).click()
    expect(answer.locator("h2", has_text="The end")).to_be_in_viewport()
    assert page.url == f"{ORIGIN}/c/{chat}"
    answer.get_by_role("link", name="Footnote 1").click()
    expect(answer.get_by_text("Noted.")).to_be_in_viewport()
    # At once: who asked the system for less motion sees no scrolling.
    position = "document.querySelector('[data-testid=scroller]').scrollTop"
    back = answer.get_by_role("link", name="Back to the text")
    before, after = back.evaluate(f"e => [{position}, (e.click(), {position})]")
    assert after < before
    expect(answer.get_by_text("down", exact=True)).to_be_in_viewport()
    expect(answer.get_by_role("link", name="file")).to_have_count(0)
    expect(answer.locator(".address")).to_have_attribute("data-address", "./docs/a.md")
    out = answer.get_by_role("link", name="out")
    expect(out).to_have_attribute("rel", re.compile("noreferrer"))
    assert len(context.pages) == 1


def test_text_finds_its_direction_and_wide_blocks_scroll_within_themselves(
    context: BrowserContext, server: ScriptedPage
) -> None:
    wide = "| " + " | ".join(["a wide column"] * 20) + " |\n|" + "---|" * 20 + "\n| " + " | ".join(["cell"] * 20) + " |"
    page = show(
        context,
        server,
        f"مرحبا بالعالم\n\n{wide}\n\n```\n{'x' * 400}\n```\n\n# One\n## Two\n### Three\n#### Four\n\ntext",
    )
    assert page.locator(".markdown > p").first.evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert page.evaluate("document.querySelector('[data-testid=scroller]').scrollWidth") <= 1100
    for block in (page.locator(".table-block"), page.locator(".code-block pre")):
        block.focus()
        expect(block).to_be_focused()
        assert block.evaluate("e => e.scrollWidth > e.clientWidth")
    tools_end = page.locator(".code-tools").evaluate("e => e.getBoundingClientRect().bottom")
    assert tools_end <= page.locator(".code-block code").evaluate("e => e.getBoundingClientRect().top")
    sizes = [
        page.locator(f".markdown h{level}").evaluate("e => getComputedStyle(e).fontSize") for level in (1, 2, 3, 4)
    ]
    assert len(set(sizes)) == 4
