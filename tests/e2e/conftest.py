"""One stack for all tests that leave it as it was; tests that break or restart one start their own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from parley_tools.client import ParleyClient
from tests.support.stack import RunningStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A running stack with two of each service that a person's traffic meets. Do not stop or kill parts of it."""
    folder = tmp_path_factory.mktemp("stack") / "data"
    with RunningStack(folder, "--gateway", "2", "--push", "2", "--llm-worker", "2") as running:
        yield running


@pytest.fixture
async def client(stack: RunningStack) -> AsyncIterator[ParleyClient]:
    """A new guest."""
    async with stack.client() as client:
        yield client
