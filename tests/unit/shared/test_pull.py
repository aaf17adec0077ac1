"""Consuming while the connection breaks, while the caller is cancelled, and after a renewal."""

import asyncio
from typing import Any, cast

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from parley.contracts.streams import CHAT_STORE_PROMPTS
from parley.runtime.nats import pull
from parley.runtime.nats.pull import PullConsumer
from tests.support.waiting import eventually


class FakeClient:
    """A NATS client whose requests each bring one message, unless ``silent``.

    Args:
        failures: How many publishes fail first, as uvloop's writes to a socket that has just been closed.
    """

    is_connected = True

    def __init__(self, *, failures: int = 0, silent: bool = False) -> None:
        self.failures = failures
        self.silent = silent
        self.requests: list[str] = []
        self.naks = 0
        self.deliver: Any = None

    def new_inbox(self) -> str:
        return "inbox"

    async def subscribe(self, subject: str, cb: Any) -> "FakeClient":
        self.deliver = cb
        return self

    async def drain(self) -> None:
        """The subscription ends."""

    async def unsubscribe(self) -> None:
        """The subscription ends."""

    async def publish(self, subject: str, payload: bytes = b"", reply: str = "") -> None:
        if subject == "ack":
            self.naks += payload.startswith(b"-NAK")
            return
        self.requests.append(reply)
        if len(self.requests) <= self.failures:
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
        if not self.silent:
            await self.deliver(self.message())

    def message(self) -> Msg:
        return Msg(_client=cast(Client, self), subject="chat.c.prompt.submitted", reply="ack", data=b"!")

    def status(self, inbox: str, code: str, description: str) -> Msg:
        """What the server sends when a request ends."""
        headers = {"Status": code, "Description": description}
        return Msg(_client=cast(Client, self), subject=inbox, reply="", data=b"", headers=headers)

    def consumer(self, **options: Any) -> PullConsumer:
        return PullConsumer(cast(Client, self), CHAT_STORE_PROMPTS, **options)


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "_RETRY_DELAY", 0.01)
    monkeypatch.setattr(pull, "_GRACE", 0.01)


async def test_requests_go_on_after_a_write_that_failed() -> None:
    client = FakeClient(failures=2)
    (message,) = await client.consumer().next_batch()
    assert message.data == b"!"
    assert len(client.requests) >= 3


async def test_nothing_is_requested_while_there_is_no_connection() -> None:
    client = FakeClient()
    client.is_connected = False
    waiting = asyncio.create_task(client.consumer(prefetch=False).next())
    await asyncio.sleep(0.05)
    assert client.requests == []
    client.is_connected = True
    assert (await waiting).message.data == b"!"


async def test_the_first_batch_after_a_renewal_is_empty() -> None:
    consumer = FakeClient().consumer()
    assert await consumer.next_batch()
    consumer.renew()
    assert await consumer.next_batch() == [], "the caller looks for lost deliveries before it goes on"
    assert await consumer.next_batch()
    assert await consumer.next_batch()


async def test_a_single_message_is_waited_for_across_a_renewal() -> None:
    consumer = FakeClient().consumer(prefetch=False)
    consumer.renew()
    assert (await consumer.next()).message.data == b"!"


async def test_without_prefetch_one_message_is_requested_for_each_call() -> None:
    client = FakeClient()
    consumer = client.consumer(prefetch=False)
    for count in (1, 2, 3):
        await consumer.next()
        assert len(client.requests) == count


async def test_a_message_that_arrives_after_a_cancellation_is_given_back() -> None:
    client = FakeClient(silent=True)
    consumer = client.consumer(prefetch=False)
    waiting = asyncio.create_task(consumer.next())
    await eventually(lambda: client.requests)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await client.deliver(client.message())
    assert client.naks == 1


@pytest.mark.parametrize(
    "status",
    [
        ("404", "No Messages"),
        ("408", "Request Timeout"),
        ("409", "Batch Completed"),
        ("409", "Message Size Exceeds MaxBytes"),
    ],
)
async def test_after_a_request_that_ended_in_good_order_the_next_is_made_at_once(
    status: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "_RETRY_DELAY", 3600.0)
    client = FakeClient(silent=True)
    waiting = asyncio.create_task(client.consumer(batch=2).next_batch())
    await eventually(lambda: client.requests)
    await client.deliver(client.status(client.requests[0], *status))
    await eventually(lambda: len(client.requests) == 2)
    await client.deliver(client.message())
    assert len(await waiting) == 1


async def test_a_request_without_a_reply_is_replaced_on_a_new_inbox() -> None:
    client = FakeClient(silent=True)
    consumer = client.consumer(prefetch=False, expires=0.01)
    waiting = asyncio.create_task(consumer.next())
    await eventually(lambda: len(client.requests) >= 2)
    client.silent = False
    assert (await waiting).message.data == b"!"


async def test_what_has_arrived_is_given_back_at_close_and_the_next_call_opens_again() -> None:
    client = FakeClient()
    consumer = client.consumer()
    await consumer.next_batch()  # and the next message is prefetched
    await consumer.close()
    assert client.naks == 1
    assert await consumer.next_batch()
