"""The demo model as a process of its own, and what it counted."""

from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path

import msgspec

from parley_cli.demo_model.stats import Snapshot, StreamRecord
from parley_cli.embedded.ports import free_port
from tests.support.program import Program
from tests.support.waiting import wait_until


class DemoModelProcess(Program):
    """A running demo model.

    Args:
        folder: For its log.
        api_key: Asked of clients.
    """

    def __init__(self, folder: Path, *, api_key: str = "") -> None:
        self._port = free_port()
        super().__init__(
            "the demo model",
            [sys.executable, "-m", "parley_cli.demo_model", "--port", str(self._port)],
            os.environ | {"DEMO_MODEL_API_KEY": api_key},
            folder / "demo-model.log",
        )

    @property
    def url(self) -> str:
        """What belongs into ``OPENAI_BASE_URL``."""
        return f"http://127.0.0.1:{self._port}/v1"

    def stats(self) -> Snapshot:
        """What its clients did since its start or the last :meth:`reset`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/stats", timeout=5) as response:
            return msgspec.json.decode(response.read(), type=Snapshot)

    def streams(self, prompt: str) -> list[StreamRecord]:
        """The streams for prompts that contain ``prompt`` (within their first 200 characters), oldest first."""
        return [record for record in self.stats().streams if prompt in record.prompt]

    def reset(self) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/stats/reset", method="POST")
        with urllib.request.urlopen(request, timeout=5):
            pass

    def wait_ready(self) -> None:
        wait_until(self._answers, what="the demo model listening")

    def end(self, *, failed: bool) -> None:
        self.kill()

    def _answers(self) -> bool:
        try:
            self.stats()
        except OSError:
            return False
        return True
