"""The page at /chat/ of a site that belongs to others, behind nginx with the configuration that is shipped for it."""

import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, WebSocketRoute, expect

from tests.e2e.browser.test_chat import answers, choose, done, send
from tests.e2e.conftest import BASE

DIAGRAM = "```python\nprint(1)\n```\n\n```mermaid\ngraph LR\n  Moon -->|pull| Ocean\n```\n"


@pytest.fixture
def context(browser: Browser, site: str) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=f"{site}{BASE}/")
    context.set_default_timeout(30_000)
    yield context
    context.close()


def answer_with_a_diagram(route: WebSocketRoute) -> None:
    """Pass on what push says, with another text in answers that are complete."""
    server = route.connect_to_server()

    def alter(text: str | bytes) -> None:
        frame = json.loads(text)
        # A page that watches late gets the answer with the snapshot.
        for message in frame.get("messages", [frame["message"]] if frame["type"] == "message" else []):
            if message["status"] == "complete":
                message["content"] = DIAGRAM
        route.send(json.dumps(frame))

    server.on_message(alter)


def test_a_chat_with_code_and_a_diagram_works_below_a_path(context: BrowserContext) -> None:
    context.route_web_socket(re.compile(f"{BASE}/ws$"), answer_with_a_diagram)
    page = context.new_page()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(urlsplit(request.url).path))
    page.goto("./")
    choose(page, "demo-fast")
    send(page, "A code block and a diagram, please")
    done(page)
    assert urlsplit(page.url).path.startswith(f"{BASE}/c/")
    # Parts of the page that are loaded late: the highlighter, and the document that draws diagrams.
    expect(answers(page).locator(".hljs-title, .hljs-built_in").first).to_be_visible(timeout=30_000)
    expect(page.locator(".diagram-picture img")).to_be_visible(timeout=60_000)
    assert any(path.endswith("/diagram.html") for path in requested)
    assert [path for path in requested if not path.startswith(f"{BASE}/")] == []
    address = page.url
    page.reload()
    done(page)
    assert page.url == address
    page.get_by_test_id("new-chat").click()
    assert urlsplit(page.url).path == f"{BASE}/"
    page.go_back()
    done(page)


def test_trying_again_after_the_page_did_not_start_stays_at_the_chat(context: BrowserContext) -> None:
    page = context.new_page()
    page.goto("./")
    choose(page, "demo-fast")
    send(page, "Hello")
    done(page)
    address = page.url
    lost = re.compile(r"/assets/index-.*\.js")
    page.route(lost, lambda route: route.abort())
    page.goto(address)
    again = page.get_by_role("button", name="Try again")
    expect(again).to_be_visible(timeout=15_000)
    page.unroute(lost)
    again.click()
    done(page)
    assert page.url.split("?")[0] == address
