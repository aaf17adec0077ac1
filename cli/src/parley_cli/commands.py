"""How commands are declared: their exit codes and interruption, and the common parts of those that use NATS."""

from __future__ import annotations

import functools
import inspect
import signal
import sys
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Annotated, Any, Final, NamedTuple, TypeAlias, TypeVar

import typer
from typer.core import TyperCommand

from parley_cli.arguments import Deadline

# Plain help and errors: an error stays on one line, which scripts can search, and rich is not imported for it.
SETTINGS: Final[dict[str, Any]] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}
_received_signals: Final[list[int]] = []


class Command(TyperCommand):
    """A command whose function returns the exit code, and that a signal interrupts."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # its name in Typer's public interface
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()  # here, where a closed pipe is handled
        except KeyboardInterrupt:
            typer.echo(f"{ctx.command_path.replace(' ', ': ', 1)} was interrupted", err=True)
            raise typer.Exit(128 + (_received_signals or [signal.SIGINT])[0]) from None
        raise typer.Exit(code)


def interrupt(number: int, frame: object) -> None:
    """Handle a signal as Ctrl-C is handled; the exit code names it."""
    _received_signals.append(number)
    signal.raise_signal(signal.SIGINT)


class Output(NamedTuple):
    """One thing to print: as a JSON object, or as text for people."""

    record: Any
    text: str


Action: TypeAlias = Callable[[Any], AsyncIterator[Output]]
"""What a command does with a connection, as its feature wraps it."""
MakeAction = TypeVar("MakeAction", bound=Callable[..., Action])


def _options(
    *,
    nats_url: Annotated[str | None, typer.Option(help="default: NATS_URL, else the running stack's")] = None,
    timeout: Deadline = 60.0,
    json: Annotated[bool, typer.Option("--json", help="one JSON object per line")] = False,
) -> None:
    """Declare the options of a command that uses NATS."""


_OPTIONS: Final = inspect.signature(_options, eval_str=True).parameters


def bus_command(app: typer.Typer, runner: str, name: str | None = None) -> Callable[[MakeAction], MakeAction]:
    """Add a command that uses NATS, with the options ``--nats-url``, ``--timeout`` and ``--json``.

    Args:
        runner: The module whose function ``run`` carries out the action that the decorated function returns. It is
            imported when the command runs: the NATS client takes 0.2 s of CPU to import.
    """

    def register(make_action: MakeAction) -> MakeAction:
        @functools.wraps(make_action)
        def command(**arguments: Any) -> int:
            options = {name: arguments.pop(name) for name in _OPTIONS}
            action = make_action(**arguments)
            code: int = import_module(runner).run(action, **options)
            return code

        own = inspect.signature(make_action, eval_str=True).parameters
        command.__signature__ = inspect.Signature([*own.values(), *_OPTIONS.values()])  # type: ignore[attr-defined]
        app.command(name, cls=Command)(command)
        return make_action

    return register
