"""A scripted backend for each test; a push process for each module, or for a test that wants its own settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import pytest

from parley_cli.embedded.ports import free_port
from tests.integration.push.backend import Backend, backend_on
from tests.integration.push.reader import SECRET_KEY
from tests.support.service import ServiceProcess, run_service


class Describe(Protocol):
    """Describes a push process with settings: ``async with describe(PORT=8001) as push:``."""

    def __call__(self, *, ready: bool = True, **settings: Any) -> ServiceProcess: ...


def describe_on(nats_url: str) -> Describe:
    """Push processes on the NATS at ``nats_url``, which send requests by themselves only when configured to."""

    def describe(*, ready: bool = True, **settings: Any) -> ServiceProcess:
        environment = {
            "NATS_URL": nats_url,
            "SECRET_KEY": SECRET_KEY,
            "PORT": str(free_port()),
            "SILENCE_SECONDS": "600",
            "CHECK_SECONDS": "600",
            **{name: str(value) for name, value in settings.items()},
        }
        return run_service("push", environment, ready=ready)

    return describe


@pytest.fixture
async def backend(module_nats_url: str) -> AsyncIterator[Backend]:
    async with backend_on(module_nats_url) as backend:
        yield backend


@pytest.fixture
def describe(module_nats_url: str) -> Describe:
    return describe_on(module_nats_url)


@pytest.fixture(scope="module")
def push(module_nats_url: str) -> Iterator[ServiceProcess]:
    with describe_on(module_nats_url)() as push:
        yield push


def url_of(push: ServiceProcess) -> str:
    return f"ws://127.0.0.1:{push.environment['PORT']}/ws"


@pytest.fixture
def url(push: ServiceProcess) -> str:
    return url_of(push)
