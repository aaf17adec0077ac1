"""The NATS client of every process: nats-py's, with what its reconnecting lacks (``docs/decisions/0026``)."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from parley.runtime.tasks import keep_cancellation

log = logging.getLogger(__name__)

_CLOSE_TIMEOUT: Final = 1.0
"""Seconds for what is written to go out before a connection is ended by force."""


class ReconnectingClient(Client):  # type: ignore[misc,unused-ignore]
    """Reconnects whatever error an attempt ends with, leaves no connection open, and can be cancelled at any moment."""

    async def connect(self, *arguments: Any, **options: Any) -> None:
        try:
            await keep_cancellation(super().connect(*arguments, **options))
        except BaseException:
            # Given up, or cancelled before a server has answered.
            if isinstance(self._transport, _Transport):
                self._transport.abort()
            raise

    async def request(self, *arguments: Any, **options: Any) -> Msg:
        return await keep_cancellation(super().request(*arguments, **options))

    async def flush(self, *arguments: Any, **options: Any) -> None:
        await keep_cancellation(super().flush(*arguments, **options))

    async def drain(self) -> None:
        await keep_cancellation(super().drain())

    async def close(self) -> None:
        await keep_cancellation(super().close())

    async def _connect_to_server(self, server: Any) -> None:
        if self._transport is None and server.uri.scheme not in ("ws", "wss"):
            self._transport = _Transport()  # type: ignore[no-untyped-call]
        # A cancellation that is lost here would have the reconnecting go on for ever, and its process never end.
        await keep_cancellation(super()._connect_to_server(server))

    async def _process_connect_init(self) -> None:
        await keep_cancellation(super()._process_connect_init())

    async def _attempt_reconnect(self) -> None:
        while True:
            try:
                await super()._attempt_reconnect()
                return
            except Exception as error:
                # The library expects some errors only; with any other its reconnecting task would end.
                log.debug("Reconnecting to NATS: %r", error)
            if self.is_connected or self.is_closed:
                return
            self._status = Client.RECONNECTING
            await asyncio.sleep(self.options["reconnect_time_wait"])


class _Transport(TcpTransport):  # type: ignore[misc,unused-ignore]
    """A transport that always closes, and that raises connection errors only."""

    def __bool__(self) -> bool:
        # The library replaces a transport that is false, as one would be before it is connected.
        return True

    async def connect(self, *arguments: Any, **options: Any) -> None:
        # A server that refused the client, or did not answer, has left its connection open.
        self.abort()
        await super().connect(*arguments, **options)

    async def wait_closed(self) -> None:
        """Return when the connection has ended.

        Pending data is waited for only briefly: a server that disappeared accepts nothing, and the kernel retries for a
        quarter of an hour.
        """
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await super().wait_closed()  # type: ignore[no-untyped-call]
        except TimeoutError:
            self.abort()

    def write(self, payload: bytes) -> None:
        try:
            super().write(payload)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            # uvloop's error for a socket that it has closed already.
            raise ConnectionResetError(str(error)) from error

    def writelines(self, payload: Iterable[bytes]) -> None:
        try:
            super().writelines(payload)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ConnectionResetError(str(error)) from error

    def abort(self) -> None:
        for writer in (self._io_writer, self._bare_io_writer):
            if writer is not None:
                writer.transport.abort()
