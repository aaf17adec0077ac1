"""One stack for all tests that leave it as it was; tests that break or restart one start their own."""

import time
from collections.abc import AsyncIterator, Generator, Iterator

import httpx
import pytest

from parley_client import ParleyClient
from tests.deploy.support.stack import Proxy, nginx_program
from tests.support.stack import RunningStack

BASE = "/chat"
"""Where :func:`site` has Parley."""

_SHARED = pytest.StashKey[RunningStack]()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[RunningStack]:
    """A running stack with two of each service that a person's traffic meets. Do not stop or kill parts of it."""
    folder = tmp_path_factory.mktemp("stack") / "data"
    with RunningStack(folder, "--gateway", "2", "--push", "2", "--llm-worker", "2") as running:
        pytestconfig.stash[_SHARED] = running
        yield running


@pytest.fixture
async def client(stack: RunningStack) -> AsyncIterator[ParleyClient]:
    """A new guest."""
    async with stack.client() as client:
        yield client


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Parley below a path of a site that is others': nginx's address, without the path."""
    if nginx_program() is None:
        pytest.skip("nginx is not installed (Debian: nginx-light), so the proxy was not tried")
    folder = tmp_path_factory.mktemp("below")
    settings = {"BASE_PATH": BASE, "PUBLIC_PUSH_URL": "/ws"}
    with RunningStack(folder / "data", environment=settings) as stack:
        gateway, push = (httpx.URL(url).port for url in (stack.state.url, stack.state.push_url))
        assert gateway is not None
        assert push is not None
        with Proxy(folder / "proxy", gateway=gateway, push=push, config="below-a-path.conf") as proxy:
            yield proxy.url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the shared stack logged during a test that failed."""
    report = yield
    running = item.config.stash.get(_SHARED, None)
    if report.when == "call" and report.failed and running is not None:
        began = time.strftime("%H:%M:%S", time.localtime(report.start))
        lines = [line for line in running.log.splitlines() if line[:8] >= began]
        report.sections.append(("log of the stack", "\n".join(lines[-200:])))
    return report
