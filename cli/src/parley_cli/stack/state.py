"""The state of a running stack: ``stack.json`` in the data folder, with passwords, readable by its owner only."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from parley_cli.embedded.folder import DEFAULT_FOLDER
from parley_cli.private_file import write_private_file


class ProcessState(msgspec.Struct, frozen=True, kw_only=True):
    """One child process.

    Attributes:
        pid: Null while it is down.
        port: Where it serves its users.
        health_port: ``/healthz``, ``/readyz``, ``/metrics``.
        restarts: How often it was started again.
    """

    service: str
    pid: int | None = None
    port: int | None = None
    health_port: int | None = None
    restarts: int = 0


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A running stack. ``ready`` turns true once, when everything answers."""

    pid: int
    url: str
    push_url: str
    nats_url: str
    database_url: str
    openai_base_url: str | None
    ready: bool
    processes: dict[str, ProcessState]

    def uses(self, nats_url: str, database_url: str) -> bool:
        """Whether these are its servers; an empty address is any."""
        return nats_url in ("", self.nats_url) and database_url in ("", self.database_url)

    def of(self, service: str) -> dict[str, ProcessState]:
        """The processes of one service, by name."""
        return {name: process for name, process in self.processes.items() if process.service == service}


def _file(folder: Path) -> Path:
    return folder / "stack.json"


def read(folder: Path = DEFAULT_FOLDER) -> State | None:
    """Return the stack that runs on ``folder``; None when there is none, or its state may not be read."""
    try:
        state = msgspec.json.decode(_file(folder).read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return None
    try:
        os.kill(state.pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it runs, as another user
    return state


def write(folder: Path, state: State) -> None:
    write_private_file(_file(folder), msgspec.json.format(msgspec.json.encode(state)))


def remove(folder: Path) -> None:
    _file(folder).unlink(missing_ok=True)
