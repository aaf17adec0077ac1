"""Take the pictures of the page's main states: ``make screenshots`` writes ``docs/images/``.

The page is the built one, on a server that is scripted, so that the pictures are the same on every machine.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.browser.conftest import FLAGS  # noqa: E402
from tests.support.scripted_page import ORIGIN, ScriptedPage  # noqa: E402

IMAGES = ROOT / "docs" / "images"
DESKTOP: ViewportSize = {"width": 1280, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 844}

TIDES = """\
Tides are very long waves: the Moon pulls a little harder on the near side of the Earth than on the far side, and the
oceans follow.

## Where the difference comes from

With the distance \\(d\\) to the Moon and the radius \\(r\\) of the Earth, the tidal acceleration is

\\[
a_t \\approx \\frac{2 G M r}{d^3},
\\]

so the Sun, which is heavier but much further away, has less than half of the Moon's effect.

| Constituent | Cause | Period (h) | Relative height |
|---|---|--:|--:|
| M2 | Moon, twice a day | 12.42 | 100 |
| S2 | Sun, twice a day | 12.00 | 46.6 |
| O1 | Moon, once a day | 25.82 | 41.5 |
"""
CODE = """\
Each constituent is a cosine, so a tide table is a sum:

```python
from math import cos, tau

CONSTITUENTS = {"M2": (1.00, 12.42), "S2": (0.47, 12.00), "O1": (0.42, 25.82)}

def height(hours: float) -> float:
    \"\"\"Return the height above the mean, relative to M2.\"\"\"
    return sum(size * cos(tau * hours / period) for size, period in CONSTITUENTS.values())
```

- [x] the three largest constituents
- [ ] the phase of each, which depends on the place
"""
DIAGRAM = """\
```mermaid
graph LR
  Moon -->|pulls| Ocean
  Sun -->|pulls less| Ocean
  Ocean --> Tide
```

The two add up at new and full moon: a *spring tide*.
"""


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("BROWSER_PATH") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        sys.exit("No Chromium: set BROWSER_PATH, or install Debian's package chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        for name, take in STATES.items():
            take(browser, IMAGES / f"{name}.png")
            print(f"docs/images/{name}.png", flush=True)
        browser.close()


@contextmanager
def _opened(browser: Browser, *, dark: bool = False, phone: bool = False) -> Iterator[tuple[ScriptedPage, Page]]:
    context = browser.new_context(
        base_url=ORIGIN,
        viewport=PHONE if phone else DESKTOP,
        device_scale_factor=2 if phone else 1,
        color_scheme="dark" if dark else "light",
        has_touch=phone,
        is_mobile=phone,
    )
    context.set_default_timeout(60_000)
    server = ScriptedPage(context)
    now = datetime.now(UTC)
    for title, days in (
        ("Rename photos by date", 1),
        ("A polite reply to a late invoice", 1),
        ("Event tables in PostgreSQL", 3),
        ("Reading list on oceanography", 5),
        ("Plan a weekend in Saint-Malo", 20),
    ):
        server.add_chat(title, (now - timedelta(days=days)).isoformat())
    yield server, context.new_page()
    context.close()


def _tides(server: ScriptedPage) -> str:
    return server.add_chat("How tides work", datetime.now(UTC).isoformat())


def _conversation(server: ScriptedPage) -> str:
    chat = _tides(server)
    server.add_turn(chat, "How do tides work, in a few sentences?", TIDES)
    server.add_turn(chat, "Show me how to compute one in Python", CODE)
    return chat


def _open_chat(page: Page, chat: str, answers: int) -> None:
    page.goto(f"/c/{chat}")
    expect(page.locator(".markdown[data-drawn=true]")).to_have_count(answers, timeout=60_000)
    page.wait_for_timeout(2_000)


def start(browser: Browser, file: Path) -> None:
    with _opened(browser) as (_, page):
        page.goto("/")
        page.get_by_test_id("chat-item").first.wait_for()
        page.wait_for_timeout(1_000)
        page.screenshot(path=file)


def page(browser: Browser, file: Path, *, dark: bool = False) -> None:
    with _opened(browser, dark=dark) as (server, page):
        _open_chat(page, _conversation(server), 2)
        page.locator(".hljs-keyword").first.wait_for()
        page.screenshot(path=file)


def text(browser: Browser, file: Path) -> None:
    with _opened(browser) as (server, page):
        _open_chat(page, _conversation(server), 2)
        page.locator(".katex").first.wait_for()
        page.get_by_test_id("scroller").evaluate("element => element.scrollTo(0, 0)")
        page.wait_for_timeout(500)
        page.screenshot(path=file)


def diagram(browser: Browser, file: Path) -> None:
    with _opened(browser, dark=True) as (server, page):
        chat = _tides(server)
        server.add_turn(chat, "Draw what pulls at what", DIAGRAM)
        _open_chat(page, chat, 1)
        page.locator(".diagram-picture img").wait_for()
        page.screenshot(path=file)


def streaming(browser: Browser, file: Path) -> None:
    with _opened(browser) as (server, page):
        chat = _tides(server)
        server.add_turn(chat, "How do tides work, in a few sentences?", TIDES.split("\n\n## ", 1)[0])
        server.start_answer(chat, "Show me how to compute one in Python")
        page.goto(f"/c/{chat}")
        page.get_by_test_id("thinking").wait_for()
        server.delta(chat, CODE[: len(CODE) // 2])
        page.locator(".hljs-keyword").first.wait_for()
        page.screenshot(path=file)


def failed(browser: Browser, file: Path) -> None:
    with _opened(browser) as (server, page):
        chat = _tides(server)
        error = {"code": "provider_unavailable", "message": "The model did not answer in time.", "retryable": True}
        server.add_turn(chat, "How do tides work?", "Tides are very long waves", status="failed", error=error)
        _open_chat(page, chat, 1)
        page.screenshot(path=file)


def phone(browser: Browser, file: Path) -> None:
    with _opened(browser, phone=True) as (server, page):
        _open_chat(page, _conversation(server), 2)
        page.screenshot(path=file)


STATES: dict[str, Callable[[Browser, Path], None]] = {
    "page": page,
    "dark": partial(page, dark=True),
    "start": start,
    "text": text,
    "diagram": diagram,
    "streaming": streaming,
    "failed": failed,
    "phone": phone,
}


if __name__ == "__main__":
    main()
