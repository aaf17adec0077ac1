"""HTTP probes of processes, with nothing but a socket."""

from __future__ import annotations

import asyncio

_TIMEOUT = 2.0


async def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """``GET`` a small document; status 0 when nothing responds."""
    name = f"[{host}]" if ":" in host else host
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return 0, ""
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return status, body.decode(errors="replace")


async def is_ok(port: int, path: str, host: str = "127.0.0.1") -> bool:
    """Return whether ``GET`` is answered with 200."""
    return (await get(port, path, host))[0] == 200


async def serves_page(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a gateway responds there."""
    return await is_ok(port, "/healthz", host)


async def serves_sockets(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether push responds there: it requires a websocket."""
    return (await get(port, "/ws", host))[0] == 426
