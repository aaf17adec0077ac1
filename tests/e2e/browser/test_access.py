"""What everybody can use: axe on every view in light and dark, targets for fingers, and forced colours."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from parley.contracts.ids import new_id
from tests.support.scripted_account import PROVIDER
from tests.support.scripted_page import DIST, ORIGIN, USER, ScriptedPage

AXE = (DIST.parents[1] / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
PHONE = {"width": 390, "height": 844}
RICH = """# A heading

Text with **bold**, *emphasis*, `code`, [a link](https://example.com), a [local one](./file) and a note[^1].

## Code and tables

```python
def moved(path: str) -> bool:  # a comment
    return f"{path}!" in {"a", 1, None}
```

| Name | Number |
|---|---|
| one | 1 |

- [x] done
- [ ] to do

> A quotation.

Maths: $a^2 + b^2$, a key <kbd>Ctrl</kbd>, <mark>marked</mark>, ~~struck~~.

[^1]: The note.
"""

Prepare = Callable[[BrowserContext, ScriptedPage], Page]


def opened(context: BrowserContext, path: str = "/") -> Page:
    page = context.new_page()
    page.goto(path)
    return page


def start_page(context: BrowserContext, server: ScriptedPage) -> Page:
    server.demo = True
    server.add_chat("A chat")
    page = opened(context)
    expect(page.get_by_test_id("chat-item")).to_have_count(1)
    return page


def rich_chat(server: ScriptedPage) -> str:
    chat = server.add_chat("A rich chat")
    server.add_turn(chat, "A long prompt.\n" * 30, RICH, reasoning="Some thoughts.")
    server.add_turn(chat, "Again", "", status="stopped")
    error = {"code": "provider_timeout", "message": "The model did not begin in time.", "retryable": True}
    server.add_turn(chat, "Once more", "The beginning of", status="failed", error=error)
    server.chats[chat]["tip_id"] = server.messages[chat][1]["id"]
    server.add_turn(chat, "Another version", "Cut off.", finish_reason="length")
    return chat


def chat_page(context: BrowserContext, server: ScriptedPage) -> Page:
    page = opened(context, f"/c/{rich_chat(server)}")
    page.get_by_text("Cut off.").wait_for()
    page.locator(".katex").first.wait_for()
    page.locator(".hljs-keyword").first.wait_for()
    return page


def failed_answer(context: BrowserContext, server: ScriptedPage) -> Page:
    chat = rich_chat(server)
    server.chats[chat]["tip_id"] = server.messages[chat][5]["id"]
    page = opened(context, f"/c/{chat}")
    page.get_by_test_id("error").wait_for()
    return page


def streaming(context: BrowserContext, server: ScriptedPage) -> Page:
    chat = server.add_chat("A running answer")
    server.start_answer(chat, "Go on")
    page = opened(context, f"/c/{chat}")
    page.get_by_test_id("thinking").wait_for()
    server.delta(chat, "Let me think.", "reasoning")
    server.delta(chat, RICH)
    page.locator(".hljs-keyword").first.wait_for()
    server.delta(chat, "\n\n```python\nprint(1")
    page.get_by_text("print(1").wait_for()
    return page


def thinking(context: BrowserContext, server: ScriptedPage) -> Page:
    chat = server.add_chat("A chat")
    server.start_answer(chat, "Go on")
    server.add_message(chat, "user", "And then", status="queued", parent_id=None)
    page = opened(context, f"/c/{chat}")
    page.get_by_test_id("thinking").wait_for()
    return page


def search_dialog(context: BrowserContext, server: ScriptedPage) -> Page:
    rich_chat(server)
    page = opened(context)
    page.get_by_test_id("composer").wait_for()
    page.keyboard.press("Control+k")
    page.keyboard.type("a")
    expect(page.get_by_test_id("search-hit").locator("mark").first).to_be_visible()
    return page


def nothing_found(context: BrowserContext, server: ScriptedPage) -> Page:
    page = opened(context)
    page.get_by_test_id("composer").wait_for()
    page.keyboard.press("Control+k")
    page.keyboard.type("nowhere")
    expect(page.get_by_test_id("search-state")).to_have_text("Nothing found.")
    return page


def menu(context: BrowserContext, server: ScriptedPage) -> Page:
    page = chat_page(context, server)
    page.get_by_role("button", name="Actions for").focus()
    page.keyboard.press("Enter")
    page.get_by_role("menu").wait_for()
    return page


def renaming(context: BrowserContext, server: ScriptedPage) -> Page:
    page = chat_page(context, server)
    page.get_by_test_id("title").click()
    return page


def deleting(context: BrowserContext, server: ScriptedPage) -> Page:
    page = menu(context, server)
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").wait_for()
    return page


def editing(context: BrowserContext, server: ScriptedPage) -> Page:
    page = chat_page(context, server)
    page.get_by_role("button", name="Edit this message").last.focus()
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="Edit the message").wait_for()
    return page


def drawer(context: BrowserContext, server: ScriptedPage) -> Page:
    server.add_chat("A chat")
    page = opened(context)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.get_by_test_id("open-list").click()
    page.get_by_role("navigation", name="Chats").wait_for()
    return page


def phone_chat(context: BrowserContext, server: ScriptedPage) -> Page:
    page = chat_page(context, server)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    return page


def unavailable(context: BrowserContext, server: ScriptedPage) -> Page:
    page = opened(context, "/c/0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a11")
    page.get_by_test_id("unavailable").wait_for()
    return page


def unknown(context: BrowserContext, server: ScriptedPage) -> Page:
    page = opened(context, "/nothing")
    page.get_by_test_id("not-found").wait_for()
    return page


def offline(context: BrowserContext, server: ScriptedPage) -> Page:
    page = start_page(context, server)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-status", "online")
    context.set_offline(True)
    expect(page.get_by_test_id("connection")).to_contain_text("offline")
    return page


def session_lost(context: BrowserContext, server: ScriptedPage) -> Page:
    def refuse(route: Route) -> None:
        route.fulfill(status=401, json={"status": 401, "code": "token_invalid", "detail": "It is not valid."})

    context.route("**/v1/*", refuse)
    page = opened(context)
    page.get_by_role("button", name="Start over").first.wait_for()
    return page


def notice(context: BrowserContext, server: ScriptedPage) -> Page:
    page = chat_page(context, server)

    def refuse(route: Route) -> None:
        route.fulfill(status=409, json={"status": 409, "code": "conflict", "detail": "An answer is running."})

    context.route("**/regenerate", refuse)
    page.get_by_test_id("regenerate").last.click(force=True)
    page.get_by_test_id("notice").wait_for()
    return page


def too_long(context: BrowserContext, server: ScriptedPage) -> Page:
    page = start_page(context, server)
    page.get_by_test_id("composer").fill("x" * 140_000)
    page.get_by_text("too long").wait_for()
    return page


def account(tab: str) -> Prepare:
    def prepare(context: BrowserContext, server: ScriptedPage) -> Page:
        server.account.sign_in()
        server.account.add_session(current=True)
        server.account.add_session(current=False, user_agent="curl/8.14")
        server.account.add_usage()
        server.account.add_key("Backup")
        page = opened(context)
        open_list(page)
        page.get_by_test_id("open-account").click()
        page.get_by_test_id(f"tab-{tab}").click()
        page.get_by_test_id(VIEWS_OF_ACCOUNT[tab]).first.wait_for()
        return page

    prepare.__name__ = f"account_{tab}"
    return prepare


VIEWS_OF_ACCOUNT = {
    "profile": "user-id",
    "sessions": "session",
    "api-keys": "api-key",
    "usage": "usage-models",
    "data": "erase",
}
"""What shows that a tab's content is there."""


def open_list(page: Page) -> None:
    page.get_by_test_id("composer").wait_for()
    if page.get_by_test_id("open-list").is_visible():
        page.get_by_test_id("open-list").click()


def new_key(context: BrowserContext, server: ScriptedPage) -> Page:
    page = account("api-keys")(context, server)
    page.get_by_test_id("api-key-name").fill("Another")
    page.get_by_test_id("create-api-key").click()
    page.get_by_test_id("api-key-secret").wait_for()
    return page


def usage_table(context: BrowserContext, server: ScriptedPage) -> Page:
    page = account("usage")(context, server)
    page.get_by_role("button", name="Show as a table").click()
    return page


def members(context: BrowserContext, server: ScriptedPage) -> Page:
    chat = rich_chat(server)
    server.account.add_member(chat, USER, "owner")
    server.account.add_member(chat, new_id(), "writer", name="Grace Hopper")
    server.account.add_member(chat, new_id(), "reader", status="invited")
    page = opened(context, f"/c/{chat}")
    page.get_by_test_id("open-share").click()
    expect(page.get_by_test_id("member")).to_have_count(3)
    return page


def share_links(context: BrowserContext, server: ScriptedPage) -> Page:
    page = members(context, server)
    page.get_by_test_id("tab-links").click()
    page.get_by_test_id("create-link").click()
    page.get_by_test_id("link-address").wait_for()
    return page


def invitations(context: BrowserContext, server: ScriptedPage) -> Page:
    server.account.add_invitation(server.add_chat("A chat"), "A chat")
    server.account.sign_in()
    page = opened(context)
    open_list(page)
    page.get_by_test_id("invitation").wait_for()
    return page


def reader(context: BrowserContext, server: ScriptedPage) -> Page:
    chat = rich_chat(server)
    server.chats[chat]["owner_id"] = new_id()
    server.account.add_member(chat, USER, "reader")
    page = opened(context, f"/c/{chat}")
    expect(page.get_by_test_id("composer")).to_be_disabled()
    return page


def shared_chat(context: BrowserContext, server: ScriptedPage) -> Page:
    chat = rich_chat(server)
    server.account.shared["token"] = {"title": "A rich chat", "messages": server.messages[chat]}
    page = opened(context, "/shared/token")
    page.get_by_text("Cut off.").wait_for()
    page.locator(".hljs-keyword").first.wait_for()
    return page


def sign_in(context: BrowserContext, server: ScriptedPage) -> Page:
    server.account.provider = PROVIDER
    server.account.refused = True
    page = opened(context, "/?sign_in_error=disabled")
    page.get_by_test_id("sign-in").wait_for()
    return page


def session_ended(context: BrowserContext, server: ScriptedPage) -> Page:
    server.account.sign_in()
    page = start_page(context, server)
    server.account.signed_in = False
    page.evaluate("window.parley.http.startSession().catch(() => null)")
    page.get_by_test_id("sign-in").wait_for()
    return page


VIEWS: list[Prepare] = [
    *(account(tab) for tab in VIEWS_OF_ACCOUNT),
    new_key,
    usage_table,
    members,
    share_links,
    invitations,
    reader,
    shared_chat,
    sign_in,
    session_ended,
    start_page,
    chat_page,
    failed_answer,
    thinking,
    streaming,
    search_dialog,
    nothing_found,
    menu,
    renaming,
    deleting,
    editing,
    drawer,
    phone_chat,
    unavailable,
    unknown,
    offline,
    session_lost,
    notice,
    too_long,
]


@pytest.fixture
def make_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        context = browser.new_context(base_url=ORIGIN, **{"viewport": {"width": 1100, "height": 800}, **options})
        context.set_default_timeout(30_000)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()


def faults(page: Page) -> list[str]:
    """What axe finds that is serious or critical, with the elements."""
    page.evaluate(AXE)
    found = page.evaluate(
        """async () => {
            // What fades in has no colours of its own yet.
            await Promise.allSettled(document.getAnimations()
                .filter((animation) => animation.effect.getComputedTiming().endTime < 5_000)
                .map((animation) => animation.finished));
            const { violations } = await axe.run(document, { resultTypes: ["violations"] });
            return violations;
        }"""
    )
    return [
        f"{fault['impact']} {fault['id']}: {node['html'][:160]} ({json.dumps(node['any'][:1])[:300]})"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("prepare", VIEWS, ids=lambda prepare: prepare.__name__.replace("_", " "))
def test_axe_finds_nothing_serious_or_critical(
    make_context: Callable[..., BrowserContext], prepare: Prepare, scheme: str
) -> None:
    context = make_context(color_scheme=scheme)
    page = prepare(context, ScriptedPage(context))
    assert faults(page) == []


def test_axe_looks_at_the_page(make_context: Callable[..., BrowserContext]) -> None:
    context = make_context()
    page = start_page(context, ScriptedPage(context))
    page.evaluate("() => document.querySelector('[data-testid=composer]').removeAttribute('aria-label')")
    page.evaluate("() => document.querySelector('[data-testid=composer]').removeAttribute('placeholder')")
    assert any(fault.startswith("critical label:") for fault in faults(page))


# --- fingers ------------------------------

_SMALL = """() => {
    const targets = document.querySelectorAll("button, a, select, summary, input, textarea, [role=option]");
    return [...targets].filter((target) => {
        // Links within a text, and what only shows something.
        if (target.closest(".markdown p, .markdown li") || target.disabled || target.closest("[inert]")) return false;
        if (!target.checkVisibility({ visibilityProperty: true }) || target.tabIndex < 0 && target.role !== "option") {
            return false;
        }
        // The label of a checkbox is its target too.
        const whole = target.type === "checkbox" && target.closest("label") || target;
        const { width, height } = whole.getBoundingClientRect();
        return width < 43.5 || height < 43.5;
    }).map((target) => {
        const { width, height } = target.getBoundingClientRect();
        return `${target.outerHTML.slice(0, 140)} ${width.toFixed()} x ${height.toFixed()}`;
    });
}"""


@pytest.mark.parametrize("prepare", VIEWS, ids=lambda prepare: prepare.__name__.replace("_", " "))
def test_every_target_is_large_enough_for_a_finger(
    make_context: Callable[..., BrowserContext], prepare: Prepare
) -> None:
    context = make_context(has_touch=True, is_mobile=True)
    page = prepare(context, ScriptedPage(context))
    assert page.evaluate("() => matchMedia('(pointer: coarse)').matches")
    assert page.evaluate(_SMALL) == []


# --- forced colours ------------------------------


def test_forced_colours_keep_what_only_colours_tell(make_context: Callable[..., BrowserContext]) -> None:
    context = make_context(forced_colors="active")
    page = chat_page(context, ScriptedPage(context))
    assert page.evaluate("() => matchMedia('(forced-colors: active)').matches")

    def border(selector: str) -> float:
        width: float = page.locator(selector).first.evaluate(
            "element => parseFloat(getComputedStyle(element).borderTopWidth)"
        )
        return width

    for selector in (".bubble", ".chat-item[data-current=true]", "[data-testid=send]", ".markdown p code"):
        assert border(selector) > 0, selector
    page.keyboard.press("Control+k")
    page.keyboard.type("a")
    hit = page.get_by_test_id("search-hit").first
    expect(hit.locator("mark").first).to_be_visible()
    selected, other = (
        page.get_by_test_id("search-hit")
        .nth(index)
        .evaluate(
            "element => [getComputedStyle(element).outlineStyle, getComputedStyle(element).borderTopStyle].join()"
        )
        for index in (0, 1)
    )
    assert selected != other, "the selected hit looks like the others"


def test_the_focus_is_seen_on_everything_that_takes_it(make_context: Callable[..., BrowserContext]) -> None:
    for forced in ("none", "active"):
        context = make_context(forced_colors=forced)
        page = chat_page(context, ScriptedPage(context))
        unseen = []
        for _ in range(40):
            page.keyboard.press("Tab")
            seen = page.evaluate(
                """() => {
                    const element = document.activeElement;
                    if (element === document.body) return true;
                    const own = getComputedStyle(element);
                    const within = getComputedStyle(element.closest("form") ?? element);
                    return own.outlineStyle !== "none" || within.borderColor !== "" && element.matches("textarea");
                }"""
            )
            if not seen:
                unseen.append(page.evaluate("() => document.activeElement.outerHTML.slice(0, 120)"))
        assert unseen == []


def test_axe_is_the_version_that_is_pinned() -> None:
    package = json.loads((Path(DIST).parent / "package.json").read_text())
    assert f'version="{package["devDependencies"]["axe-core"]}"' in AXE
