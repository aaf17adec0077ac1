"""A real Chromium on a real stack. Each test has its own browser context: another guest, with empty storage."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.support.stack import RunningStack

# What a browser without a screen, a graphics card or the wide network needs; without the sandbox it runs as root.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium_path() -> str:
    """Chromium, found by ``BROWSER_PATH`` or on the PATH."""
    path = os.environ.get("BROWSER_PATH") or shutil.which("chromium") or shutil.which("google-chrome")
    assert path is not None, "no Chromium: set BROWSER_PATH, or install Debian's package chromium"
    return path


# Milliseconds: a deadline for a busy machine, not a delay.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
    yield browser
    browser.close()


@pytest.fixture
def context(browser: Browser, stack: RunningStack) -> Iterator[BrowserContext]:
    """A guest. The test fails when the page logs an error or breaks its content security policy."""
    context = browser.new_context(base_url=stack.url, viewport={"width": 1100, "height": 800})
    context.set_default_timeout(30_000)
    problems: list[str] = []

    def look_at(page: Page) -> None:
        page.on("pageerror", lambda error: problems.append(f"{error}"))
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)

    context.on("page", look_at)
    yield context
    context.close()
    assert not problems


@pytest.fixture
def page(context: BrowserContext) -> Page:
    page = context.new_page()
    page.goto("/")
    page.get_by_test_id("composer").wait_for()
    return page
