"""A lease is held for as long as our own clock says so, and never again after that."""

import asyncio
from typing import Any, cast

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from llm_worker.errors import LeaseLost
from llm_worker.generation.lease import Lease

ACK_WAIT = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Server:
    """What a lease sees of NATS."""

    def __init__(self, clock: Clock) -> None:
        self.is_connected = True
        self.heartbeats = 0
        self.sent: list[bytes] = []
        self.answers = True
        self.takes = 0.0
        self.beat = asyncio.Event()
        self._clock = clock

    async def request(self, subject: str, payload: bytes, timeout: float) -> None:
        assert payload == Msg.Ack.Progress
        self.heartbeats += 1
        self.beat.set()
        self._clock.now += self.takes
        if not self.answers:
            raise nats.errors.TimeoutError

    async def publish(self, subject: str, payload: bytes) -> None:
        self.sent.append(payload)


def lease(server: Server, clock: Clock) -> Lease:
    nc = cast(Client, cast(Any, server))
    return Lease(nc, Msg(nc, reply="$JS.ACK.x"), requested_at=clock.now, ack_wait=ACK_WAIT, clock=clock)


async def kept(held: Lease, server: Server) -> "asyncio.Task[None]":
    task = asyncio.create_task(held.renew())
    await server.beat.wait()
    await asyncio.sleep(0)
    return task


async def test_without_a_heartbeat_it_is_held_from_when_we_asked_for_it() -> None:
    clock = Clock()
    held = lease(Server(clock), clock)
    clock.now += ACK_WAIT * 0.9
    assert held.is_valid()
    clock.now += ACK_WAIT * 0.1
    assert not held.is_valid()
    with pytest.raises(LeaseLost):
        held.check()


async def test_a_heartbeat_holds_it_from_when_it_was_sent() -> None:
    clock = Clock()
    server = Server(clock)
    server.takes = 2.0
    held = lease(server, clock)
    task = await kept(held, server)
    assert held.remaining == pytest.approx(ACK_WAIT * 0.95 - 2.0)
    task.cancel()


async def test_a_heartbeat_that_is_confirmed_too_late_is_late() -> None:
    clock = Clock()
    server = Server(clock)
    server.takes = ACK_WAIT + 1
    held = lease(server, clock)
    await asyncio.wait_for(held.renew(), 5)
    assert not held.is_valid()


async def test_once_lost_it_stays_lost() -> None:
    clock = Clock()
    server = Server(clock)
    held = lease(server, clock)
    clock.now += ACK_WAIT
    assert not held.is_valid()
    clock.now -= ACK_WAIT
    assert not held.is_valid()
    await held.renew()
    assert server.heartbeats == 0


async def test_heartbeats_nobody_confirms_do_not_count() -> None:
    clock = Clock()
    server = Server(clock)
    server.answers = False
    held = lease(server, clock)
    task = await kept(held, server)
    assert held.remaining == pytest.approx(ACK_WAIT * 0.95)
    task.cancel()


async def test_nothing_is_sent_into_the_buffer_of_a_lost_connection() -> None:
    clock = Clock()
    server = Server(clock)
    server.is_connected = False
    held = lease(server, clock)
    task = asyncio.create_task(held.renew())
    await asyncio.sleep(0)
    await held.acknowledge()
    await held.nak()
    assert (server.heartbeats, server.sent) == (0, [])
    task.cancel()


async def test_it_ends_as_the_protocol_says() -> None:
    clock = Clock()
    server = Server(clock)
    held = lease(server, clock)
    await held.acknowledge()
    await held.nak()
    await held.nak(delay=1.5)
    await held.terminate()
    assert server.sent == [b"+ACK", b"-NAK", b'-NAK {"delay": 1500000000}', b"+TERM"]
