"""One push process and one scripted backend for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from parley_tools.embedded.ports import free_port
from tests.integration.push.backend import Backend, backend_on
from tests.integration.push.reader import SECRET_KEY
from tests.support.service import ServiceProcess, run_service


@pytest.fixture
async def backend(nats_url: str) -> AsyncIterator[Backend]:
    async with backend_on(nats_url) as backend:
        yield backend


@pytest.fixture
def push_process(nats_url: str) -> Callable[..., ServiceProcess]:
    """Describe a push process: ``async with push_process(PORT="8001") as push:``."""

    def describe(**settings: Any) -> ServiceProcess:
        environment = {"NATS_URL": nats_url, "SECRET_KEY": SECRET_KEY, "PORT": str(free_port())}
        return run_service("push", environment | {name: str(value) for name, value in settings.items()})

    return describe


def url_of(push: ServiceProcess) -> str:
    return f"ws://127.0.0.1:{push.environment['PORT']}/ws"


@pytest.fixture
async def push(push_process: Callable[..., ServiceProcess]) -> AsyncIterator[ServiceProcess]:
    async with push_process() as push:
        yield push


@pytest.fixture
def url(push: ServiceProcess) -> str:
    return url_of(push)
