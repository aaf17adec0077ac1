"""The transport against a server that does as it is told."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

from llm_worker.transport import DirectTransport
from tests.support.waiting import eventually

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Counts connections and requests; ``script`` answers each connection."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self.closed = 0
        self.requests: list[bytes] = []
        self._script = script
        self._tls = tls
        self._server: asyncio.Server

    @property
    def url(self) -> str:
        host = "localhost" if self._tls else "127.0.0.1"
        return f"{'https' if self._tls else 'http'}://{host}:{self._server.sockets[0].getsockname()[1]}/v1"

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """Read one request, head and body."""
        head = await reader.readuntil(b"\r\n\r\n")
        _, _, rest = head.lower().partition(b"\r\ncontent-length:")
        length = int(rest.partition(b"\r\n")[0] or 0)
        request = head + await reader.readexactly(length)
        self.requests.append(request)
        return request

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed += 1
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()


def server(script: Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Server:
    built: Server

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await script(built, reader, writer)

    built = Server(run)
    return built


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=DirectTransport(keepalive=30)) as client:
        yield client


async def hello(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await server.request(reader)
        writer.write(HELLO)


async def test_a_request_arrives_as_it_was_made(client: httpx2.AsyncClient) -> None:
    async with server(hello) as remote:
        response = await client.post(
            f"{remote.url}/chat?a=1", json={"say": "hi"}, headers={"Authorization": "Bearer k"}
        )
        assert (response.status_code, response.text) == (200, "hello")
        [request] = remote.requests
        assert request.startswith(b"POST /v1/chat?a=1 HTTP/1.1\r\n")
        assert b"Authorization: Bearer k\r\n" in request
        assert request.endswith(b'\r\n\r\n{"say":"hi"}')


async def test_a_connection_is_used_again(client: httpx2.AsyncClient) -> None:
    async with server(hello) as remote:
        for _ in range(3):
            await client.get(remote.url)
        assert remote.connections == 1


async def test_requests_at_once_have_connections_of_their_own(client: httpx2.AsyncClient) -> None:
    async with server(hello) as remote:
        await asyncio.gather(*(client.get(remote.url) for _ in range(5)))
        assert remote.connections == 5
        await asyncio.gather(*(client.get(remote.url) for _ in range(5)))
        assert remote.connections == 5


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(client: httpx2.AsyncClient) -> None:
    async def once(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.request(reader)
        writer.write(HELLO)
        if remote.connections == 1:
            # Only when the next request is there, so that it cannot be noticed before.
            await reader.readuntil(b"\r\n\r\n")

    async with server(once) as remote:
        assert (await client.get(remote.url)).text == "hello"
        assert (await client.get(remote.url)).text == "hello"
        assert remote.connections == 2


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with (
        server(hello) as remote,
        httpx2.AsyncClient(transport=DirectTransport(keepalive=0.05)) as client,
    ):
        await client.get(remote.url)
        await eventually(lambda: remote.closed == 1)
        await client.get(remote.url)
        assert remote.connections == 2


async def test_one_read_is_one_item(client: httpx2.AsyncClient) -> None:
    go_on = asyncio.Event()

    async def twice(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.request(reader)
        writer.write(CHUNKED + b"1\r\na\r\n1\r\nb\r\n")
        await go_on.wait()
        writer.write(b"1\r\nc\r\n1\r\nd\r\n0\r\n\r\n")
        await reader.read()

    async with server(twice) as remote, client.stream("GET", remote.url) as response:
        reads = response.aiter_raw()
        first = [await anext(reads)]
        go_on.set()
        assert (b"".join(first), [read async for read in reads]) == (b"ab", [b"cd"])


async def test_leaving_in_the_middle_closes_the_connection_at_once(client: httpx2.AsyncClient) -> None:
    async def endless(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.request(reader)
        writer.write(CHUNKED)
        while not writer.is_closing():
            writer.write(b"1\r\na\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with server(endless) as remote:
        async with client.stream("GET", remote.url) as response:
            await anext(response.aiter_raw())
        await eventually(lambda: remote.closed == 1)


async def test_cancelling_while_waiting_for_the_head_closes_the_connection(client: httpx2.AsyncClient) -> None:
    async def silent(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.request(reader)
        await reader.read()

    async with server(silent) as remote:
        task = asyncio.create_task(client.get(remote.url))
        await eventually(lambda: bool(remote.requests))
        task.cancel()
        await eventually(lambda: remote.closed == 1)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_reader_that_is_slow_holds_the_server_back(client: httpx2.AsyncClient) -> None:
    size = 64 * 1024 * 1024

    async def flood(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(64):
            writer.write(bytes(1024 * 1024))
            await writer.drain()

    async with server(flood) as remote, client.stream("GET", remote.url) as response:
        largest = total = 0
        async for read in response.aiter_raw():
            largest, total = max(largest, len(read)), total + len(read)
            await asyncio.sleep(0.005)
        assert total == size
        assert largest < 4 * 1024 * 1024


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-", httpx2.RemoteProtocolError),
        (b"SSH-2.0-OpenSSH\r\n\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", httpx2.RemoteProtocolError),
        (CHUNKED + b"5\r\nhel", httpx2.RemoteProtocolError),
        (CHUNKED + b"what\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000, httpx2.RemoteProtocolError),
    ],
)
async def test_what_is_not_an_answer_is_an_error(
    client: httpx2.AsyncClient, answer: bytes, error: type[Exception]
) -> None:
    async def say(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.request(reader)
        writer.write(answer)

    async with server(say) as remote:
        with pytest.raises(error):
            await client.get(remote.url)


async def test_an_answer_without_a_length_ends_with_the_connection(client: httpx2.AsyncClient) -> None:
    async def say(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.request(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello")

    async with server(say) as remote:
        assert (await client.get(remote.url)).text == "hello"
        assert (await client.get(remote.url)).text == "hello"
        assert remote.connections == 2


async def test_a_server_that_is_not_there_is_a_connect_error(client: httpx2.AsyncClient) -> None:
    async with server(hello) as remote:
        url = remote.url
    with pytest.raises(httpx2.ConnectError):
        await client.get(url)


async def test_a_read_timeout_holds_when_one_is_asked_for(client: httpx2.AsyncClient) -> None:
    async def silent(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(silent) as remote:
        with pytest.raises(httpx2.ReadTimeout):
            await client.get(remote.url, timeout=0.05)


async def test_an_address_without_a_scheme_is_refused(client: httpx2.AsyncClient) -> None:
    with pytest.raises(httpx2.UnsupportedProtocol):
        await client.get("ftp://127.0.0.1/v1")


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


async def test_tls_is_spoken_and_the_certificate_checked(
    certificate: Path, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    remote: Server

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hello(remote, reader, writer)

    remote = Server(run, context)
    async with remote:
        with pytest.raises(httpx2.ConnectError):
            await client.get(remote.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with httpx2.AsyncClient(transport=DirectTransport(keepalive=30)) as trusting:
            assert (await trusting.get(remote.url)).text == "hello"
            assert (await trusting.get(remote.url)).text == "hello"
        assert len(remote.requests) == 2
