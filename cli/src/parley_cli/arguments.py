"""Values on the command line that more than one command takes."""

from __future__ import annotations

import argparse
from pathlib import Path

_MOST_SECONDS = 7 * 24 * 3600.0


def port_number(text: str) -> int:
    """A port, or 0 for any free one."""
    if not (text.isascii() and text.isdecimal() and int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def folder(text: str) -> Path:
    """The path of a folder."""
    if not text:
        raise argparse.ArgumentTypeError("no folder is named")
    return Path(text)


def seconds(text: str) -> float:
    """A time limit."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0 (a week at most)")
    return number
