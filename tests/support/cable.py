"""A network between a client and a server that a test can pull out and plug in again."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

_CHUNK = 64 * 1024


class Cable:
    """A TCP port that leads to another one of this machine; a context manager with a thread of its own.

    Pulled out, it is silent, as when a network is gone: what is under way is kept, and neither side gets an error.
    Plugged in again, the connections from before are cut, as they are after a longer outage.
    """

    def __init__(self) -> None:
        self.port = 0
        self._target = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._plugged = asyncio.Event()
        self._links: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def lead_to(self, port: int) -> None:
        """Plug it in to a server."""
        self._target = port
        self.plug_in()

    def pull(self) -> None:
        self._loop.call_soon_threadsafe(self._plugged.clear)

    def plug_in(self) -> None:
        self._call(self._cut())
        self._loop.call_soon_threadsafe(self._plugged.set)

    def _call(self, work: asyncio._CoroutineLike[None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        other: asyncio.StreamWriter | None = None
        try:
            await self._plugged.wait()
            back, other = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.wait(
                [asyncio.create_task(self._pass_on(reader, other)), asyncio.create_task(self._pass_on(back, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        except (OSError, asyncio.CancelledError):
            pass  # The end of a link is the end of its connections, whatever ended it.
        finally:
            self._links.discard(task)
            for end in (writer, other):
                if end is not None:
                    end.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._plugged.wait()
                writer.write(data)
                await writer.drain()
