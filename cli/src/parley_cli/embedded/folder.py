"""The data folder of a stack, which one process uses at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from parley_cli.embedded.errors import FolderInUse, UnusableFolder

DEFAULT_FOLDER = Path(".parley")


class FolderLock:
    """An exclusive lock on a folder, as long as the context is open.

    The operating system releases it when the process ends, so a stale lock cannot exist.

    Raises:
        FolderInUse, UnusableFolder: On entering.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None

    def __enter__(self) -> FolderLock:
        file = self._open()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 20).decode().strip() or "unknown"
            os.close(file)
            raise FolderInUse(self._folder, holder) from None
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file
        return self

    def _open(self) -> int:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UnusableFolder(self._folder, error) from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            # The file may be an old one.
            os.close(file)
            raise UnusableFolder(self._folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
        return file

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
