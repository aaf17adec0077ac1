"""The client against a scripted server: what is sent, how often, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from llm_worker.errors import ProviderError
from llm_worker.provider import client
from llm_worker.provider.client import Provider
from tests.support.waiting import eventually

_create_ssl_context = functools.cache(httpx2.create_ssl_context)


@pytest.fixture(autouse=True)
def _certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of a second each time."""
    monkeypatch.setattr(httpx2, "create_ssl_context", _create_ssl_context)


QUESTION: dict[str, Any] = {"messages": [{"role": "user", "content": "What time is it?"}]}
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"Late."}}]}\n\n'
WHOLE = CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT)


def response(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Request:
    def __init__(self, head: bytes, body: bytes) -> None:
        self.line = head.partition(b"\r\n")[0].decode()
        self.head = head.decode().lower()
        self.body: dict[str, Any] = json.loads(body) if body else {}


Script = Callable[["Server", Request, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each request by a script; keeps its connections open, unless the script closes them."""

    def __init__(self, script: Script | bytes, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.closed = 0
        self._script = script
        self._host = host
        self._tls = tls
        self._server: asyncio.Server
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                _, found, rest = head.lower().partition(b"\r\ncontent-length:")
                request = Request(head, await reader.readexactly(int(rest.partition(b"\r\n")[0])) if found else b"")
                self.requests.append(request)
                if isinstance(self._script, bytes):
                    writer.write(self._script)
                else:
                    await self._script(self, request, reader, writer)
        self.closed += 1
        writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers)


@contextlib.asynccontextmanager
async def provider(url: str, *, api_key: str | None = "k") -> AsyncIterator[Provider]:
    async with Provider(base_url=url, api_key=api_key, connections=50, connect_timeout=2) as built:
        yield built


async def answer(of: Provider, model: str = "m") -> bytes:
    async with of.stream(model, QUESTION) as reads:
        return b"".join([read async for read in reads])


def any_idle(of: Provider) -> bool:
    """Whether a connection waits to be used again."""
    connector: Any = of._client._client._transport.client.connector  # type: ignore[attr-defined]
    return any(connection.is_connected() for kept in connector._conns.values() for connection, _ in kept)


async def refusal(of: Provider, model: str = "m") -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await answer(of, model)
    return caught.value


async def test_a_request_has_the_model_and_the_messages() -> None:
    async with Server(WHOLE) as server, provider(server.url) as asked:
        assert await answer(asked) == EVENT
        [request] = server.requests
        assert request.line == "POST /v1/chat/completions HTTP/1.1"
        assert "authorization: bearer k\r\n" in request.head
        assert "accept-encoding: identity\r\n" in request.head
        assert request.body == {
            "model": "m",
            "messages": [{"role": "user", "content": "What time is it?"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }


async def test_a_request_has_the_members_that_it_is_given() -> None:
    members = {**QUESTION, "temperature": 0.5, "tools": [{"type": "function", "function": {"name": "f"}}], "new": None}
    async with Server(WHOLE) as server, provider(server.url) as asked:
        async with asked.stream("m", members) as reads:
            assert b"".join([read async for read in reads]) == EVENT
        [request] = server.requests
        assert request.body == {**members, "model": "m", "stream": True, "stream_options": {"include_usage": True}}


async def test_each_read_comes_as_soon_as_it_is_there() -> None:
    go_on = asyncio.Event()

    async def slowly(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        writer.write(CHUNKED + b"1\r\na\r\n1\r\nb\r\n")
        await go_on.wait()
        writer.write(b"1\r\nc\r\n0\r\n\r\n")

    async with Server(slowly) as server, provider(server.url) as asked, asked.stream("m", QUESTION) as reads:
        assert await anext(reads) == b"ab"
        go_on.set()
        assert b"".join([read async for read in reads]) == b"c"


async def test_a_compressed_answer_is_read_all_the_same() -> None:
    import gzip

    body = gzip.compress(EVENT)
    async with Server(response(200, body, Content_Encoding="gzip")) as server, provider(server.url) as asked:
        assert await answer(asked) == EVENT


# --- connections ------------------------------------------------------------------------------------------------------


async def test_a_connection_is_used_again() -> None:
    async with Server(WHOLE) as server, provider(server.url) as asked:
        for _ in range(3):
            await answer(asked)
        assert server.connections == 1


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    async def once(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        writer.write(WHOLE)
        await writer.drain()
        writer.close()

    async with Server(once) as server, provider(server.url) as asked:
        for count in range(1, 4):
            assert await answer(asked) == EVENT
            # Not before its end has come here too.
            await eventually(lambda: not any_idle(asked))
            assert server.connections == count
        assert len(server.requests) == 3


async def test_a_request_that_was_sent_is_not_sent_again() -> None:
    async def silent(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        if request.body["model"] == "good":
            writer.write(WHOLE)
        else:
            writer.close()

    async with Server(silent) as server, provider(server.url) as asked:
        # Idle connections, of which each would fail in its turn.
        await asyncio.gather(*(answer(asked, "good") for _ in range(10)))
        failure = await refusal(asked, "bad")
        assert (failure.code, failure.transient) == ("provider_unavailable", True)
        assert [request.body["model"] for request in server.requests].count("bad") == 1


async def test_leaving_in_the_middle_closes_the_connection_at_once() -> None:
    async def endlessly(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        writer.write(CHUNKED)
        while not writer.is_closing():
            writer.write(b"1\r\na\r\n")
            await writer.drain()
            await asyncio.sleep(0.001)

    async with Server(endlessly) as server, provider(server.url) as asked:
        async with asked.stream("m", QUESTION) as reads:
            await anext(reads)
        await eventually(lambda: server.closed == 1)


async def test_cancelling_while_waiting_for_the_answer_closes_the_connection() -> None:
    async def silent(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        await reader.read()

    async with Server(silent) as server, provider(server.url) as asked:
        task = asyncio.create_task(answer(asked))
        await eventually(lambda: bool(server.requests))
        task.cancel()
        await eventually(lambda: server.closed == 1)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_unreachable_address_family_does_not_delay_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    connect, tried = loop.sock_connect, []

    async def resolve(*_: Any, **__: Any) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", server.port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", server.port)),
        ]

    async def into_the_void(sock: socket.socket, address: Any) -> None:
        tried.append(sock.family)
        if sock.family == socket.AF_INET6:
            await asyncio.Event().wait()
        await connect(sock, address)

    async with Server(WHOLE, host="provider.test") as server, provider(server.url) as asked:
        monkeypatch.setattr(loop, "getaddrinfo", resolve)
        monkeypatch.setattr(loop, "sock_connect", into_the_void)
        async with asyncio.timeout(1.9):
            assert await answer(asked) == EVENT
    assert set(tried) == {socket.AF_INET, socket.AF_INET6}


async def test_a_provider_that_is_not_there_is_unavailable() -> None:
    async with Server(WHOLE) as server:
        url = server.url
    async with provider(url) as asked:
        failure = await refusal(asked)
        assert (failure.code, failure.transient) == ("provider_unavailable", True)


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with Server(WHOLE) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with provider("http://provider.test/v1") as asked:
            assert await answer(asked) == EVENT
        [request] = proxy.requests
        assert request.line == "POST http://provider.test/v1/chat/completions HTTP/1.1"


# --- what is not an answer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "code", "transient"),
    [
        (response(401, b'{"error": {"message": "no"}}'), "provider_auth", False),
        (response(429, b"", Retry_After="3"), "rate_limited", True),
        (response(500), "provider_unavailable", True),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "provider_unavailable", True),
        (b"HTTP/1.1 200 OK\r\nContent-Len", "provider_unavailable", True),
        (CHUNKED + b"5\r\nhel", "provider_unavailable", True),
        (CHUNKED + b"what\r\n", "provider_unavailable", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "provider_unavailable", True),
    ],
)
async def test_a_response_that_is_no_answer_is_an_error(said: bytes, code: str, transient: bool) -> None:
    async def say(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    async with Server(say) as server, provider(server.url) as asked:
        failure = await refusal(asked)
        assert (failure.code, failure.transient) == (code, transient)
        assert len(server.requests) == 1


async def test_an_error_whose_body_does_not_end_is_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_ERROR_TIMEOUT", 0.1)

    async def stall(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        said = b'{"error": {"message": "prompt is too long"}}'
        writer.write(b"HTTP/1.1 400 X\r\nContent-Length: 9999\r\n\r\n" + said)
        await reader.read()

    async with Server(stall) as server, provider(server.url) as asked:
        assert (await refusal(asked)).code == "context_too_long"
        await eventually(lambda: server.closed == 1)


async def test_an_error_of_any_size_costs_little() -> None:
    async def flood(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        writer.write(b"HTTP/1.1 400 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await writer.drain()

    async with Server(flood) as server, provider(server.url) as asked:
        assert (await refusal(asked)).code == "provider_error"
        await eventually(lambda: server.closed == 1)


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_within_the_origin_is_followed_with_its_body(status: int) -> None:
    async def move(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        new = "/v2/chat/completions"
        writer.write(WHOLE if new in request.line else response(status, b"moved", Location=new))

    async with Server(move) as server, provider(server.url) as asked:
        assert await answer(asked) == EVENT
        assert [request.line.split()[:2] for request in server.requests] == [
            ["POST", "/v1/chat/completions"],
            ["POST", "/v2/chat/completions"],
        ]
        assert server.requests[0].body == server.requests[1].body
        assert "authorization: bearer k" in server.requests[1].head


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (308, "http://127.0.0.1:1/v1/chat/completions"),
        (307, "https://127.0.0.1/"),
        (302, "/v2"),
        (301, "/v2"),
        (303, "/v2"),
    ],
)
async def test_other_redirects_are_not_followed(status: int, location: str) -> None:
    async with Server(response(status, Location=location)) as server, provider(server.url) as asked:
        failure = await refusal(asked)
        assert (failure.code, failure.transient) == ("provider_error", False)
        assert location in failure.detail
        assert len(server.requests) == 1


async def test_redirects_in_a_circle_end() -> None:
    async with Server(response(307, Location="/v1/chat/completions")) as server, provider(server.url) as asked:
        assert not (await refusal(asked)).transient
        assert len(server.requests) < 6


async def test_without_a_key_and_an_address_no_request_is_sent() -> None:
    async with Provider(base_url=None, api_key=None, connections=1, connect_timeout=1) as asked:
        failure = await refusal(asked)
        assert (failure.code, failure.transient) == ("provider_auth", False)
        assert "OPENAI_API_KEY" in failure.advice


# --- usage ------------------------------------------------------------------------------------------------------------


async def test_a_refusal_of_stream_options_holds_for_its_model_alone() -> None:
    async def picky(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        unknown = b'{"error": {"message": "Unrecognized request argument supplied: stream_options"}}'
        refused = request.body["model"] == "old" and "stream_options" in request.body
        writer.write(response(400, unknown) if refused else WHOLE)

    async with Server(picky) as server, provider(server.url) as asked:
        for model in ("old", "old", "new", "old", "new"):
            assert await answer(asked, model) == EVENT
        asking = [(request.body["model"], "stream_options" in request.body) for request in server.requests]
        assert asking == [
            *[("old", True), ("old", False), ("old", False), ("new", True), ("old", False), ("new", True)],
        ]


@pytest.mark.parametrize(
    "refusal",
    [
        "Missing `reasoning_content` field in the assistant message at message index 2.",
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
    ],
)
async def test_reasoning_is_sent_back_only_to_models_that_require_it(refusal: str) -> None:
    async def picky(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        answers = [message for message in request.body["messages"] if message["role"] == "assistant"]
        lacks = request.body["model"] == "deepseek" and not all(one.get("reasoning_content") for one in answers)
        strict = request.body["model"] == "groq" and any("reasoning_content" in one for one in answers)
        if lacks or strict:
            writer.write(
                response(400, json.dumps({"error": {"message": refusal if lacks else "unsupported"}}).encode())
            )
        else:
            writer.write(WHOLE)

    calling: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [], "reasoning_content": "Hm."}
    members = {"messages": [*QUESTION["messages"], calling, {"role": "assistant", "content": "Noon."}]}
    async with Server(picky) as server, provider(server.url) as asked:
        for model in ("deepseek", "groq", "deepseek"):
            async with asked.stream(model, members) as reads:
                assert b"".join([read async for read in reads]) == EVENT
        sent = [[one.get("reasoning_content") for one in request.body["messages"][1:]] for request in server.requests]
        assert sent == [[None, None], ["Hm.", " "], [None, None], ["Hm.", " "]]


@pytest.mark.parametrize("name", ["messages[1].tool_calls[0].extra_content", "messages[1].reasoning_details"])
async def test_extra_content_of_another_server_is_left_out_where_it_is_refused(name: str) -> None:
    async def strict(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        message = request.body["messages"][1]
        refused = "reasoning_details" in message or "extra_content" in message["tool_calls"][0]
        writer.write(response(400, f"Unknown parameter: {name}".encode()) if refused else WHOLE)

    calls = [{"id": "a", "extra_content": {"google": {"thought_signature": "sig"}}}]
    calling = {"role": "assistant", "tool_calls": calls, "reasoning_details": [{"type": "reasoning.encrypted"}]}
    async with Server(strict) as server, provider(server.url) as asked:
        async with asked.stream("m", {"messages": [*QUESTION["messages"], calling]}) as reads:
            assert b"".join([read async for read in reads]) == EVENT
        assert server.requests[1].body["messages"][1]["tool_calls"] == [{"id": "a"}]


@pytest.mark.parametrize("status", [400, 500])
async def test_messages_of_the_system_go_first_where_the_model_requires_it(status: int) -> None:
    async def qwen(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        refused = any(message["role"] == "system" for message in request.body["messages"][1:])
        error = b'{"error": {"message": "Jinja Exception: System message must be at the beginning."}}'
        writer.write(response(status, error) if refused else WHOLE)

    later = {"role": "system", "content": "Be brief."}
    messages = [{"role": "system", "content": "Be kind."}, *QUESTION["messages"], later, *QUESTION["messages"]]
    async with Server(qwen) as server, provider(server.url) as asked:
        async with asked.stream("m", {"messages": messages}) as reads:
            assert b"".join([read async for read in reads]) == EVENT
        system = {"role": "system", "content": "Be kind.\n\nBe brief."}
        assert server.requests[1].body["messages"] == [system, *QUESTION["messages"], *QUESTION["messages"]]
        await answer(asked)
        assert server.requests[2].body["messages"] == QUESTION["messages"]


async def test_a_server_that_refuses_both_shapes_is_asked_twice() -> None:
    refused = b'{"error": {"message": "reasoning_content is wrong"}}'
    async with Server(response(400, refused)) as server, provider(server.url) as asked:
        assert (await refusal(asked)).code == "provider_error"
        assert len(server.requests) == 2


async def test_a_refusal_counts_only_once_the_request_without_it_succeeded() -> None:
    async def broken(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        writer.write(response(400, b'{"error": {"message": "stream_options and all else is wrong"}}'))

    async with Server(broken) as server, provider(server.url) as asked:
        for _ in range(2):
            assert (await refusal(asked)).code == "provider_error"
        assert ["stream_options" in request.body for request in server.requests] == [True, False, True, False]


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (response(200, b'{"data": [{"id": "a"}]}'), ["a"]),
        (response(200, b'["a", "b"]'), ["a", "b"]),
        (response(404, b"404 page not found"), None),
        (response(405), None),
    ],
)
async def test_models_are_listed(said: bytes, wanted: list[str] | None) -> None:
    async with Server(said) as server, provider(server.url) as asked:
        assert await asked.list_models() == wanted
        assert server.requests[0].line == "GET /v1/models HTTP/1.1"


async def test_the_request_for_the_list_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_LIST_TIMEOUT", 0.2)

    async def dribble(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        writer.write(CHUNKED)
        while not writer.is_closing():
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with Server(dribble) as server, provider(server.url) as asked:
        with pytest.raises(ProviderError) as caught:
            await asked.list_models()
        assert caught.value.code == "provider_unavailable"


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for ``localhost`` that nobody has signed, in one file."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout {key} -out {cert}"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([program, *make.split(), *name], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return both


async def test_the_certificate_is_checked_and_may_be_ones_own(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with Server(WHOLE, host="localhost", tls=context) as server:
        async with provider(server.url) as asked:
            assert (await refusal(asked)).code == "provider_unavailable"
        monkeypatch.setattr(httpx2, "create_ssl_context", _create_ssl_context.__wrapped__)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with provider(server.url) as asked:
            assert await answer(asked) == EVENT


async def test_a_provider_over_tls_is_reached_through_the_tunnel_of_a_proxy(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[str] = []

    async def tunnel(server: Server, request: Request, reader: asyncio.StreamReader, writer: Any) -> None:
        asked_for.append(request.line)
        to_provider, from_provider = await asyncio.open_connection("127.0.0.1", provider_server.port), writer
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(reader, to_provider[1]))
            group.create_task(_pump(to_provider[0], from_provider))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(httpx2, "create_ssl_context", _create_ssl_context.__wrapped__)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with Server(WHOLE, tls=context) as provider_server, Server(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with provider("https://localhost:9/v1") as asked:
            assert await answer(asked) == EVENT
        assert asked_for == ["CONNECT localhost:9 HTTP/1.1"]
        [request] = provider_server.requests
        assert request.line == "POST /v1/chat/completions HTTP/1.1"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while read := await reader.read(65_536):
        writer.write(read)
    writer.close()
