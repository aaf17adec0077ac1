"""The demo model as a process of its own, and what it counted."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType

import msgspec

from parley_tools.demo_model.stats import Snapshot, StreamRecord
from parley_tools.embedded.guard import guarded
from parley_tools.embedded.ports import free_port
from tests.support.waiting import wait_until


class DemoModelProcess:
    """A running demo model; a context manager.

    Args:
        folder: For its log.
        api_key: Asked of clients.
    """

    def __init__(self, folder: Path, *, api_key: str = "") -> None:
        self._port = free_port()
        self._log = folder / "demo-model.log"
        self._api_key = api_key
        self._process: subprocess.Popen[bytes] | None = None

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

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                guarded([sys.executable, "-m", "parley_tools.demo_model", "--port", str(self._port)]),
                env=os.environ | {"DEMO_MODEL_API_KEY": self._api_key},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, what="the demo model listening")

    def stop(self) -> None:
        """End it; without effect when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            self.stats()
        except OSError:
            return False
        return True

    def __enter__(self) -> DemoModelProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
