"""The migration, and how a stack decides that it needs none."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from parley_cli import child_process
from parley_cli.embedded.guard import guarded
from parley_cli.stack.errors import StackError

if TYPE_CHECKING:
    from parley_cli.servers import ServerUnusable

_LAST_LINES = 40
_REASON = "chat-store: "
"""The prefix of the line with the reason of a failure."""

_SOURCES = (
    ("chat_store.storage", "migrations"),
    ("chat_store.storage", "schema.py"),
    ("chat_store.storage", "indexes.py"),
    ("chat_store.storage", "search_index.py"),
    ("parley.contracts", "streams.py"),
    ("parley.contracts", "subjects.py"),
    ("parley.runtime.nats", "provision.py"),
)


async def migrate(environment: Mapping[str, str], log: Callable[[str], None] = lambda line: None) -> None:
    """Run chat-store's migration of the database and the streams.

    Args:
        log: Called with each line of output at once: it may wait for a server, and name it.

    Raises:
        StackError: It failed.
    """
    process = await child_process.start_async(
        guarded([sys.executable, "-m", "chat_store", "migrate"]), output=subprocess.PIPE, environment=environment
    )
    assert process.stdout is not None
    lines: deque[str] = deque(maxlen=_LAST_LINES)
    try:
        async for data in process.stdout:
            lines.append(data.decode(errors="replace").rstrip())
            log(lines[-1])
        await process.wait()
    except BaseException:
        await child_process.kill(process)
        raise
    if process.returncode != 0:
        reasons = [line.removeprefix(_REASON) for line in lines if line.startswith(_REASON)]
        raise StackError("\n".join(reasons or ["The migration failed.", *lines]))


async def check_servers(*, nats_url: str | None, database_url: str | None) -> None:
    """Check servers that the stack did not start.

    One that does not respond yet is no error here: the migration waits for it, and logs that.

    Raises:
        StackError: One cannot be used, and a retry would not help.
    """
    if not nats_url and not database_url:
        return
    # Here: the clients of both take 0.1 s of CPU to import, and a stack with servers of its own needs neither.
    from parley_cli import servers

    try:
        if nats_url:
            async with servers.nats_client(nats_url, "parley-migrate") as client:
                await servers.check_jetstream(client)
    except servers.ServerUnusable as error:
        _raise_unless_transient(error)
    try:
        if database_url:
            async with servers.postgres(database_url, "parley-migrate"):
                pass
    except servers.ServerUnusable as error:
        _raise_unless_transient(error)


def _raise_unless_transient(error: ServerUnusable) -> None:
    if not error.transient:
        raise StackError(str(error)) from error


def run_migration(environment: Mapping[str, str]) -> int:
    """Migrate the servers that ``DATABASE_URL`` and ``NATS_URL`` name (``parley migrate``); return the exit code."""
    try:
        asyncio.run(check_servers(nats_url=environment.get("NATS_URL"), database_url=environment.get("DATABASE_URL")))
    except StackError as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1
    return subprocess.run(
        [sys.executable, "-m", "chat_store", "migrate"], env=dict(environment), check=False
    ).returncode


class MigrationStamp:
    """The version that the embedded servers were last migrated to, stored in their data folders."""

    def __init__(self, places: Iterable[Path]) -> None:
        self._files = [place / "migrated" for place in places]

    def is_current(self) -> bool:
        """Return whether every folder was migrated by the installed code."""
        wanted = _fingerprint()
        return all(file.exists() and file.read_text() == wanted for file in self._files)

    def set(self) -> None:
        for file in self._files:
            file.write_text(_fingerprint())


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for package, name in _SOURCES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations
        place = Path(spec.submodule_search_locations[0]) / name
        for file in sorted(place.rglob("*.sql")) if place.is_dir() else [place]:
            digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()
