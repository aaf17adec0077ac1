"""What a page's main thread does, by its own processor time: a busy machine does not make a task longer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Page

_CATEGORIES = ["toplevel", "disabled-by-default-devtools.timeline", "devtools.timeline"]


@dataclass
class MainThread:
    """Tasks of the renderers' main threads, in milliseconds of processor time, longest first."""

    tasks: list[float] = field(default_factory=list)

    @property
    def longest(self) -> float:
        return self.tasks[0] if self.tasks else 0.0

    def longer_than(self, milliseconds: float) -> list[float]:
        return [task for task in self.tasks if task > milliseconds]


@contextmanager
def traced(browser: Browser, page: Page) -> Iterator[MainThread]:
    """Trace the page's tasks within the block."""
    result = MainThread()
    browser.start_tracing(page=page, categories=_CATEGORIES)
    try:
        yield result
    finally:
        events = json.loads(browser.stop_tracing())["traceEvents"]
        main = {
            (event["pid"], event["tid"])
            for event in events
            if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
        }
        durations = [
            event.get("tdur", 0) / 1000
            for event in events
            if event["name"] == "ThreadControllerImpl::RunTask" and (event["pid"], event["tid"]) in main
        ]
        result.tasks = sorted((round(duration, 1) for duration in durations), reverse=True)
