"""Publishes past nats-py's own queue arrive complete, and in order with those through it."""

import asyncio
import signal
from typing import Any

import pytest
from nats.aio.msg import Msg

from llm_worker.generation.live import CorePublisher
from parley.runtime.nats.connect import connect, wait_until_processed
from parley_cli.embedded.nats import NatsServer
from tests.support.pausing import pause
from tests.support.waiting import eventually


async def test_nats_py_has_the_private_attributes_that_are_used(nats_url: str) -> None:
    """``_pending``, ``_pending_data_size`` and ``_transport._io_writer`` (docs/decisions/0015)."""
    nc: Any = await connect(nats_url, name="private")
    await nc.publish("live.a", b"x" * 10)
    pending = b"".join(nc._pending)
    assert pending.endswith(b"PUB live.a  10\r\nxxxxxxxxxx\r\n"), "complete commands, in the order of their publishing"
    assert nc._pending_data_size == len(pending)
    await nc.flush()
    assert isinstance(nc._transport._io_writer.transport, asyncio.WriteTransport | asyncio.Transport)
    await nc.close()


async def test_frames_keep_their_order_whatever_else_is_published(nats_url: str) -> None:
    sender, receiver = await connect(nats_url, name="sender"), await connect(nats_url, name="receiver")
    got: list[bytes] = []
    others: list[bytes] = []

    async def on_message(message: Msg) -> None:
        (got if message.subject == "live.a.delta" else others).append(message.data)

    await receiver.subscribe("live.>", cb=on_message)
    await wait_until_processed(receiver)
    publisher = CorePublisher(sender)
    for number in range(3000):
        publisher.publish(b"live.a.delta", b"%d" % number)
        if number % 3 == 0:
            await sender.publish("live.a.other", b"%d" % number)
        if number % 7 == 0:
            await asyncio.sleep(0)
        if number % 500 == 0:
            await sender.flush()
    await eventually(lambda: (len(got), len(others)) == (3000, 1000))
    assert got == [b"%d" % number for number in range(3000)]
    await sender.close()
    await receiver.close()


async def test_bodies_and_headers_arrive_as_they_were(nats_url: str) -> None:
    nc = await connect(nats_url, name="both")
    subscription = await nc.subscribe("live.>")
    publisher = CorePublisher(nc)
    bodies = [b"", b"\r\nPUB x 1\r\na\r\n", "🦜".encode(), bytes(range(256)) * 1000]
    for body in bodies:
        publisher.publish(b"live.a.delta", body)
        publisher.publish(b"live.a.delta", body, {"traceparent": "00-1-2-01", "other": "b"})
    for body in bodies:
        plain, headed = await subscription.next_msg(5), await subscription.next_msg(5)
        assert (plain.data, plain.headers) == (body, None)
        assert (headed.data, headed.headers) == (body, {"traceparent": "00-1-2-01", "other": "b"})
    await nc.close()


async def test_without_a_connection_frames_are_dropped(nats_server: NatsServer) -> None:
    nc = await connect(nats_server.url, name="both")
    publisher = CorePublisher(nc)
    subscription = await nc.subscribe("live.>")
    await wait_until_processed(nc)
    nats_server.kill()
    await eventually(lambda: not nc.is_connected)
    publisher.publish(b"live.a.delta", b"lost")
    nats_server.start()
    await eventually(lambda: nc.is_connected)
    await wait_until_processed(nc)
    publisher.publish(b"live.a.delta", b"kept")
    assert (await subscription.next_msg(5)).data == b"kept"
    await nc.close()


async def test_frames_are_dropped_above_the_high_water_mark(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_worker.generation.live._HIGH_WATER", 1000)
    sender, receiver = [await connect(nats_server.url, name=name) for name in ("sender", "receiver")]
    got: list[bytes] = []

    async def on_message(message: Msg) -> None:
        got.append(message.data[:1])

    await receiver.subscribe("live.a.delta", cb=on_message)
    await wait_until_processed(receiver)
    publisher = CorePublisher(sender)
    pause(nats_server.process.pid)
    try:
        for _ in range(100):
            publisher.publish(b"live.a.delta", b"x" * 1_000_000)
            await asyncio.sleep(0.001)
    finally:
        nats_server.process.send_signal(signal.SIGCONT)
    await sender.flush(timeout=30)
    publisher.publish(b"live.a.delta", b"last")
    await eventually(lambda: got and got[-1] == b"l")
    assert 1 <= len(got) < 100
    await sender.close()
    await receiver.close()
