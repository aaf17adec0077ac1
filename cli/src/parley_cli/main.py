"""The ``parley`` command. Each subcommand's code is imported only when it is the one that runs."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from typing import NamedTuple


class _Subcommand(NamedTuple):
    module: str
    help: str
    arguments: str = "add_arguments"
    run: str = "run"


_SUBCOMMANDS = {
    "up": _Subcommand("parley_cli.stack.command", "run everything on this machine"),
    "chat": _Subcommand("parley_cli.chat.command", "ask a question, see the answer grow"),
    "migrate": _Subcommand(
        "parley_cli.stack.command", "bring database and streams up to date", arguments="", run="migrate"
    ),
    "demo-model": _Subcommand("parley_cli.demo_model.command", "an OpenAI-compatible server for trying out"),
    "doctor": _Subcommand("parley_cli.doctor.command", "say what is wrong, and what to do"),
    "backup": _Subcommand(
        "parley_cli.backup.command",
        "write everything that was promised to a file",
        arguments="add_backup_arguments",
        run="run_backup",
    ),
    "restore": _Subcommand(
        "parley_cli.backup.command",
        "bring a backup back",
        arguments="add_restore_arguments",
        run="run_restore",
    ),
    "dead-letters": _Subcommand("parley_cli.dead_letters.command", "what could not be handled"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="parley", description="Parley: a chat backend that streams language-model answers."
    )
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = words[0] if words else None
    for name, subcommand in _SUBCOMMANDS.items():
        own = parsers.add_parser(name, help=subcommand.help, description=subcommand.help.capitalize() + ".")
        if name == chosen and subcommand.arguments:
            getattr(importlib.import_module(subcommand.module), subcommand.arguments)(own)
    parsed = parser.parse_args(words)
    subcommand = _SUBCOMMANDS[parsed.command]
    if arguments is None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            # As with Ctrl-C, what was begun is undone on the way out. Those that serve have handlers of their own.
            signal.signal(number, _interrupt)
    try:
        code: int = getattr(importlib.import_module(subcommand.module), subcommand.run)(parsed)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output (`head`, a pager) has seen enough. Nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"parley: {parsed.command} was broken off", file=sys.stderr)
        return 128 + (_received[0] if _received else signal.SIGINT)
    return code


_received: list[int] = []


def _interrupt(number: int, frame: object) -> None:
    _received.append(number)
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
