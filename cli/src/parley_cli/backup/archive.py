"""The file: a zip archive of PostgreSQL's own dump, the pending messages of the streams, and a manifest.

It contains every chat unencrypted, and the key of an embedded stack's sessions: only its owner can read it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from parley_cli.backup.errors import BackupError, CannotWrite, FileExists, NotAnArchive

FORMAT: Final = 1
DATABASE: Final = "postgres.dump"
MESSAGES: Final = "messages.jsonl"
_MANIFEST: Final = "manifest.json"
_CHUNK: Final = 1024 * 1024


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the archive."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the archive.

    Attributes:
        schema_version: Of the database, the number of its newest migration.
        tables: Rows, by table.
        messages: How many, by the stream and the event's template: the pending ones and the dead letters.
        secret_key: Signs the sessions of an embedded stack; null where it is configured (``SECRET_KEY``).
    """

    format: int
    made_at: datetime
    postgres_version: str
    nats_version: str
    schema_version: int
    tables: dict[str, int]
    messages: dict[str, int]
    parts: dict[str, Part]
    secret_key: str | None = None


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a stream. ``data`` is base64 in the file."""

    stream: str
    seq: int
    subject: str
    time: datetime
    headers: dict[str, str]
    data: bytes


class ArchiveWriter:
    """Writes a temporary file and renames it to ``file`` once it is complete and synced; on an error nothing is left.

    Args:
        force: Replace an existing file.

    Raises:
        FileExists, CannotWrite: On entering and on finishing.
    """

    def __init__(self, file: Path, *, force: bool = False) -> None:
        self._file = file
        self._force = force
        self._parts: dict[str, Part] = {}
        self._finished = False

    def __enter__(self) -> ArchiveWriter:
        self._refuse_to_replace()
        with self._writing():
            # A unique name, so that no other file of that folder is replaced; mode 0600.
            descriptor, partial = tempfile.mkstemp(dir=self._file.parent, prefix=f".{self._file.name[:100]}.")
        self._partial = Path(partial)
        self._raw = os.fdopen(descriptor, "w+b")
        self._zip = zipfile.ZipFile(self._raw, "w", allowZip64=True)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._finished:
            self._partial.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # for example of a full disk, which is the error being handled
                self._zip.close()
            with contextlib.suppress(OSError):
                self._raw.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CannotWrite(self._file, error) from error

    def _refuse_to_replace(self) -> None:
        if self._file.is_dir():
            raise CannotWrite(self._file, IsADirectoryError(errno.EISDIR, "it is a folder"))
        if os.path.lexists(self._file) and not self._force:
            raise FileExists(self._file)

    async def add(self, name: str, chunks: AsyncIterator[bytes], *, compress: bool) -> None:
        """Write a part, chunk by chunk."""
        digest, size = hashlib.sha256(), 0
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        with self._writing(), self._zip.open(info, "w", force_zip64=True) as part:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                part.write(chunk)
        self._parts[name] = Part(bytes=size, sha256=digest.hexdigest())

    def finish(self, manifest: Manifest) -> Manifest:
        """Add the manifest, with the parts, and put the file in its place."""
        whole = msgspec.structs.replace(manifest, parts=self._parts)
        with self._writing():
            self._zip.writestr(_MANIFEST, msgspec.json.format(msgspec.json.encode(whole)))
            self._zip.close()
            self._raw.flush()
            os.fsync(self._raw.fileno())
            self._raw.close()
            self._refuse_to_replace()  # it may have come meanwhile
            self._partial.replace(self._file)
        self._finished = True
        return whole


class ArchiveReader:
    """A verified archive: entering checks every part against the manifest.

    Raises:
        BackupError: On entering: the file cannot be read, or is not an archive.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.manifest: Manifest

    def __enter__(self) -> ArchiveReader:
        try:
            self._zip = zipfile.ZipFile(self._file)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            cause = "There is no such file" if missing else f"It cannot be read ({error.strerror})"
            raise BackupError(f"{self._file} cannot be restored. {cause}. Nothing was changed.") from error
        except zipfile.BadZipFile as error:
            raise NotAnArchive(self._file, f"it is no backup ({error})") from error
        try:
            self._check()
        except BaseException:
            self._zip.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield a part, piece by piece."""
        with self._zip.open(name) as part:
            while chunk := part.read(_CHUNK):
                yield chunk

    def messages(self) -> Iterator[StoredMessage]:
        """Yield the messages of the streams, in their order."""
        decode = msgspec.json.Decoder(StoredMessage).decode
        with self._zip.open(MESSAGES) as part:
            for line in part:
                yield decode(line)

    def _check(self) -> None:
        try:
            self.manifest = msgspec.json.decode(self._zip.read(_MANIFEST), type=Manifest)
        except (KeyError, msgspec.DecodeError, zipfile.BadZipFile) as error:
            raise NotAnArchive(self._file, "it has no readable manifest") from error
        if self.manifest.format > FORMAT:
            raise NotAnArchive(self._file, "a newer version of Parley made it; restore it with that")
        for name in (DATABASE, MESSAGES):
            part = self.manifest.parts.get(name)
            try:
                digest = hashlib.sha256()
                for chunk in self.chunks(name):
                    digest.update(chunk)
            except (KeyError, zipfile.BadZipFile) as error:
                raise NotAnArchive(self._file, f"{name} is missing or damaged") from error
            if part is None or digest.hexdigest() != part.sha256:
                raise NotAnArchive(self._file, f"{name} differs from its checksum")
