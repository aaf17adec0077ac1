"""Probes and metrics over real HTTP."""

import asyncio
import time

import httpx
import pytest

from parley.runtime.health import HealthServer

problems: dict[str, str] = {}


async def ready() -> dict[str, str]:
    return problems


@pytest.fixture(autouse=True)
def _no_problems() -> None:
    problems.clear()


async def test_ready_only_without_problems_but_always_alive() -> None:
    async with HealthServer("127.0.0.1", 0, ready) as server, httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{server.port}"
        assert (await http.get(f"{url}/readyz")).status_code == 200
        problems["nats"] = "not connected"
        refused = await http.get(f"{url}/readyz")
        assert refused.status_code == 503
        said = refused.json()
        assert abs(said.pop("time") - time.time()) < 5
        assert said == {"ready": False, "problems": {"nats": "not connected"}}
        assert (await http.get(f"{url}/healthz")).status_code == 200


async def test_metrics_are_in_prometheus_text_form() -> None:
    async with HealthServer("127.0.0.1", 0, ready) as server, httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{server.port}/metrics?x=1")
        assert answer.headers["content-type"].startswith("text/plain")
        assert "python_info" in answer.text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/other", 404), ("POST", "/healthz", 405)])
async def test_anything_else_is_refused(method: str, path: str, status: int) -> None:
    async with HealthServer("127.0.0.1", 0, ready) as server, httpx.AsyncClient() as http:
        assert (await http.request(method, f"http://127.0.0.1:{server.port}{path}")).status_code == status


async def test_without_a_port_nothing_listens() -> None:
    async with HealthServer("127.0.0.1", None, ready) as server:
        assert server.port is None


@pytest.mark.parametrize("how", ["the server ends", "its task is cancelled"])
async def test_a_probe_in_hand_that_is_ended_leaves_no_traceback(how: str, caplog: pytest.LogCaptureFixture) -> None:
    asked = asyncio.Event()

    async def never() -> dict[str, str]:
        asked.set()
        await asyncio.Event().wait()
        return {}

    before = asyncio.all_tasks()
    async with HealthServer("127.0.0.1", 0, never) as server:
        assert server.port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
        await asyncio.wait_for(asked.wait(), 10)
        if how == "its task is cancelled":
            for task in asyncio.all_tasks() - before:
                task.cancel()
            assert await asyncio.wait_for(reader.read(), 10) == b""
    assert await asyncio.wait_for(reader.read(), 10) == b"", "the connection has ended with the server"
    writer.close()
    await writer.wait_closed()
    assert asyncio.all_tasks() == before
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
