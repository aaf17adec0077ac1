"""Startup and shutdown."""

import asyncio
import signal
import socket
from pathlib import Path

import httpx
import pytest

from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.ports import free_port
from tests.integration.gateway.conftest import environment, gateway_alone, provisioned, signed_in, store_on
from tests.support.service import run_service
from tests.support.waiting import eventually


async def test_the_page_and_probes_are_served_before_nats_is_connected(nats_url: str) -> None:
    gone = f"nats://127.0.0.1:{free_port()}"
    async with run_service("gateway", environment(gone, free_port()), ready=False) as process:
        await eventually(lambda: process.get("/healthz")[0] == 200, deadline=30)
        assert process.get("/readyz")[0] == 503
        assert process.get("/v1/config")[0] == 200
        assert process.get("/")[0] == 503, "no page was built for this test"


async def test_a_missing_stream_ends_the_process_with_an_error(nats_url: str) -> None:
    async with run_service("gateway", environment(nats_url, free_port()), ready=False) as process:
        assert await asyncio.to_thread(process.wait) == 3
        assert "The stream CHAT does not exist. Run `parley migrate`." in process.log


async def test_it_waits_for_a_migration_that_comes_later(nats_url: str) -> None:
    settings = environment(nats_url, free_port(), MIGRATION_WAIT="60")
    async with run_service("gateway", settings, ready=False) as process:
        await eventually(lambda: "for the migration: The stream CHAT does not exist" in process.log, deadline=30)
        assert process.get("/healthz")[0] == 200
        assert process.get("/readyz")[0] == 503
        await asyncio.to_thread(provisioned, nats_url)
        await asyncio.to_thread(process.wait_ready)


async def test_a_port_that_is_in_use_ends_the_process_with_an_error(nats_url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        async with run_service("gateway", environment(nats_url, 1, PORT=port), ready=False) as process:
            assert await asyncio.to_thread(process.wait) == 1
            assert f"Cannot listen on 127.0.0.1:{port}" in process.log


async def test_a_health_port_that_is_in_use_ends_the_process_with_an_error(nats_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with run_service("gateway", environment(nats_url, 1, HEALTH_PORT=port), ready=False) as process:
            assert await asyncio.to_thread(process.wait) == 1
            assert f"Cannot listen on HEALTH_PORT {port}" in process.log


async def test_two_gateways_share_a_port_and_either_may_stop(nats_url: str) -> None:
    await asyncio.to_thread(provisioned, nats_url)
    one_env = environment(nats_url, free_port(), HEALTH_PORT=str(free_port()))
    async with run_service("gateway", one_env) as one:
        other_env = one_env | {"PORT": str(one.health_port), "HEALTH_PORT": str(free_port())}
        async with run_service("gateway", other_env, ready=False) as other:
            probe = f"http://127.0.0.1:{other_env['HEALTH_PORT']}/readyz"
            async with httpx.AsyncClient(trust_env=False) as http:

                async def ready() -> bool:
                    try:
                        return (await http.get(probe)).status_code == 200
                    except httpx.HTTPError:
                        return False

                await eventually(ready, deadline=30)
            assert await asyncio.to_thread(one.stop) == 0
            assert other.get("/readyz")[0] == 200


async def test_sigterm_finishes_requests_and_tells_streams_to_reconnect(nats_server: NatsServer) -> None:
    async with gateway_alone(nats_server.url) as (push, store, process, user):
        chat_id = await user.new_chat()
        async with user.http.stream("GET", f"/v1/chats/{chat_id}/stream") as stream:
            assert stream.status_code == 200
            reader = await push.reader()
            store.silent = True
            slow = asyncio.create_task(user.http.get("/v1/chats"))
            await eventually(lambda: store.asked["list_chats"] == 1)
            process.signal(signal.SIGTERM)
            text = "".join([part async for part in stream.aiter_text()])
            assert text.endswith(": connect again\n\n")
            assert (await slow).status_code == 503, "answered, in its own time"
        assert await asyncio.to_thread(process.wait) == 0
        await reader.closed.wait()


@pytest.mark.parametrize("connected", [True, False])
async def test_a_gateway_without_nats_ends_on_sigterm(connected: bool, nats_server: NatsServer) -> None:
    await asyncio.to_thread(provisioned, nats_server.url)
    if not connected:
        await asyncio.to_thread(nats_server.kill)
    async with run_service("gateway", environment(nats_server.url, free_port()), ready=connected) as process:
        await asyncio.to_thread(nats_server.kill)
        await eventually(lambda: process.get("/readyz")[0] == 503, deadline=30)
        assert await asyncio.to_thread(process.stop) == 0


async def test_a_gateway_without_connections_ends_at_once(nats_url: str) -> None:
    await asyncio.to_thread(provisioned, nats_url)
    async with run_service("gateway", environment(nats_url, free_port())) as process:
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert await asyncio.to_thread(process.stop) == 0
        assert loop.time() - started < 5


async def test_a_prompt_carries_on_the_trace_of_its_request(nats_url: str, tmp_path: Path) -> None:
    await asyncio.to_thread(provisioned, nats_url)
    more = {"TRACES_FILE": str(tmp_path / "traces")}
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    async with (
        store_on(nats_url) as (nc, _),
        run_service("gateway", environment(nats_url, free_port(), **more)) as process,
        signed_in(process.health_url) as user,
    ):
        chat_id = await user.new_chat()
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        await user.http.post(f"/v1/chats/{chat_id}/messages", json={"content": "x"}, headers=headers)
        message = await nc.jetstream().get_last_msg("CHAT", f"chat.{chat_id}.prompt.submitted")
        assert message.headers is not None
        assert trace_id in message.headers["traceparent"]
