"""One log of many processes: each line with the time, and its process's name in its own colour."""

from __future__ import annotations

import re
import time
from typing import Protocol

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_BOLD, _DIM, _RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_NAME_WIDTH = 12
_MAX_LINE = 64 * 1024


class LogStream(Protocol):
    """Where lines go: a text file, or :class:`parley.runtime.log_writer.LogWriter`."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...

    def isatty(self) -> bool: ...


class CombinedLog:
    """Writes to a terminal with colours, to anything else without."""

    def __init__(self, stream: LogStream, *, colour: bool | None = None) -> None:
        self._stream = stream
        self._colour = stream.isatty() if colour is None else colour
        self._colours: dict[str, int] = {}

    def line(self, name: str, text: str) -> None:
        moment = time.strftime("%H:%M:%S")
        if self._colour:
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            line = f"{_DIM}{moment}{_RESET} \x1b[{colour}m{name:<{_NAME_WIDTH}}│{_RESET} {text}\n"
        else:
            line = f"{moment} {name:<{_NAME_WIDTH}}| {text}\n"
        self._write(line)

    def announce(self, text: str) -> None:
        """A line that should be seen among the others."""
        self._write(f"\n{_BOLD}{text}{_RESET}\n\n" if self._colour else f"\n{text}\n\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the terminal is gone; the stack goes on until it is told to end


class Lines:
    """Cuts what a process writes into lines, and drops those that ``shown`` does not match."""

    def __init__(self, log: CombinedLog, name: str, shown: re.Pattern[str] | None = None) -> None:
        self._log = log
        self._name = name
        self._shown = shown
        self._rest = b""
        self.last: list[str] = []

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._put(line.decode(errors="replace").rstrip())

    def end(self) -> None:
        if self._rest:
            self._put(self._rest.decode(errors="replace"))
            self._rest = b""

    def _put(self, text: str) -> None:
        self.last = [*self.last[-11:], text]
        if self._shown is None or self._shown.search(text):
            self._log.line(self._name, text)
