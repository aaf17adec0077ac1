"""One log of many processes: each line with the time, and its process's name in its own colour."""

from __future__ import annotations

import re
import time
from typing import Protocol

from rich.style import Style

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue")
_STYLES = [Style(color=f"{shade}{colour}") for shade in ("", "bright_") for colour in _COLOURS]
_BOLD, _DIM = Style(bold=True), Style(dim=True)
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
        self._styles: dict[str, Style] = {}

    def redirect(self, stream: LogStream) -> None:
        """Write to another stream from now on."""
        self._stream = stream

    def line(self, name: str, text: str) -> None:
        moment = time.strftime("%H:%M:%S")
        if self._colour:
            style = self._styles.setdefault(name, _STYLES[len(self._styles) % len(_STYLES)])
            line = f"{_DIM.render(moment)} {style.render(f'{name:<{_NAME_WIDTH}}│')} {text}\n"
        else:
            line = f"{moment} {name:<{_NAME_WIDTH}}| {text}\n"
        self._write(line)

    def announce(self, text: str) -> None:
        """Write a line that stands out."""
        self._write(f"\n{_BOLD.render(text)}\n\n" if self._colour else f"\n{text}\n\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the terminal is closed; the stack keeps running


class Lines:
    """Splits the output of a process into lines, and logs those that match ``shown``."""

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
