"""PostgreSQL, through its own ``pg_dump``, ``pg_restore`` and ``psql``."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import asyncpg

from chat_store.storage.search_index import INDEX
from parley.runtime.server_urls import without_credentials
from parley_cli import child_process, servers
from parley_cli.backup.errors import BackupError, ProgramFailed
from parley_cli.embedded.errors import NotInstalled
from parley_cli.embedded.postgres import postgres_program

_SERVICE: Final = "parley-chat-store"
_COMMAND_TIMEOUT: Final = 60.0
_COUNT_TIMEOUT: Final = 600.0
_IDLE_TIMEOUT: Final = 60.0
"""Seconds without output after which pg_dump fails."""
_CHUNK: Final = 1024 * 1024
_BY_SERVER: Final = re.compile(rf" EXTENSION - | COMMENT - EXTENSION | INDEX public {INDEX} ")

_TABLES: Final = """
SELECT quote_ident(relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname
"""
_FUNCTIONS: Final = """
SELECT oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proowner = current_user::regrole
AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
"""
"""Those of migrations, and not an extension's."""
_SESSIONS: Final = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1"


class Database:
    """A database, reached as its owner (``DATABASE_URL``)."""

    def __init__(self, url: str, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._url = url
        self.connection = connection
        self._major = connection.get_server_version().major

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Database]:
        """Connect. Raises: BackupError: the server does not answer, refuses the role, or fails a request."""
        settings = {"idle_in_transaction_session_timeout": "0"}
        try:
            async with servers.postgres(
                url, "parley-backup", command_timeout=_COMMAND_TIMEOUT, server_settings=settings
            ) as connection:
                yield cls(url, connection)
        except servers.ServerUnusable as error:
            raise BackupError(f"Postgres cannot be used: {error}") from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            reason = str(error) or "timeout"
            raise BackupError(f"Postgres at {without_credentials(url)} failed a request: {reason}.") from error

    async def tables(self) -> dict[str, int]:
        """Return the number of rows by table."""
        names = [row[0] for row in await self.connection.fetch(_TABLES)]
        count = "SELECT count(*) FROM "
        return {name: await self.connection.fetchval(count + name, timeout=_COUNT_TIMEOUT) for name in names}

    async def schema_version(self) -> int:
        """Return the number of the newest migration. Raises: BackupError: there is no schema."""
        try:
            return int(await self.connection.fetchval("SELECT max(version) FROM schema_versions"))
        except (asyncpg.UndefinedTableError, TypeError) as error:
            raise BackupError("The database has no schema of Parley's, so there is nothing to back up.") from error

    async def is_served(self) -> bool:
        """Whether a chat-store is connected."""
        return bool(await self.connection.fetchval(_SESSIONS, _SERVICE))

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[str]:
        """One moment that everything read within ``async with`` shows, and its name for :meth:`dump`."""
        async with self.connection.transaction(isolation="repeatable_read", readonly=True):
            yield await self.connection.fetchval("SELECT pg_export_snapshot()")

    async def dump(self, snapshot: str) -> AsyncIterator[bytes]:
        """Yield what ``pg_dump`` writes in its own (compressed) format. Raises: ProgramFailed."""
        options = ("--format=custom", "--no-owner", "--no-privileges", f"--lock-wait-timeout={int(_IDLE_TIMEOUT / 2)}s")
        process = await child_process.start_async(
            [_program("pg_dump", self._major), *options, f"--snapshot={snapshot}", f"--dbname={self._place}"],
            output=subprocess.PIPE,
            environment=self._environment,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        errors = asyncio.create_task(process.stderr.read())
        try:
            while chunk := await _read(process.stdout):
                yield chunk
            if await process.wait() != 0:
                raise ProgramFailed("pg_dump", (await errors).decode(errors="replace"))
        except TimeoutError as error:
            raise ProgramFailed("pg_dump", f"(no output for {_IDLE_TIMEOUT:g} seconds)") from error
        finally:
            await child_process.kill(process)
            await errors

    async def replace_by(self, chunks: Iterable[bytes]) -> None:
        """Replace all tables and functions by a :meth:`dump`, in one transaction.

        What a later version than the dump's has made goes, too: it would stand in the way of its migration.

        Raises:
            ProgramFailed
        """
        made = [f"TABLE {row[0]}" for row in await self.connection.fetch(_TABLES)]
        made += [f"FUNCTION {row[0]}" for row in await self.connection.fetch(_FUNCTIONS)]
        reading, writing = os.pipe()
        options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-")
        psql = await child_process.start_async(
            [_program("psql", self._major), *options, f"--dbname={self._place}"],
            output=subprocess.DEVNULL,
            environment=self._environment,
            stdin=reading,
            stderr=subprocess.PIPE,
        )
        os.close(reading)
        carrying = asyncio.create_task(psql.communicate())
        output, code = "", 1
        try:
            dropping = "".join(f"DROP {each} CASCADE;\n" for each in made)
            os.write(writing, f"SET client_min_messages = warning;\nBEGIN;\n{dropping}".encode())
            output, code = await self._script(chunks, writing)
            if code == 0:
                # Only now: without it, the end of input undoes everything.
                os.write(writing, b"COMMIT;\n")
        except BrokenPipeError:
            pass  # psql has failed, and its output has the reason
        except BaseException:
            # It may never end by itself; what it has not committed is undone.
            child_process.send_signal(psql, signal.SIGKILL)
            raise
        finally:
            os.close(writing)
            _, psql_errors = await carrying
        if psql.returncode != 0:
            raise ProgramFailed("psql", psql_errors.decode(errors="replace"))
        if code != 0:
            raise ProgramFailed("pg_restore", output)

    async def _script(self, chunks: Iterable[bytes], out: int) -> tuple[str, int]:
        """Let ``pg_restore`` turn a dump into SQL; return its errors and its exit code."""
        with tempfile.TemporaryDirectory(prefix="parley-restore-") as folder:
            dump, contents = Path(folder) / "dump", Path(folder) / "contents"
            with dump.open("wb") as file:
                file.writelines(chunks)
            output, code = await self._pg_restore("--list", f"--file={contents}", str(dump))
            if code != 0:
                return output, code
            kept = [line for line in contents.read_text().splitlines() if not left_to_migrate(line)]
            contents.write_text("\n".join(kept))
            return await self._pg_restore(
                *("--no-owner", "--no-privileges", "--exit-on-error", "--clean", "--if-exists"),
                *(f"--use-list={contents}", "--file=-", str(dump)),
                out=out,
            )

    async def _pg_restore(self, *arguments: str, out: int = subprocess.DEVNULL) -> tuple[str, int]:
        process = await child_process.start_async(
            [_program("pg_restore", self._major), *arguments], output=out, stderr=subprocess.PIPE
        )
        try:
            _, output = await process.communicate()
        finally:
            await child_process.kill(process)
        assert process.returncode is not None
        return output.decode(errors="replace"), process.returncode

    # The password is passed in the environment: every user can see arguments.

    @property
    def _place(self) -> str:
        user, at, host = urlsplit(self._url).netloc.rpartition("@")
        return self._url.replace(f"{user}{at}{host}", f"{user.partition(':')[0]}{at}{host}", 1)

    @property
    def _environment(self) -> dict[str, str]:
        password = urlsplit(self._url).password
        return {**os.environ, **({"PGPASSWORD": unquote(password)} if password else {})}


async def _read(stream: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(_IDLE_TIMEOUT):
        return await stream.read(_CHUNK)


def left_to_migrate(line: str) -> bool:
    """Whether a line of a dump's table of contents is not restored.

    Whether there can be an index for search differs by server; `migrate` makes it where there can
    (:mod:`chat_store.storage.search_index`).
    """
    return _BY_SERVER.search(line) is not None


def _program(name: str, server_major: int) -> str:
    """One of PostgreSQL's programs that knows the server: ours, or a newer one on the PATH.

    Raises:
        BackupError: there is none.
    """
    candidates = [shutil.which(name)]
    with suppress(NotInstalled):
        candidates.insert(0, postgres_program(name))
    for program in filter(None, candidates):
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        version = re.search(r"\) (\d+)", shown)
        if version is not None and int(version[1]) >= server_major:
            return program
    raise BackupError(
        f"The server is PostgreSQL {server_major}, and no {name} of that version (or a newer one) is installed here."
    )
