"""The index of search on servers that differ: what is asked of them, and what is said. (No server here has pg_trgm.)"""

from __future__ import annotations

import logging
from typing import Any

import asyncpg
import pytest

from chat_store.storage import search_index


class Server:
    """A connection to a server with pg_trgm, as far as the index asks."""

    def __init__(self, *, index: bool | None = None, may_create: bool = True, locked: bool = False) -> None:
        self._answers = {
            "SELECT upper": True,
            "SELECT EXISTS (SELECT FROM pg_available_extensions": True,
            "SELECT pg_try_advisory_lock": not locked,
            "SELECT indisvalid": index,
        }
        self._may_create = may_create
        self.done: list[str] = []

    async def fetchval(self, statement: str, *_: Any) -> Any:
        return next(answer for start, answer in self._answers.items() if statement.startswith(start))

    async def execute(self, statement: str, *_: Any) -> None:
        if statement.startswith("CREATE EXTENSION") and not self._may_create:
            raise asyncpg.InsufficientPrivilegeError('permission denied to create extension "pg_trgm"')
        self.done.append(statement.split("(")[0].strip())


UNLOCK = "SELECT pg_advisory_unlock"
EXTENSION = "CREATE EXTENSION IF NOT EXISTS pg_trgm"
INDEX = "CREATE INDEX CONCURRENTLY messages_folded ON messages USING gin"


@pytest.mark.parametrize(
    ("server", "done"),
    [
        (Server(), [EXTENSION, INDEX, UNLOCK]),
        (Server(index=True), [UNLOCK]),
        (Server(index=False), [EXTENSION, "DROP INDEX messages_folded", INDEX, UNLOCK]),
        (Server(locked=True), []),
        (Server(may_create=False), [UNLOCK]),
    ],
    ids=["missing", "there", "half made", "another makes it", "not allowed"],
)
async def test_the_index_is_made_where_it_is_missing(server: Server, done: list[str]) -> None:
    await search_index.ensure(server)  # type: ignore[arg-type]
    assert server.done == done


async def test_an_extension_that_may_not_be_created_is_named(caplog: pytest.LogCaptureFixture) -> None:
    await search_index.ensure(Server(may_create=False))  # type: ignore[arg-type]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "permission denied" in record.getMessage()
    assert "CREATE EXTENSION pg_trgm" in record.getMessage()
