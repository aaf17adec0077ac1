"""The server: routes, the key, and how often each conversation was sent."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import replace

import msgspec

from parley_cli.demo_model import behaviours
from parley_cli.demo_model.behaviours import End, Failure, Script
from parley_cli.demo_model.http import Connection, HttpRequest
from parley_cli.demo_model.request import ChatRequest, InvalidRequest, decode
from parley_cli.demo_model.stats import Stats
from parley_cli.demo_model.stream import Stream, whole
from parley_cli.demo_model.wheel import Wheel
from parley_cli.embedded.errors import CannotListen

_REMEMBERED = 10_000


class DemoModel:
    """The demo model, an asynchronous context manager. Port 0 takes a free one.

    Raises:
        CannotListen: On entering.
    """

    def __init__(self, host: str, port: int, *, api_key: str | None = None) -> None:
        self._host = host
        self._port = port
        self._api_key = api_key
        self._stats = Stats()
        self._wheel: Wheel
        self._server: asyncio.Server
        self._seen: OrderedDict[tuple[str, int], int] = OrderedDict()

    @property
    def url(self) -> str:
        """The value for ``OPENAI_BASE_URL``."""
        return f"http://{self._host}:{self._server.sockets[0].getsockname()[1]}/v1"

    async def __aenter__(self) -> DemoModel:
        loop = asyncio.get_running_loop()
        self._wheel = Wheel(loop)
        try:
            self._server = await loop.create_server(
                lambda: Connection(self._handle, self._count_connection), self._host, self._port
            )
        except OSError as error:
            raise CannotListen("The demo model", self._host, self._port, error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        # Not waiting for its connections: clients keep theirs open.
        self._server.close()

    def _count_connection(self, change: int) -> None:
        self._stats.open_connections += change

    # --- routes ------------------------------------------------------------------------------------------------------

    def _handle(self, request: HttpRequest, connection: Connection) -> None:
        match request.method, request.path:
            case "POST", "/v1/chat/completions":
                self._complete(request, connection)
            case "GET", "/v1/models":
                self._list_models(request, connection)
            case "GET", "/stats":
                connection.respond(200, msgspec.json.encode(self._stats.snapshot()))
            case "POST", "/stats/reset":
                self._stats.reset()
                connection.respond(200, b"{}")
            case "GET", "/healthz" | "/readyz":
                connection.respond(200, b'{"status":"ok"}')
            case _:
                self._fail(
                    connection,
                    Failure(
                        status=404,
                        message=f"Unknown request: {request.method} {request.path}",
                        type="invalid_request_error",
                    ),
                )

    def _list_models(self, request: HttpRequest, connection: Connection) -> None:
        if not self._has_key(request):
            self._fail(connection, behaviours.WRONG_KEY)
            return
        created = int(time.time())
        models = [
            {"id": name, "object": "model", "created": created, "owned_by": "parley"} for name in behaviours.LISTED
        ]
        connection.respond(200, msgspec.json.encode({"object": "list", "data": models}))

    def _complete(self, request: HttpRequest, connection: Connection) -> None:
        try:
            chat = decode(request.body)
        except InvalidRequest as error:
            self._fail(connection, Failure(status=400, message=str(error), type="invalid_request_error"))
            return
        self._stats.requested(chat.model)
        if not self._has_key(request):
            self._fail(connection, behaviours.WRONG_KEY)
            return
        behave = self._behaviour(chat)
        if behave is None:
            self._fail(connection, behaviours.not_found(chat.model))
            return
        script = behave(chat)
        if isinstance(script, Script) and chat.stops:
            script = replace(script, steps=behaviours.until(chat.stops, script.steps))
        if isinstance(script, Failure):
            self._fail(connection, script)
        elif chat.stream:
            Stream(chat, script, connection, self._wheel, self._stats).start()
        elif script.end in (None, End.NO_DONE):
            self._stats.answered(200)
            connection.respond(200, whole(chat, script))
        elif script.end is End.STALL:
            pass  # never answered
        else:
            self._fail(connection, behaviours.SERVER_ERROR)

    def _fail(self, connection: Connection, failure: Failure) -> None:
        self._stats.answered(failure.status)
        connection.respond(failure.status, failure.body, failure.headers)

    def _has_key(self, request: HttpRequest) -> bool:
        return self._api_key is None or request.headers.get("authorization") == f"Bearer {self._api_key}"

    def _behaviour(self, chat: ChatRequest) -> behaviours.Behaviour | None:
        name, times = behaviours.times_of(chat.model)
        if times is not None and self._times_seen(chat) > times:
            name = "demo-fast"
        return behaviours.behaviour(name)

    def _times_seen(self, chat: ChatRequest) -> int:
        """Return how often this conversation was sent to this model, this time included."""
        key = (chat.model, hash(msgspec.json.encode(chat.messages)))
        times = self._seen.pop(key, 0) + 1
        self._seen[key] = times
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return times
