"""A lease is valid until it expires by the clock of this process, and never again after that."""

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


async def started(owned: Lease, server: Server) -> "asyncio.Task[None]":
    task = asyncio.create_task(owned.renew())
    await server.beat.wait()
    await asyncio.sleep(0)
    return task


async def test_without_a_heartbeat_it_is_valid_from_the_request_for_the_message() -> None:
    clock = Clock()
    owned = lease(Server(clock), clock)
    clock.now += ACK_WAIT * 0.9
    assert owned.is_valid()
    clock.now += ACK_WAIT * 0.1
    assert not owned.is_valid()
    with pytest.raises(LeaseLost):
        owned.check()


async def test_a_heartbeat_extends_it_from_the_time_of_sending() -> None:
    clock = Clock()
    server = Server(clock)
    server.takes = 2.0
    owned = lease(server, clock)
    task = await started(owned, server)
    assert owned.remaining == pytest.approx(ACK_WAIT * 0.95 - 2.0)
    task.cancel()


async def test_a_heartbeat_that_is_confirmed_too_late_is_late() -> None:
    clock = Clock()
    server = Server(clock)
    server.takes = ACK_WAIT + 1
    owned = lease(server, clock)
    await asyncio.wait_for(owned.renew(), 5)
    assert not owned.is_valid()


async def test_once_expired_it_stays_expired() -> None:
    clock = Clock()
    server = Server(clock)
    owned = lease(server, clock)
    clock.now += ACK_WAIT
    assert not owned.is_valid()
    clock.now -= ACK_WAIT
    assert not owned.is_valid()
    await owned.renew()
    assert server.heartbeats == 0


async def test_heartbeats_without_a_confirmation_do_not_count() -> None:
    clock = Clock()
    server = Server(clock)
    server.answers = False
    owned = lease(server, clock)
    task = await started(owned, server)
    assert owned.remaining == pytest.approx(ACK_WAIT * 0.95)
    task.cancel()


async def test_nothing_is_sent_without_a_connection() -> None:
    clock = Clock()
    server = Server(clock)
    server.is_connected = False
    owned = lease(server, clock)
    task = asyncio.create_task(owned.renew())
    await asyncio.sleep(0)
    await owned.acknowledge()
    await owned.nak()
    assert (server.heartbeats, server.sent) == (0, [])
    task.cancel()


async def test_it_replies_as_jetstream_defines() -> None:
    clock = Clock()
    server = Server(clock)
    owned = lease(server, clock)
    await owned.acknowledge()
    await owned.nak()
    await owned.nak(delay=1.5)
    await owned.terminate()
    assert server.sent == [b"+ACK", b"-NAK", b'-NAK {"delay": 1500000000}', b"+TERM"]
