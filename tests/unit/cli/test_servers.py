"""The messages about servers that cannot be used."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest

from parley_cli.servers import ServerUnusable, nats_client

INFO = b'INFO {"server_id":"x","version":"2.12.0","max_payload":1048576,"auth_required":true}\r\n'


async def _message_for(resets: int) -> str:
    """Return the error for a NATS server that refuses everybody, and resets the first ``resets`` connections."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        reset = connections <= resets
        with contextlib.suppress(OSError):
            writer.write(INFO)
            await reader.readline()
            if reset:
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                writer.write(b"-ERR 'Authorization Violation'\r\n")
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(ServerUnusable) as refused:
            async with nats_client(f"nats://ann:secret@127.0.0.1:{port}", "test"):
                pass
    return str(refused.value)


async def test_a_refusal_whose_reason_is_lost_at_first_is_reported() -> None:
    message = await _message_for(2)
    assert "refuses the user or the password (ann)" in message
    assert "secret" not in message


async def test_a_server_that_resets_every_connection_may_refuse_the_password() -> None:
    message = await _message_for(100)
    assert "closes the connection" in message
    assert "a refused user or password" in message
