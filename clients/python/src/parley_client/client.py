"""A connection that comes back by itself, carrying any number of watched chats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from parley.contracts import frames
from parley_client.api import Api
from parley_client.backoff import Backoff
from parley_client.errors import ClientError, ConnectionRefused, Problem, SignedOut
from parley_client.events_transport import EventsLine
from parley_client.socket_transport import SocketLine
from parley_client.tasks import cancel_and_wait
from parley_client.watch import Watch

Status = Literal["offline", "connecting", "online", "reconnecting"]
Transport = Literal["socket", "events"]

_FAILURES_BEFORE_EVENTS = 3


class ParleyClient:
    """A user of Parley: ``api`` for requests, :meth:`watch` for answers. An asynchronous context manager.

    The connection opens with the first watch. When it ends it is opened again with backoff and full jitter, and every
    chat goes on from its cursor. After three failures in a row the chats are read as server-sent events, while the
    socket is tried again every half minute.
    """

    def __init__(
        self,
        url: str,
        *,
        access_token: str | None = None,
        cookies: Mapping[str, str] | None = None,
        api_key: str | None = None,
        push_url: str | None = None,
        transport: Transport | None = None,
        backoff: Backoff | None = None,
        socket_again: float = 30.0,
        deadline: float = 60.0,
    ) -> None:
        """Describe the client.

        Args:
            url: The gateway's.
            access_token, cookies: Of an earlier session; by default a new guest.
            api_key: Used instead of a session.
            push_url: Another push than the gateway names.
            transport: Use only that one.
            backoff: Between attempts to connect.
            socket_again: Seconds between attempts while the chats are read as events.
            deadline: Seconds for which a request is repeated.
        """
        self.api = Api(url, access_token=access_token, cookies=cookies, api_key=api_key, deadline=deadline)
        self.status: Status = "offline"
        self.connections = 0  # how often a line became ready
        self._push_url = push_url
        self._transport = transport
        self._backoff = backoff or Backoff()
        self._socket_again = socket_again
        self._watches: dict[str, list[Watch]] = {}
        self._line: SocketLine | None = None
        self._task: asyncio.Task[None] | None = None
        self._events: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> ParleyClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()
        await self.api.__aexit__()

    @property
    def carried_by(self) -> Transport | None:
        """The transport that delivers frames now."""
        if self._line is not None and self._line.ready:
            return "socket"
        return "events" if self._events else None

    # --- for users ---------------------------------------------------------------------------------------------------

    def watch(self, chat_id: str, on_frame: Callable[[frames.ServerFrame], None] | None = None) -> Watch:
        """Follow a chat: ``async with client.watch(chat_id) as watch:``."""
        return Watch(self, chat_id, on_frame)

    def drop(self) -> None:
        """Drop the connection, as a network does; the client reconnects."""
        if self._line is not None:
            self._line.drop()
        for task in self._events.values():
            task.cancel()
        self._events.clear()
        if self._transport == "events":
            self._start_events()

    async def disconnect(self) -> None:
        """Close the connection. Watches keep their state; the next one opens it again."""
        tasks = [*self._events.values(), *([self._task] if self._task is not None else [])]
        self._events.clear()
        self._task = None
        await cancel_and_wait(*tasks)
        self.status = "offline"

    # --- for watches -------------------------------------------------------------------------------------------------

    def add(self, watch: Watch) -> None:
        self._watches.setdefault(watch.chat_id, []).append(watch)
        if self._transport == "events":
            self._start_events()
        elif self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_connected())
        else:
            self.rewatch(watch)
            if self._events:
                self._start_events()

    def remove(self, watch: Watch) -> None:
        rest = self._watches.get(watch.chat_id, [])
        if watch in rest:
            rest.remove(watch)
        if not rest:
            self._watches.pop(watch.chat_id, None)
            if task := self._events.pop(watch.chat_id, None):
                task.cancel()
            if self._line is not None:
                self._line.send(frames.Unwatch(chat_id=watch.chat_id))

    def rewatch(self, watch: Watch) -> None:
        """Request what is missing in ``watch``."""
        if self._line is not None and self._line.ready:
            self._line.send(frames.Watch(chat_id=watch.chat_id, after=watch.state.cursor))
        elif task := self._events.pop(watch.chat_id, None):
            task.cancel()
            self._start_events()

    # --- the socket --------------------------------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        self.status = "connecting"
        while True:
            code, reason = await self._connect_once()
            if 4400 <= code <= 4499:
                self.status = "offline"
                for watch in self._all():
                    watch.fail(ConnectionRefused(code, reason))
                return
            self.status = "online" if self._events else "reconnecting"
            if self._transport is None and self._backoff.failures >= _FAILURES_BEFORE_EVENTS:
                self._start_events()
                await asyncio.sleep(self._socket_again)
            else:
                await asyncio.sleep(self._backoff.next())

    async def _connect_once(self) -> tuple[int, str]:
        try:
            ticket = await self.api.push_ticket()
            url = await self._url_of_push()
        except Problem as problem:
            if isinstance(problem, SignedOut):
                return frames.CloseCode.SESSION_ENDED, problem.detail
            return (frames.CloseCode.NOT_AUTHENTICATED if problem.status in (401, 403) else 1006), problem.detail
        except ClientError as error:
            return 1006, str(error)
        self._line = SocketLine(url, self._ready, self._receive)
        try:
            return await self._line.run(ticket)
        finally:
            self._line = None

    def _ready(self) -> None:
        self._backoff.reset()
        self.status = "online"
        self.connections += 1
        for task in self._events.values():
            task.cancel()
        self._events.clear()
        for watches in self._watches.values():
            self.rewatch(watches[0])

    def _receive(self, frame: frames.ServerFrame) -> None:
        chat_id = getattr(frame, "chat_id", None)
        watches: Iterable[Watch] = self._watches.get(chat_id, ()) if chat_id is not None else self._all()
        for watch in tuple(watches):
            watch.receive(frame)

    async def _url_of_push(self) -> str:
        if self._push_url is None:
            url = (await self.api.config()).push_url
            page = urlsplit(self.api.url)
            if url.startswith("/"):
                scheme = "wss" if page.scheme == "https" else "ws"
                url = urlunsplit((scheme, page.netloc, url, "", ""))
            self._push_url = url
        return self._push_url

    def _all(self) -> list[Watch]:
        return [watch for watches in self._watches.values() for watch in watches]

    # --- server-sent events ------------------------------------------------------------------------------------------

    def _start_events(self) -> None:
        for chat_id in self._watches:
            if chat_id not in self._events:
                self._events[chat_id] = asyncio.create_task(self._read_events(chat_id))

    async def _read_events(self, chat_id: str) -> None:
        backoff = Backoff()
        while watches := self._watches.get(chat_id):

            def receive(frame: frames.ServerFrame) -> None:
                self.status = "online"
                backoff.reset()
                self._receive(frame)

            try:
                await self.api.ensure_session()
                self.connections += 1
                await EventsLine(self.api, chat_id, receive).run(watches[0].state.cursor)
            except Problem as problem:
                if not problem.transient:
                    for watch in watches:
                        watch.fail(ConnectionRefused(problem.code, problem.detail))
                    return
            self.status = "reconnecting"
            await asyncio.sleep(backoff.next())
