"""Options of a stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from parley_cli.local_model import server as local_model

SERVICES = ("chat-store", "llm-worker", "push", "gateway")
"""In the order in which they start; they stop in the reverse one."""
DEMO_MODEL, LOCAL_MODEL = "demo-model", "local-model"
MODEL_SERVERS = (DEMO_MODEL, LOCAL_MODEL)
MODEL_SERVER_KEY = "demo"
"""The API key of a model server of the stack, which listens on loopback alone."""


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """Options of ``parley up``; tests and other tools set more.

    Attributes:
        folder: Data, secrets and state of this stack.
        port: The gateway's; 0 takes a free one.
        push_port: 0 takes a free one.
        replicas: Processes by service; one where none is named.
        environment: Settings by service (also by model server and ``migrate``), on top of all others.
        inherited: The environment that services start from.
        web_dist: The built page.
        fsync: False is for tests: data does not survive a crash of the machine.
        address_for: Called with a service and the address of a server that it uses (``NATS_URL``, ``DATABASE_URL``,
            ``OPENAI_BASE_URL``); returns the address that it gets instead, for example a proxy's.
        restart_delays: Seconds before the first restart of a process that ended, and at most.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8000
    push_port: int = 8001
    replicas: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    inherited: Mapping[str, str] = field(default_factory=dict)
    web_dist: Path | None = None
    fsync: bool = True
    address_for: Callable[[str, str], str] = lambda service, address: address
    restart_delays: tuple[float, float] = (0.5, 10.0)

    def count(self, service: str) -> int:
        return self.replicas.get(service, 1)

    @property
    def model_server(self) -> str | None:
        """The model server that the stack starts: one of ``MODEL_SERVERS``, or None where a provider is set.

        ``MODEL`` names the local model only where neither ``OPENAI_API_KEY`` nor ``OPENAI_BASE_URL`` is set.
        """
        if self.inherited.get("OPENAI_API_KEY") or self.inherited.get("OPENAI_BASE_URL"):
            return None
        return LOCAL_MODEL if self.inherited.get("MODEL") == local_model.MODEL else DEMO_MODEL
