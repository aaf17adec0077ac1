"""Retries of a request without a responder."""

from types import SimpleNamespace
from typing import Any, cast

import nats.errors
import pytest

from gateway.bus import store_client
from gateway.bus.access_cache import AccessCache
from gateway.bus.connection import Bus
from gateway.bus.store_client import StoreClient
from gateway.errors import Unavailable
from parley.contracts import rpc


class NoResponders:
    """A connection without a responder, and a clock that advances while the client sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.delays: list[float] = []
        self.client = self

    async def wait_until_up(self, seconds: float) -> None:
        assert seconds >= 0

    async def request(self, *_: Any, **__: Any) -> None:
        raise nats.errors.NoRespondersError

    async def sleep(self, seconds: float) -> None:
        self.delays.append(seconds)
        self.now += seconds


@pytest.fixture
def retry_delays(monkeypatch: pytest.MonkeyPatch) -> Any:
    async def ask(seconds: float) -> list[float]:
        """Send a request for ``seconds`` and return the delays between the attempts."""
        connection = NoResponders()
        monkeypatch.setattr(store_client, "asyncio", SimpleNamespace(sleep=connection.sleep))
        monkeypatch.setattr(store_client, "time", SimpleNamespace(monotonic=lambda: connection.now))
        with pytest.raises(Unavailable):
            await StoreClient(cast(Bus, connection), AccessCache(), seconds).ask(
                rpc.GetChat(user_id="ann", chat_id="chat")
            )
        assert connection.now <= seconds
        return connection.delays

    return ask


async def test_retries_without_a_responder_back_off(retry_delays: Any) -> None:
    delays = await retry_delays(10.0)
    for number, delay in enumerate(delays):
        longest = min(0.05 * 2**number, 0.5)
        assert longest / 2 <= delay <= longest
    assert len(delays) <= 10.0 / 0.25 + 5, "not ten a second"


async def test_retries_of_several_requests_are_spread_by_jitter(retry_delays: Any) -> None:
    requests = [await retry_delays(3.0) for _ in range(20)]
    for number in range(5):
        assert len({round(sum(delays[: number + 1]), 4) for delays in requests}) > 10
