"""Starting, or saying why not."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import pytest

from parley.contracts.access import permissions
from parley_cli.embedded.nats import NatsServer
from tests.integration.push.backend import Backend, backend_on
from tests.integration.push.conftest import Describe, describe_on, url_of
from tests.integration.push.reader import reading
from tests.support.service import run_service
from tests.support.waiting import eventually


async def test_a_port_that_is_taken_is_said_in_a_sentence(describe: Describe) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with describe(ready=False, PORT=port) as push:
            assert await asyncio.to_thread(push.wait) == 1
            assert f"Cannot listen on 127.0.0.1:{port}" in push.log


@pytest.mark.parametrize(("host", "address"), [("::", "[::1]"), ("::1", "[::1]"), ("0.0.0.0", "127.0.0.1")])
async def test_it_listens_on_every_family_of_addresses(
    backend: Backend, describe: Describe, host: str, address: str
) -> None:
    async with describe(HOST=host) as push:
        url = url_of(push).replace("127.0.0.1", address)
        async with reading(url) as reader:
            client = await reader.follow(backend.new_chat("ann"))
            assert client.version


async def test_settings_that_are_missing_are_named() -> None:
    async with run_service("push", {}, ready=False) as push:
        assert await asyncio.to_thread(push.wait) == 2
        assert "NATS_URL" in push.log
        assert "SECRET_KEY" in push.log


async def test_it_waits_for_nats_and_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    async with describe_on(server.url)(ready=False) as push, describe_on(server.url)(ready=False) as stopped:
        for process in (push, stopped):
            await eventually(lambda: process.get("/healthz")[0] == 200)  # noqa: B023
            assert process.get("/readyz")[0] == 503
        stopped.signal(signal.SIGTERM)
        assert await asyncio.to_thread(stopped.wait) == 0
        with server:
            await eventually(lambda: push.get("/readyz")[0] == 200)
            async with backend_on(server.url) as backend, reading(url_of(push)) as reader:
                await reader.follow(backend.new_chat("ann"))


async def test_its_user_on_the_bus_may_do_all_it_does(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, passwords={each.user: f"pass-{each.user}" for each in permissions.USERS})
    with server:
        async with (
            backend_on(server.url_of("chat-store"), server.url_of("llm-worker")) as backend,
            describe_on(server.url_of("push"))(CHECK_SECONDS="0.5") as push,
            reading(url_of(push)) as reader,
        ):
            chat = backend.new_chat("ann")
            client = await reader.follow(chat)
            await backend.submit(chat)
            await backend.claim(chat)
            backend.chats[chat].say("text", 2)
            await backend.say(chat, 1)
            await eventually(lambda: client.running is not None and client.running.seq == 3)
            backend.chats[chat].rename()
            await eventually(lambda: client.version == backend.chats[chat].version)
