"""The data folder of a stack, which one process uses at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parley_cli.embedded.errors import FolderInUse, UnusableFolder

DEFAULT_FOLDER = Path(".parley")


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder, which is made if it is missing, as long as the context is open.

    The operating system releases the lock when the process ends, so a stale one cannot exist.

    Raises:
        FolderInUse, UnusableFolder: On entering.
    """
    file = _open(folder)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 20).decode().strip() or "unknown"
            raise FolderInUse(folder, holder) from None
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(file)


def _open(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UnusableFolder(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        # The file may be an old one.
        os.close(file)
        raise UnusableFolder(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return file
