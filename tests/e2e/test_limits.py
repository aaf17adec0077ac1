"""Limits over three gateways: what is accepted in a burst is exact, and a spent budget calls no provider."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from parley.contracts.ids import new_id
from tests.support.demo_model import DemoModelProcess
from tests.support.pausing import pause
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

USERS = 5
SENT = 80
AT_ONCE = 16
LIMIT = 30
WINDOW = 60.0
BURST_MODEL = "demo-rate-1000x2"
BUDGET_MODEL = "demo-rate-20x20"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoModelProcess]:
    with DemoModelProcess(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, provider: DemoModelProcess) -> Iterator[RunningStack]:
    settings = {
        "OPENAI_BASE_URL": provider.url,
        "OPENAI_API_KEY": "none",
        "ANY_MODEL": "true",
        "PROMPTS_PER_MINUTE": str(LIMIT),
        "MODELS": json.dumps([{"name": BURST_MODEL}, {"name": BUDGET_MODEL, "tokens_per_day": 1}]),
    }
    folder = tmp_path_factory.mktemp("limits") / "data"
    with RunningStack(folder, "--gateway", "3", "--chat-store", "2", environment=settings) as running:
        yield running


class Guest:
    """Somebody who sends without waiting."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._sockets = asyncio.Semaphore(AT_ONCE)

    async def chat(self, model: str) -> str:
        created = await self._http.post("/v1/chats", json={"model": model})
        assert created.status_code == 201, created.text
        chat_id: str = created.json()["id"]
        return chat_id

    async def send(self, chat_id: str, content: str) -> httpx.Response:
        """Send a message. A connection may be reset before its response: the same id again is the same message."""
        body = {"id": new_id(), "content": content}

        async def sent() -> httpx.Response | None:
            try:
                async with self._sockets:
                    response = await self._http.post(f"/v1/chats/{chat_id}/messages", json=body)
            except httpx.TransportError:
                return None
            return None if response.status_code == 503 else response

        response = await eventually(sent, deadline=120, what="a response to a message")
        assert response is not None
        return response

    async def message(self, chat_id: str, message_id: str) -> dict[str, Any]:
        """One message; the request waits until it is stored."""

        async def stored() -> dict[str, Any] | None:
            found = await self._http.get(f"/v1/chats/{chat_id}/messages/{message_id}")
            return None if found.status_code == 503 else dict(found.json())

        message = await eventually(stored, deadline=60, what="the prompt being stored")
        assert message is not None
        return dict(message)

    async def ticket(self) -> str:
        """A ticket for push."""
        created = await self._http.post("/v1/push-ticket")
        ticket: str = created.json()["ticket"]
        return ticket

    async def messages(self, chat_id: str) -> list[dict[str, str]]:
        found = await self._http.get(f"/v1/chats/{chat_id}/messages", params={"limit": 100})
        items: list[dict[str, str]] = found.json()["items"]
        return items


@asynccontextmanager
async def guest(stack: RunningStack) -> AsyncIterator[Guest]:
    # The kernel spreads the connections over the gateways.
    connections = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=stack.url, timeout=20, limits=connections) as http:
        token = (await http.post("/v1/session", json={})).json()["access_token"]
        http.cookies.clear()
        http.headers["authorization"] = f"Bearer {token}"
        yield Guest(http)


async def burst(stack: RunningStack) -> Counter[str]:
    """One user's burst: how many prompts were refused at once, refused later, and stored."""
    async with guest(stack) as user:
        chat_id = await user.chat(BURST_MODEL)
        responses = await asyncio.gather(*(user.send(chat_id, f"number {number}") for number in range(SENT)))
        results: Counter[str] = Counter()
        for response in responses:
            if response.status_code == 429:
                assert response.json()["code"] == "too_many_prompts"
                assert 1 <= int(response.headers["retry-after"]) <= WINDOW
                results["refused"] += 1
                continue
            assert response.status_code == 202, response.text
            # Where chat-store was too slow for the gateway, it refuses the prompt when it stores it.
            prompt = await user.message(chat_id, response.json()["message_id"])
            results["rejected" if prompt["status"] == "rejected" else "stored"] += 1
        return results


async def test_a_burst_of_several_users_over_three_gateways_is_accepted_up_to_the_limit_exactly(
    limited: RunningStack,
) -> None:
    started = time.monotonic()
    results = await asyncio.gather(*(burst(limited) for _ in range(USERS)))
    # A machine that takes minutes for the burst has more than one window in it.
    windows = 1 + int((time.monotonic() - started) / WINDOW)
    for one in results:
        assert one.total() == SENT
        assert LIMIT <= one["stored"] <= LIMIT * windows
    assert sum(one["refused"] for one in results) > 0


async def test_who_sends_while_nobody_can_count_is_notified_of_what_was_over_the_limit(tmp_path: Path) -> None:
    """Accepted with 202, and rejected when chat-store is there again: docs/decisions/0055."""
    async with RunningStack(tmp_path / "data", environment={"PROMPTS_PER_MINUTE": "3"}) as stack, guest(stack) as user:
        chat_id = await user.chat("demo-fast")
        # From here on the gateway knows the chat, and that there is a limit.
        assert (await user.send(chat_id, "before")).status_code == 202
        store = stack.state.processes["chat-store"].pid
        assert store is not None
        async with connect(stack.state.push_url) as socket:
            await socket.send(json.dumps({"type": "auth", "ticket": await user.ticket()}))
            assert json.loads(await socket.recv())["type"] == "ready"
            pause(store)
            try:
                sent = [await user.send(chat_id, f"during {number}") for number in range(5)]
            finally:
                os.kill(store, signal.SIGCONT)
            assert {one.status_code for one in sent} == {202}
            rejected: dict[str, Any] = {}
            async with asyncio.timeout(60):
                while len(rejected) < 3:
                    frame = json.loads(await socket.recv())
                    if frame["type"] == "rejected":
                        rejected[frame["message_id"]] = frame["error"]
        for one in sent:
            message = await user.message(chat_id, one.json()["message_id"])
            error = rejected.get(message["id"])
            assert (message["status"] == "rejected") == (error is not None)
            assert message["error"] == error
            assert error is None or (error["code"], error["retryable"]) == ("too_many_prompts", True)


async def test_a_spent_budget_makes_no_call_of_the_provider(limited: RunningStack, provider: DemoModelProcess) -> None:
    async with guest(limited) as user:
        chat_id = await user.chat(BUDGET_MODEL)
        for number in range(4):
            assert (await user.send(chat_id, f"spend it {number}")).status_code == 202

        async def ended() -> list[dict[str, str]] | None:
            answers = [one for one in await user.messages(chat_id) if one["role"] == "assistant"]
            return answers if [one["status"] for one in answers] == ["complete", *["failed"] * 3] else None

        answers = await eventually(ended, deadline=60, what="the queued prompts failing")
        assert answers is not None
        assert {one["error"]["code"] for one in answers[1:]} == {"budget_spent"}  # type: ignore[index]
        refused = await user.send(chat_id, "spend it again")
        assert (refused.status_code, refused.json()["code"]) == (429, "budget_spent")
        assert 1 <= int(refused.headers["retry-after"]) <= 24 * 3600
    assert len(provider.streams("spend it")) == 1
