"""Types of options that more than one command takes."""

from __future__ import annotations

from pathlib import Path

import typer

_MAX_SECONDS = 7 * 24 * 3600.0


def port(value: str | int) -> int:
    """Return a port; 0 is any free one. Raises typer.BadParameter."""
    text = str(value)
    if not (text.isascii() and text.isdecimal() and int(text) <= 65_535):
        raise typer.BadParameter(f"{value!r} is not a port: 0 to 65535")
    return int(text)


def folder(value: str | Path) -> Path:
    """Return the path of a folder. Raises typer.BadParameter for an empty one (an unset variable)."""
    if not str(value):
        raise typer.BadParameter("the name of the folder is empty")
    return Path(value)


def seconds(value: str | float) -> float:
    """Return a time limit. Raises typer.BadParameter."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number <= _MAX_SECONDS:
        raise typer.BadParameter(f"{value!r} is not a number of seconds above 0 and up to {_MAX_SECONDS:g} (one week)")
    return number


def address(value: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``. Raises typer.BadParameter."""
    host, _, number = value.rpartition(":")
    if not host:
        raise typer.BadParameter(f"{value!r} is not HOST:PORT")
    return host.strip("[]"), port(number)
