"""Tables and progress bars, by rich."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

_UNLIMITED = 10_000
"""Columns of an output that is not a terminal: nothing is wrapped or cut there."""


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is, in colours on a terminal only."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=None if terminal else _UNLIMITED)


def table(rows: Iterable[Sequence[str]], *, right: Iterable[int] = (), indent: int = 0) -> str:
    """Return rows in columns, without frame and header; ``right`` are the columns that are aligned to the right."""
    lines = [list(row) for row in rows]
    grid = Table.grid(padding=(0, 2, 0, 0))
    for column in range(max(map(len, lines), default=0)):
        grid.add_column(justify="right" if column in right else "left", no_wrap=True)
    for line in lines:
        grid.add_row(*line)
    terminal = Console(markup=False, highlight=False, emoji=False, width=_UNLIMITED, color_system=None)
    with terminal.capture() as captured:
        terminal.print(grid)
    return "\n".join(" " * indent + line.rstrip() for line in captured.get().splitlines())


@contextmanager
def progress(description: str, seconds: float | None = None) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on standard error while the context is open, if that is a terminal.

    Yields a function that takes what is being done now, and moves the bar by the time that has passed.

    Args:
        seconds: How long it takes; by default unknown.
    """
    started = time.monotonic()
    terminal = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns,
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # what is printed appears above the bar; a file gets it unchanged
    ) as bar:
        task = bar.add_task(description, total=seconds)

        def update(step: str) -> None:
            passed = time.monotonic() - started
            bar.update(task, description=f"{description}: {step}" if step else description, completed=passed)

        yield update
