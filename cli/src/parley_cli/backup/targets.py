"""The servers to back up or restore: those that the environment configures, else those of the stack in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from parley_cli.backup.errors import BackupError, Mixed
from parley_cli.embedded.folder import DEFAULT_FOLDER, lock_folder
from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.postgres import PostgresServer
from parley_cli.servers import check_url
from parley_cli.stack import state
from parley_cli.stack.secrets import load_secrets


@dataclass(frozen=True, kw_only=True)
class Installation:
    """The servers of one installation.

    Attributes:
        nats_url: As the operator.
        database_url: As a role that may read everything; to restore, one that may change the schema.
        keys: The folder whose secrets sign the sessions; None: ``SECRET_KEY`` is configured.
    """

    nats_url: str
    database_url: str
    keys: Path | None


@contextmanager
def to_read(folder: Path | None, environment: Mapping[str, str] = os.environ) -> Iterator[Installation]:
    """The servers to back up. Those of a stack that does not run are started for it.

    Args:
        folder: Of the stack; None: the default folder, if it has a stack.

    Raises:
        BackupError, EmbeddedError
    """
    named = _named(environment)
    running = state.read(folder or DEFAULT_FOLDER.absolute())
    mixed = running is not None and not running.uses(named.nats_url, named.database_url)
    if running is None or (folder is None and named.is_whole and mixed):
        with _installation(folder, named, must_exist=True) as installation:
            yield installation
        return
    if mixed:
        raise Mixed(f"the stack that runs on {folder or DEFAULT_FOLDER} uses other servers")
    yield Installation(
        nats_url=named.nats_url or running.nats_url,
        database_url=named.database_url or running.database_url,
        keys=None if named.has_key else (folder or DEFAULT_FOLDER.absolute()),
    )


def to_write(folder: Path | None, environment: Mapping[str, str] = os.environ) -> AbstractContextManager[Installation]:
    """The servers to restore into. A stack that runs on ``folder`` must be stopped first.

    Raises:
        BackupError, EmbeddedError
    """
    return _installation(folder, _named(environment), must_exist=False)


@dataclass(frozen=True, kw_only=True)
class _Named:
    """The servers that the environment configures; empty: none."""

    nats_url: str
    database_url: str
    has_key: bool

    @property
    def is_whole(self) -> bool:
        return bool(self.nats_url and self.database_url)


def _named(environment: Mapping[str, str]) -> _Named:
    named = _Named(
        nats_url=environment.get("NATS_URL", ""),
        database_url=environment.get("DATABASE_URL", ""),
        has_key=bool(environment.get("SECRET_KEY")),
    )
    if named.nats_url:
        check_url("NATS_URL", named.nats_url)
    if named.database_url:
        check_url("DATABASE_URL", named.database_url)
    return named


@contextmanager
def _installation(folder: Path | None, named: _Named, *, must_exist: bool) -> Iterator[Installation]:
    """What the environment does not name is embedded, and runs as long as this context is open."""
    if named.is_whole:
        # The key of the default folder may belong to another installation.
        keys = folder if folder is not None and not named.has_key and (folder / "secrets.json").exists() else None
        yield Installation(nats_url=named.nats_url, database_url=named.database_url, keys=keys)
        return
    where = folder or DEFAULT_FOLDER.absolute()
    if must_exist and not (where / "secrets.json").exists():
        raise BackupError(
            f"There is no stack in {where}. Name its folder with --data, or its servers with NATS_URL and DATABASE_URL."
        )
    _refuse_mixed(where, named)
    with ExitStack() as opened:
        opened.enter_context(lock_folder(where))
        secrets = load_secrets(where)
        nats_url, database_url = named.nats_url, named.database_url
        if not nats_url:
            nats = NatsServer(where / "nats", passwords=secrets.nats_passwords)
            opened.enter_context(nats)
            nats_url = nats.url
        if not database_url:
            postgres = PostgresServer(where / "postgres", password=secrets.postgres_password)
            opened.enter_context(postgres)
            database_url = postgres.url
        yield Installation(nats_url=nats_url, database_url=database_url, keys=None if named.has_key else where)


def _refuse_mixed(folder: Path, named: _Named) -> None:
    """One server is named: then the other one must be all that the stack in ``folder`` has of its own."""
    own_nats, own_postgres = (folder / "nats").exists(), (folder / "postgres").exists()
    if named.nats_url and (own_nats or not own_postgres):
        raise Mixed("NATS_URL is set and DATABASE_URL is not")
    if named.database_url and (own_postgres or not own_nats):
        raise Mixed("DATABASE_URL is set and NATS_URL is not")
