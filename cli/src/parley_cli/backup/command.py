"""``parley backup``, ``parley restore``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from parley_cli.arguments import folder, seconds
from parley_cli.backup.archive import ArchiveReader, Manifest
from parley_cli.backup.creation import back_up
from parley_cli.backup.errors import BackupError, FileExists, TimedOut
from parley_cli.backup.targets import to_read, to_write
from parley_cli.deadline import DeadlinePassed, within
from parley_cli.embedded.errors import EmbeddedError
from parley_cli.servers import ServerTrouble
from parley_cli.stack.state import DEFAULT_FOLDER


def add_backup_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``parley backup`` takes."""
    _add_common(parser, "where to write")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``parley restore`` takes."""
    _add_common(parser, "what `parley backup` wrote")
    parser.add_argument("--force", action="store_true", help="replace what is there: all of it is lost")


def run_backup(arguments: argparse.Namespace) -> int:
    """Write the file and return the exit code."""

    def make() -> Manifest:
        with ExitStack() as opened:
            if arguments.file.exists() and not arguments.force:
                raise FileExists(arguments.file)  # before servers are started for it
            place = opened.enter_context(to_read(_folder(arguments)))
            work = back_up(place, arguments.file, force=arguments.force)
            return asyncio.run(_within(arguments.timeout, "The backup", work))

    return _run(make, f"Backed up to {arguments.file}", "")


def run_restore(arguments: argparse.Namespace) -> int:
    """Restore the file and return the exit code."""
    from parley_cli.backup.restoration import restore

    def put_back() -> Manifest:
        with ArchiveReader(arguments.file):
            pass  # a file that is none is told before anything is started
        with to_write(_folder(arguments)) as place:
            work = restore(place, arguments.file, force=arguments.force)
            return asyncio.run(_within(arguments.timeout, "The restore", work))

    return _run(put_back, f"Restored {arguments.file}", "Start Parley's services now; answers that were due are made.")


def _add_common(parser: argparse.ArgumentParser, file: str) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help=file)
    parser.add_argument(
        "--data",
        type=folder,
        metavar="FOLDER",
        help=f"of the stack, running or not (default {DEFAULT_FOLDER}); NATS_URL and DATABASE_URL together go before",
    )
    parser.add_argument(
        "--timeout", type=seconds, default=3600.0, metavar="SECONDS", help="how long it may take (default 3600)"
    )


def _folder(arguments: argparse.Namespace) -> Path | None:
    return arguments.data.absolute() if arguments.data is not None else None


async def _within(limit: float, what: str, work: Coroutine[Any, Any, Manifest]) -> Manifest:
    try:
        return await within(limit, work)
    except DeadlinePassed as error:
        raise TimedOut(limit, what) from error


def _run(work: Callable[[], Manifest], done: str, afterwards: str) -> int:
    logging.getLogger("parley").setLevel(logging.ERROR)
    try:
        manifest = work()
    except (BackupError, EmbeddedError, ServerTrouble, OSError) as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1
    print(f"{done}, made at {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC:")
    for table, rows in manifest.tables.items():
        print(f"{rows:>10}  {table}")
    for kind, count in sorted(manifest.messages.items()):
        print(f"{count:>10}  {kind}")
    if manifest.secret_key is None:
        print("The key of sessions (SECRET_KEY) is not in it. Keep that safe, too: without it all users are strangers.")
    if afterwards:
        print(afterwards)
    return 0
