"""The installation to check: the stack that runs on a folder, or the servers that the environment configures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    given = Target(**_Settings().model_dump(), ports=ports, services=services or {})
    running = state.read(folder)
    if running is None or not running.uses(given.nats_url, given.database_url):
        return given
    secrets = load_secrets(folder)
    found = replace(
        given,
        nats_url=running.nats_url,
        database_url=running.database_url,
        secret_key=given.secret_key or secrets.secret_key,
        stack=running,
        secrets=secrets,
    )
    if any(running.of(name) for name in MODEL_SERVERS):
        found = replace(found, openai_base_url=running.openai_base_url or "", openai_api_key=MODEL_SERVER_KEY)
    return found
