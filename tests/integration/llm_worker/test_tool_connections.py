"""Tool servers that hang, die, break the protocol or refuse, and what the next call gets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from llm_worker.errors import ToolServerError
from llm_worker.tools import connection as connections
from llm_worker.tools import session as sessions
from llm_worker.tools.configuration import ToolServer
from llm_worker.tools.connection import ServerConnection
from llm_worker.tools.transports import MAX_MESSAGE_BYTES
from parley_cli.embedded.ports import free_port
from tests.support import broken_tool_server
from tests.support.waiting import eventually

START = 60.0
"""Seconds for a program of Python to start on a busy machine, and for the SDK to be imported."""


class Program:
    """A program of :mod:`tests.support.broken_tool_server`, and the connection to it."""

    def __init__(self, folder: Path, mode: str, **settings: Any) -> None:
        self._pids = folder / "pids"
        self._pids.touch()
        command = (sys.executable, str(broken_tool_server.__file__), mode, str(self._pids))
        self.connection = ServerConnection(ToolServer(name="broken", command=command, **settings))

    async def call(self, tool: str = "echo", **arguments: Any) -> str:
        """The result; of a call that failed, its message."""
        try:
            return (await self.connection.call(tool, arguments, key="k")).text
        except ToolServerError as error:
            return str(error)

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in self._pids.read_text().split()]

    @property
    def running(self) -> list[int]:
        return [pid for pid in self.pids if _is_running(pid)]


def _is_running(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


Start = Callable[..., Program]


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Start]:
    started: list[Program] = []

    def start(mode: str = "well", **settings: Any) -> Program:
        started.append(Program(tmp_path, mode, **settings))
        return started[-1]

    yield start
    for each in started:
        await each.connection.close()
        assert each.running == []


# --- programs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["initialize", "server/discover", "tools/list"])
async def test_a_program_that_hangs_is_ended_and_started_again(
    program: Start, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sessions, connections):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT", 3.0)
    monkeypatch.setattr(connections, "_RETRY_AFTER", 0.0)
    hanging = program(mode)

    async def is_started_again() -> bool:
        assert await hanging.connection.list_tools() == []
        return len(hanging.pids) >= 3 and not any(map(_is_running, hanging.pids[:-1]))

    await eventually(is_started_again, deadline=2 * START)


@pytest.mark.parametrize("mode", ["initialize", "tools/list", "stubborn"])
async def test_closing_ends_a_program_that_hangs(program: Start, mode: str) -> None:
    hanging = program(mode)
    listing = asyncio.create_task(hanging.connection.list_tools())
    await eventually(lambda: hanging.running != [], deadline=START)
    await hanging.connection.close()
    await listing
    assert hanging.running == []


@pytest.mark.parametrize("mode", ["well", "banner"])
async def test_what_is_no_message_or_no_utf_8_harms_nothing(program: Start, mode: str) -> None:
    noisy = program(mode, timeout=START)
    assert await noisy.call("log") == "Noon."
    assert await noisy.call("latin") == "caf\ufffd"
    assert await noisy.call() == "Noon."
    assert len(noisy.pids) == 1


async def test_a_result_without_what_the_tool_declares_of_it_is_a_result(program: Start) -> None:
    typed = program(timeout=START)
    await typed.connection.list_tools()
    assert await typed.call("typed") == "Noon."


@pytest.mark.parametrize("id_last", [False, True])
async def test_a_result_that_is_too_large_fails_its_call_alone(program: Start, id_last: bool) -> None:
    large = program(timeout=START)
    other = asyncio.create_task(large.call())
    assert await large.call("large", size=MAX_MESSAGE_BYTES, id_last=id_last) == "The result is larger than 8 MiB."
    assert await other == "Noon."
    assert (await large.call("large", size=MAX_MESSAGE_BYTES // 2)).startswith("xxx")
    assert len(large.pids) == 1


async def test_a_program_that_dies_in_a_call_is_started_again(program: Start) -> None:
    dying = program(timeout=START)
    assert await dying.call("exit") == "The connection to the tool server broken broke off."
    assert await dying.call() == "Noon."
    assert len(dying.pids) == 2


async def test_a_program_gets_no_secret_of_the_worker(program: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-worker")
    environment = json.loads(await program(timeout=START, env={"OWN": "own"}).call("environment"))
    assert environment["OWN"] == "own"
    assert "sk-worker" not in environment.values()


async def test_a_program_that_does_not_answer_a_call_is_started_again(
    program: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LIST_TIMEOUT", 0.2)
    hanging = program(timeout=3.0)
    await hanging.connection.list_tools()
    assert "did not answer within 3 seconds" in await hanging.call("sleep", seconds=1000)

    async def answers() -> bool:  # at the first call, unless the machine is so busy that the program starts slowly
        return await hanging.call() == "Noon."

    await eventually(answers, deadline=START)
    assert len(hanging.pids) >= 2


async def test_calls_at_once_after_a_silence_leave_a_connection_that_is_dead(
    program: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_MAX_IDLE", 0.0)
    paused = program(timeout=START)
    assert await paused.call() == "Noon."
    os.kill(paused.pids[0], signal.SIGSTOP)
    monkeypatch.setattr(connections, "_LIST_TIMEOUT", 0.5)
    first, second = await asyncio.gather(paused.call(), paused.call())
    assert (first, second) == ("Noon.", "Noon.")
    assert len(paused.pids) == 2


async def test_a_list_that_a_busy_program_does_not_answer_disturbs_no_call(
    program: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_MAX_LIST_AGE", 0.0)
    busy = program(timeout=START)
    tools = await busy.connection.list_tools()
    assert all(tool.schema == {"type": "object", "properties": {}} for tool in tools), "as providers accept it"
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT", 0.1)
    monkeypatch.setattr(connections, "_LIST_TIMEOUT", 0.5)
    running = asyncio.create_task(busy.call("sleep", seconds=3))
    await asyncio.sleep(0)
    assert await busy.connection.list_tools() == tools
    assert await running == "Noon."
    assert len(busy.pids) == 1


async def test_a_server_that_hangs_delays_only_the_answer_that_asks_it(
    program: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sessions, connections):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.1)
    monkeypatch.setattr(connections, "_RETRY_AFTER", 0.0)
    hanging = program("initialize")
    assert await hanging.connection.list_tools() == []
    await eventually(lambda: hanging.connection.has_failed, deadline=START)
    for name in ("CONNECT_TIMEOUT", "_LIST_TIMEOUT"):
        monkeypatch.setattr(connections, name, START)
    monkeypatch.setattr(sessions, "CONNECT_TIMEOUT", START)
    first = asyncio.create_task(hanging.connection.list_tools())
    await eventually(lambda: hanging.running != [], deadline=START)
    assert await hanging.connection.list_tools() == []
    assert not first.done()
    first.cancel()


# --- streamable HTTP --------------------------------------------------------------------------------------------------

SECRET = "s3cr3t"


class HttpServer:
    """A tool server over HTTP whose tool answers as its name says. Sessions can be lost.

    Attributes:
        status: Of all responses; None: those of a server that works.
        hold: While it is clear, calls of ``wait`` have no response.
        lists: Requests for its tools.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.sessions: set[str] = set()
        self.status: int | None = None
        self.hold = asyncio.Event()
        self.waiting = 0
        self.lists = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp?token={SECRET}"

    async def respond(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            return web.Response(status=405)
        if self.status is not None:
            return web.Response(status=self.status, headers={"location": f"http://127.0.0.1:9/?token={SECRET}"})
        message = await request.json()
        if "id" not in message:
            return web.Response(status=202)
        if message["method"] == "initialize":
            self.sessions.add(session := f"session-{len(self.sessions)}-{time.monotonic_ns()}")
            info = {"name": "http", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            return self._reply(message, result, {"mcp-session-id": session})
        if request.headers.get("mcp-session-id") not in self.sessions:
            # As the official servers do.
            error = {"code": -32001, "message": "Session not found"}
            return web.json_response({"jsonrpc": "2.0", "id": message["id"], "error": error}, status=404)
        if message["method"] == "tools/list":
            self.lists += 1
            return self._reply(message, {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]})
        return await self._call(request, message)

    async def _call(self, request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
        name = message["params"]["name"]
        transport = request.transport
        assert transport is not None
        if name == "wait":
            self.waiting += 1
            await self.hold.wait()
        if name.isdigit():
            return web.Response(status=int(name), headers={"location": f"http://127.0.0.1:9/?token={SECRET}"})
        if name == "reset":
            transport.abort()
        if name in ("half a body", "half a stream"):
            response = web.StreamResponse()
            response.content_type = "application/json" if name == "half a body" else "text/event-stream"
            await response.prepare(request)
            await response.write(b'{"json' if name == "half a body" else b": begun\n\n")
            transport.abort()
            return response
        if name == "no json":
            return web.Response(body=b"{", content_type="application/json")
        size = MAX_MESSAGE_BYTES if name.startswith("too large") else MAX_MESSAGE_BYTES // 2
        text = "x" * size if "large" in name else "Noon."
        if "stream" in name:
            result = {"content": [{"type": "text", "text": text}]}
            data = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
            return web.Response(text=f"data: {data}\n\n", content_type="text/event-stream")
        return self._reply(message, {"content": [{"type": "text", "text": text}]})

    def _reply(
        self, message: dict[str, Any], result: dict[str, Any], headers: dict[str, str] | None = None
    ) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result}, headers=headers)


@pytest.fixture
async def http() -> AsyncIterator[HttpServer]:
    server = HttpServer()
    app = web.Application()
    app.router.add_route("*", "/mcp", server.respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", server.port).start()
    yield server
    server.hold.set()
    await runner.cleanup()


@pytest.fixture
async def call(http: HttpServer) -> AsyncIterator[Callable[[str], Coroutine[Any, Any, str]]]:
    """Call a tool of the server; what the model gets."""
    settings = ToolServer(name="http", url=http.url, headers={"Authorization": f"Bearer {SECRET}"}, timeout=START)
    connection = ServerConnection(settings)

    async def call(tool: str) -> str:
        try:
            return (await connection.call(tool, {}, key="k")).text
        except ToolServerError as error:
            return str(error)

    yield call
    await connection.close()


Call = Callable[[str], Coroutine[Any, Any, str]]

FAILED = "Server returned an error response"
NO_ANSWER = "The tool server http did not answer the call."
BROKE_OFF = "The connection to the tool server http broke off."


@pytest.mark.parametrize(
    ("tool", "result"),
    [
        ("401", FAILED),
        ("403", FAILED),
        ("429", FAILED),
        ("503", FAILED),
        ("302", NO_ANSWER),
        ("307", NO_ANSWER),
        ("404", "The tool server http does not keep its sessions."),
        ("reset", FAILED),
        ("half a body", NO_ANSWER),
        ("half a stream", BROKE_OFF),
        ("no json", NO_ANSWER),
        ("too large", NO_ANSWER),
        ("too large a stream", BROKE_OFF),
    ],
)
async def test_a_response_that_is_none_fails_its_call_alone(
    http: HttpServer, call: Call, tool: str, result: str
) -> None:
    other = asyncio.create_task(call("wait"))
    await eventually(lambda: http.waiting == 1, deadline=START)
    got = await call(tool)
    assert got == result
    assert SECRET not in got
    assert await call("echo") == "Noon."
    http.hold.set()
    assert await other == "Noon."


@pytest.mark.parametrize("tool", ["large", "large stream"])
async def test_a_large_result_is_read_in_either_form(call: Call, tool: str) -> None:
    assert (await call(tool)).startswith("xxx")


async def test_a_server_that_lost_its_sessions_is_called_again_at_once(http: HttpServer, call: Call) -> None:
    assert await call("echo") == "Noon."
    http.sessions.clear()
    assert await call("echo") == "Noon."
    assert http.lists == 0, "a result does not wait for a list"


@pytest.mark.parametrize("status", [307, 401, 404, 500])
async def test_a_server_that_refuses_is_logged_with_its_status_and_without_credentials(
    http: HttpServer, call: Call, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    http.status = status
    assert await call("echo") == "The tool server http cannot be reached."
    assert f"The connection to the tool server http failed: HTTP {status}" in caplog.text
    http.status = None
    assert await call("echo") == "Noon."
    assert all(SECRET not in record.getMessage() for record in caplog.records if record.name.startswith("llm_worker"))


async def test_a_server_is_reached_through_the_proxy_of_the_environment(
    http: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{http.port}")
    connection = ServerConnection(ToolServer(name="http", url="http://tools.invalid/mcp", timeout=START))
    assert (await connection.call("echo", {}, key="k")).text == "Noon."
    await connection.close()
