"""``parley backup``, ``parley restore``."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path

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
        if file.exists() and not force:
            raise FileExists(file)  # before servers are started for it
        with to_read(folder and folder.absolute()) as installation, output.progress("Backup") as on_step:
            return asyncio.run(within(timeout, back_up(installation, file, force=force, on_step=on_step)))

    return _run(make, "The backup", timeout, f"Backed up to {file}")


def restore(file: Path, *, folder: Path | None, timeout: float, force: bool) -> int:
    """Restore the file and return the exit code."""
    from parley_cli.backup import restoration

    def put_back() -> Manifest:
        with ArchiveReader(file):
            pass  # an invalid file is reported before servers are started for it
        with to_write(folder and folder.absolute()) as installation, output.progress("Restore") as on_step:
            work = restoration.restore(installation, file, force=force, on_step=on_step)
            return asyncio.run(within(timeout, work))

    code = _run(put_back, "The restore", timeout, f"Restored {file}")
    if code == 0:
        print("Start Parley's services now; they generate the outstanding answers.")
    return code


def _run(work: Callable[[], Manifest], name: str, timeout: float, done: str) -> int:
    logging.getLogger("parley").setLevel(logging.ERROR)
    try:
        manifest = work()
    except DeadlinePassed:
        message = f"{name} did not complete within {timeout:g} seconds. Allow more time with --timeout SECONDS."
        print(f"parley: {message}", file=sys.stderr)
        return 1
    except (BackupError, EmbeddedError, ServerUnusable, OSError) as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1
    print(f"{done}, made at {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC:")
    counts = [*manifest.tables.items(), *sorted(manifest.messages.items())]
    print(output.table(((str(count), name) for name, count in counts), right=[0], indent=2))
    if manifest.secret_key is None:
        print("The file does not contain SECRET_KEY. Back it up, too: without it all sessions are lost.")
    return 0
