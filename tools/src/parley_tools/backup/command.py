"""``parley backup``, ``parley restore``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from parley_tools.backup.archive import Manifest
from parley_tools.backup.errors import BackupError
from parley_tools.backup.making import back_up
from parley_tools.backup.places import to_read, to_write
from parley_tools.embedded.errors import EmbeddedError
from parley_tools.stack.state import DEFAULT_FOLDER


def add_backup_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``parley backup`` takes."""
    _add_common(parser, "where to write")


def add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``parley restore`` takes."""
    _add_common(parser, "what `parley backup` wrote")
    parser.add_argument("--force", action="store_true", help="replace what is there: all of it is lost")


def run_backup(arguments: argparse.Namespace) -> int:
    """Write the file and return the exit code."""

    def make() -> Manifest:
        with to_read(arguments.data.absolute()) as place:
            return asyncio.run(back_up(place, arguments.file))

    return _run(make, f"Backed up to {arguments.file}", "")


def run_restore(arguments: argparse.Namespace) -> int:
    """Restore the file and return the exit code."""
    from parley_tools.backup.restoring import restore

    def put_back() -> Manifest:
        with to_write(arguments.data.absolute()) as place:
            return asyncio.run(restore(place, arguments.file, force=arguments.force))

    return _run(put_back, f"Restored {arguments.file}", "Start Parley's services now; answers that were due are made.")


def _add_common(parser: argparse.ArgumentParser, file: str) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help=file)
    parser.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="FOLDER",
        help="of the stack, running or not (default .parley); NATS_URL and DATABASE_URL go before",
    )


def _run(work: Callable[[], Manifest], done: str, afterwards: str) -> int:
    logging.getLogger("parley").setLevel(logging.ERROR)
    try:
        manifest = work()
    except (BackupError, EmbeddedError, OSError) as error:
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
