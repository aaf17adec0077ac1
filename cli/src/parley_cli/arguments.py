"""Types of options that more than one command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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


def visible(value: str) -> str:
    """Return a name of at most 100 characters. Raises typer.BadParameter for one without a visible character."""
    # Imported here: only a command that runs needs the contracts.
    from parley.contracts.text import is_blank

    if is_blank(value) or len(value) > 100 or "\0" in value:
        raise typer.BadParameter("a name has 1 to 100 characters, at least one of them visible")
    return value


def address(value: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``. Raises typer.BadParameter."""
    host, _, number = value.rpartition(":")
    if not host:
        raise typer.BadParameter(f"{value!r} is not HOST:PORT")
    return host.strip("[]"), port(number)


def port_option(text: str) -> Any:
    return typer.Option(parser=port, metavar="PORT", help=text)


def seconds_option(text: str) -> Any:
    return typer.Option(parser=seconds, metavar="SECONDS", help=text)


def folder_option(text: str) -> Any:
    return typer.Option(parser=folder, metavar="FOLDER", help=text)


Deadline = Annotated[float, seconds_option("how long it may take")]
UserId = Annotated[str, typer.Argument(metavar="USER", help="the user's id")]
OfUser = Annotated[str | None, typer.Option("--user", metavar="USER", help="only of this user")]
