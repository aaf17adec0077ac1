"""The installation to check: the stack that runs on a folder, or the servers that the environment configures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from parley.runtime.settings import EnvironmentSettings
from parley_cli.stack import state
from parley_cli.stack.options import MODEL_SERVER_KEY, MODEL_SERVERS
from parley_cli.stack.secrets import Secrets, load_secrets
from parley_cli.stack.state import State


class _Settings(EnvironmentSettings):
    """The settings that checks need; all are optional, since a missing one is itself a finding."""

    nats_url: str = ""
    database_url: str = ""
    secret_key: str = ""
    openai_base_url: str = ""
    openai_api_key: str = ""
    model: str = ""
    nats_monitor_url: str = ""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The addresses of an installation; an empty one is unknown.

    Attributes:
        stack: The stack that runs here, if any.
        secrets: Of that stack.
        nats_monitor_url: nats-server's HTTP monitor.
        ports: Ports that ``parley up`` would use, by purpose.
        services: Host and health port of services elsewhere, by name.
    """

    nats_url: str = ""
    database_url: str = ""
    secret_key: str = ""
    openai_base_url: str = ""
    openai_api_key: str = ""
    model: str = ""
    nats_monitor_url: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    services: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    stack: State | None = None
    secrets: Secrets | None = None


def find_target(
    folder: Path, ports: Mapping[str, int], services: Mapping[str, tuple[str, int]] | None = None
) -> Target:
    """Return the target. The running stack is ignored when the environment configures servers that it does not use."""
    given = _Settings()
    running = state.read(folder)
    if running is not None and not running.uses(given.nats_url, given.database_url):
        running = None
    secrets = load_secrets(folder) if running is not None else None
    base_url, api_key = given.openai_base_url, given.openai_api_key
    if running is not None and any(running.of(name) for name in MODEL_SERVERS):
        base_url, api_key = running.openai_base_url or "", MODEL_SERVER_KEY
    return Target(
        nats_url=given.nats_url or (running.nats_url if running is not None else ""),
        database_url=given.database_url or (running.database_url if running is not None else ""),
        secret_key=given.secret_key or (secrets.secret_key if secrets is not None else ""),
        openai_base_url=base_url,
        openai_api_key=api_key,
        model=given.model,
        nats_monitor_url=given.nats_monitor_url,
        ports=ports,
        services=services or {},
        stack=running,
        secrets=secrets,
    )
