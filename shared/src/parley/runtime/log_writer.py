"""A log stream that never waits for whoever reads it."""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from typing import Final

from prometheus_client import Counter

DROPPED: Final = Counter("parley_log_lines_dropped", "Log lines that nobody read in time")

_MAX_PENDING: Final = 4 * 1024 * 1024
"""Bytes that wait for a reader; a minute of a busy service at DEBUG."""
_CLOSE_TIMEOUT: Final = 1.0


class LogWriter:
    """A text stream over a file descriptor, written to by a thread of its own.

    A terminal that is paused (Ctrl-S), a pager or a log collector that stands still would otherwise stop the event loop
    at its next line. What does not fit into ``max_pending`` bytes meanwhile is dropped, counted in
    ``parley_log_lines_dropped_total``, and reported by one line as soon as there is a reader again.

    Args:
        descriptor: Stays open when the writer is closed.
        max_pending: Bytes that wait at most.
    """

    def __init__(self, descriptor: int, *, max_pending: int = _MAX_PENDING) -> None:
        self._descriptor = descriptor
        self._max_pending = max_pending
        self._lines: deque[bytes] = deque()
        self._pending = 0
        self._dropped = 0
        self._closed = False
        self._changed = threading.Condition()
        # A daemon: a reader that never comes must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Take one or more whole lines; never waits."""
        line = text.encode(errors="backslashreplace")
        with self._changed:
            # Once a line is dropped so are those after it, until the gap is reported: it has one place.
            if self._closed or self._dropped or self._pending + len(line) > self._max_pending:
                self._dropped += 1
                DROPPED.inc()
            else:
                self._lines.append(line)
                self._pending += len(line)
                self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Do nothing: lines are written as soon as the reader takes them."""

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def close(self, timeout: float = _CLOSE_TIMEOUT) -> None:
        """Wait until all is written, at most ``timeout`` seconds; what is written to it later is dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while (line := self._next()) is not None:
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:  # somebody else made the descriptor non-blocking
                select.select([], [self._descriptor], [])
                with self._changed:
                    self._lines.appendleft(line)
                    self._pending += len(line)
            except OSError:
                pass  # the reader is gone for good; the process goes on without a log

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._dropped or self._closed)
            if self._lines:
                line = self._lines.popleft()
                self._pending -= len(line)
                return line
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                return f"({dropped} log lines were dropped here: nobody read them in time)\n".encode()
            return None
