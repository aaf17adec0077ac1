"""``parley backup``, ``parley restore``."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from parley_cli import output
from parley_cli.backup.archive import ArchiveReader, Manifest
from parley_cli.backup.creation import back_up
from parley_cli.backup.errors import BackupError, FileExists
from parley_cli.backup.targets import to_read, to_write
from parley_cli.deadline import DeadlinePassed, within
from parley_cli.embedded.errors import EmbeddedError
from parley_cli.servers import ServerUnusable


def backup(file: Path, *, folder: Path | None, timeout: float, force: bool) -> int:
    """Write the file and return the exit code."""

    def make() -> Manifest:
        with ExitStack() as opened:
            if file.exists() and not force:
                raise FileExists(file)  # before servers are started for it
            installation = opened.enter_context(to_read(folder and folder.absolute()))
            update = opened.enter_context(output.progress("Backup"))
            work = back_up(installation, file, force=force, on_step=lambda step: update(step, 0))
            return asyncio.run(_within(timeout, "The backup", work))

    return _run(make, f"Backed up to {file}", "")


def restore(file: Path, *, folder: Path | None, timeout: float, force: bool) -> int:
    """Restore the file and return the exit code."""
    from parley_cli.backup import restoration

    def put_back() -> Manifest:
        with ArchiveReader(file):
            pass  # an invalid file is reported before servers are started for it
        with to_write(folder and folder.absolute()) as installation, output.progress("Restore") as update:
            work = restoration.restore(installation, file, force=force, on_step=lambda step: update(step, 0))
            return asyncio.run(_within(timeout, "The restore", work))

    return _run(put_back, f"Restored {file}", "Start Parley's services now; they generate the outstanding answers.")


async def _within(limit: float, what: str, work: Coroutine[Any, Any, Manifest]) -> Manifest:
    try:
        return await within(limit, work)
    except DeadlinePassed as error:
        message = f"{what} did not complete within {limit:g} seconds. Allow more time with --timeout SECONDS."
        raise BackupError(message) from error


def _run(work: Callable[[], Manifest], done: str, afterwards: str) -> int:
    logging.getLogger("parley").setLevel(logging.ERROR)
    try:
        manifest = work()
    except (BackupError, EmbeddedError, ServerUnusable, OSError) as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1
    print(f"{done}, made at {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC:")
    counts = [*manifest.tables.items(), *sorted(manifest.messages.items())]
    print(output.table(((str(count), name) for name, count in counts), right=[0], indent=2))
    if manifest.secret_key is None:
        print("The file does not contain SECRET_KEY. Back it up, too: without it all sessions are lost.")
    if afterwards:
        print(afterwards)
    return 0
