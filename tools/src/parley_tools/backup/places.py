"""Which servers are meant: those that the environment names, else those of the stack in a data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from parley_tools.backup.errors import BackupError
from parley_tools.embedded.folder import FolderLock
from parley_tools.embedded.nats import NatsServer
from parley_tools.embedded.postgres import PostgresServer
from parley_tools.stack import state
from parley_tools.stack.secrets import load_secrets


@dataclass(frozen=True, kw_only=True)
class Place:
    """The servers of one installation.

    Attributes:
        nats_url: As the operator.
        database_url: As a role that may read everything; to restore, one that may change the schema.
        keys: The folder whose secrets sign the sessions; None: ``SECRET_KEY`` is kept by somebody else.
    """

    nats_url: str
    database_url: str
    keys: Path | None


@contextmanager
def to_read(folder: Path, environment: Mapping[str, str] = os.environ) -> Iterator[Place]:
    """The servers to back up: also those of a stack that runs, and of one that does not, which are started for it.

    Raises:
        BackupError, EmbeddedError
    """
    running = state.read(folder)
    if running is None:
        with _place(folder, environment, must_exist=True) as place:
            yield place
        return
    yield Place(
        nats_url=environment.get("NATS_URL") or running.nats_url,
        database_url=environment.get("DATABASE_URL") or running.database_url,
        keys=_keys(folder, environment),
    )


@contextmanager
def to_write(folder: Path, environment: Mapping[str, str] = os.environ) -> Iterator[Place]:
    """The servers to restore into. A stack that runs on ``folder`` must end first.

    Raises:
        BackupError, EmbeddedError
    """
    with _place(folder, environment, must_exist=False) as place:
        yield place


@contextmanager
def _place(folder: Path, environment: Mapping[str, str], *, must_exist: bool) -> Iterator[Place]:
    """What the environment does not name is embedded, and runs as long as this context is open."""
    nats_url, database_url = environment.get("NATS_URL"), environment.get("DATABASE_URL")
    with ExitStack() as opened:
        if not (nats_url and database_url):
            if must_exist and not (folder / "secrets.json").exists():
                raise BackupError(
                    f"There is no stack in {folder}. Name its folder with --data, or its servers with NATS_URL and "
                    "DATABASE_URL."
                )
            opened.enter_context(FolderLock(folder))
            secrets = load_secrets(folder)
            if not nats_url:
                nats = NatsServer(folder / "nats", passwords=secrets.nats_passwords)
                opened.enter_context(nats)
                nats_url = nats.url
            if not database_url:
                postgres = PostgresServer(folder / "postgres", password=secrets.postgres_password)
                opened.enter_context(postgres)
                database_url = postgres.url
        yield Place(nats_url=nats_url, database_url=database_url, keys=_keys(folder, environment))


def _keys(folder: Path, environment: Mapping[str, str]) -> Path | None:
    return folder if not environment.get("SECRET_KEY") and (folder / "secrets.json").exists() else None
