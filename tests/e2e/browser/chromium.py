"""A Chromium of a test's own, with a profile that is left when it crashes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, Playwright

from tests.e2e.browser.conftest import FLAGS, chromium_path
from tests.support.program import Program
from tests.support.waiting import wait_until


class Chromium(Program):
    """Chromium with its profile in ``folder``; start it again in the same folder after it was killed."""

    def __init__(self, playwright: Playwright, folder: Path, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._playwright = playwright
        self._port = folder / "profile" / "DevToolsActivePort"
        super().__init__(
            "Chromium",
            [
                chromium_path(),
                *FLAGS,
                "--headless",
                f"--user-data-dir={self._port.parent}",
                "--remote-debugging-port=0",
                *arguments,
                "about:blank",
            ],
            {**os.environ, "HOME": str(folder)},
            folder / "chromium.log",
        )

    def wait_ready(self) -> None:
        def port() -> str:
            return self._port.read_text().split("\n")[0] if self._port.exists() else ""

        url = f"http://127.0.0.1:{wait_until(port, what='the port of Chromium')}"
        self._browser = self._playwright.chromium.connect_over_cdp(url)

    @property
    def context(self) -> BrowserContext:
        return self._browser.contexts[0]

    def open(self, url: str) -> Page:
        page = self.context.new_page()
        page.goto(url)
        return page

    def restart(self) -> None:
        """Close and start it as a person does: what it writes to its profile now and then is written then."""
        self._browser.new_browser_cdp_session().send("Browser.close")
        self.wait()
        self._port.unlink(missing_ok=True)
        self.start()
        self.wait_ready()

    def crash(self) -> None:
        """End it without a word to anybody."""
        self._port.unlink()
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def end(self, *, failed: bool) -> None:
        if self.returncode is None:
            self.crash()
        if failed:
            print(self.log[-5_000:])
