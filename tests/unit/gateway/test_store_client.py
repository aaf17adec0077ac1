"""How often chat-store is asked while nobody answers."""

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


class Nobody:
    """A connection on which nobody answers, and a clock that goes on while one waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.client = self

    async def wait_until_up(self, seconds: float) -> None:
        assert seconds >= 0

    async def request(self, *_: Any, **__: Any) -> None:
        raise nats.errors.NoRespondersError

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    async def ask(seconds: float) -> list[float]:
        """Ask for ``seconds`` and return the pauses between the questions."""
        nobody = Nobody()
        monkeypatch.setattr(store_client, "asyncio", SimpleNamespace(sleep=nobody.sleep))
        monkeypatch.setattr(store_client, "time", SimpleNamespace(monotonic=lambda: nobody.now))
        with pytest.raises(Unavailable):
            await StoreClient(cast(Bus, nobody), AccessCache(), seconds).ask(rpc.GetChat(user_id="ann", chat_id="chat"))
        assert nobody.now <= seconds
        return nobody.pauses

    return ask


async def test_while_nobody_answers_the_questions_become_rarer(asked: Any) -> None:
    pauses = await asked(10.0)
    for number, pause in enumerate(pauses):
        longest = min(0.05 * 2**number, 0.5)
        assert longest / 2 <= pause <= longest
    assert len(pauses) <= 10.0 / 0.25 + 5, "not ten a second"


async def test_those_who_wait_do_not_ask_at_the_same_moments(asked: Any) -> None:
    waiting = [await asked(3.0) for _ in range(20)]
    for number in range(5):
        assert len({round(sum(pauses[: number + 1]), 4) for pauses in waiting}) > 10
