"""Every frame of the socket, and push's own address of streams, by everybody: the effect, or the close code."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeVar, get_args

import httpx
import msgspec
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from parley.contracts import ids, rpc
from parley.contracts.frames import ChatFrame, ClientFrame, CloseCode, Error, Presence, Ready, ServerFrame, Snapshot
from parley.runtime.tokens import KeyRing
from tests.integration.access.scene import KEY, ROLES, Scene
from tests.integration.chat_store.client import Neighbour
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

F = TypeVar("F")

Outcome = int | str
"""A close code, or what the frame does."""

_DEADLINE: Final = 40.0

CLOSED: Final[dict[str, Outcome]] = {
    "anonymous": CloseCode.NOT_AUTHENTICATED,
    "access token": CloseCode.NOT_AUTHENTICATED,
    "foreign issuer": CloseCode.NOT_AUTHENTICATED,
    "expired ticket": CloseCode.TICKET_EXPIRED,
    "used ticket": CloseCode.TICKET_EXPIRED,
    # The ticket is good; that the session has ended is found out within seconds.
    "expired session": CloseCode.SESSION_ENDED,
    "revoked": CloseCode.SESSION_ENDED,
    "disabled": CloseCode.SESSION_ENDED,
}
"""Who has no session, by what is sent as the ticket. ``anonymous`` sends none, and the frame first."""


def _frame(members: dict[str, Outcome], others: Outcome) -> dict[str, Outcome]:
    return {**dict.fromkeys(ROLES, others), **members, **CLOSED}


MATRIX: Final[dict[str, dict[str, Outcome]]] = {
    "auth": _frame({}, "ready"),
    "watch": _frame({"owner": "snapshot", "writer": "snapshot", "reader": "snapshot"}, "not_found"),
    "typing": _frame({"owner": "shown", "writer": "shown"}, "ignored"),
    # Also for who watches nothing: the socket stays open.
    "unwatch": _frame({}, "no more frames"),
}

STREAMS: Final[dict[str, str]] = {
    "owner": "200",
    "writer": "200",
    "reader": "200",
    "invited": "404 not_found",
    "administrator": "404 not_found",
    "stranger": "404 not_found",
    "anonymous": "401 not_authenticated",
    "expired token": "401 token_expired",
    "foreign issuer": "401 token_invalid",
    "expired session": "session_ended",
    "revoked": "session_ended",
    "disabled": "session_ended",
}
"""``GET /v1/chats/{chat_id}/stream`` of push. A session that has ended ends the stream, if not the request."""


class Socket:
    """A socket, and everything that came on it."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.frames: list[ServerFrame] = []
        self.closed: int | None = None
        self.pump = asyncio.create_task(self._read())

    async def send(self, kind: str, **fields: Any) -> None:
        with contextlib.suppress(ConnectionClosed):  # by what was sent before
            await self._connection.send(json.dumps({"type": kind, **fields}))

    def of(self, kind: type[F], chat_id: str | None = None) -> list[F]:
        return [
            one for one in self.frames if isinstance(one, kind) and chat_id in (None, getattr(one, "chat_id", None))
        ]

    async def mark(self) -> None:
        """Return when everything that was sent before has been handled."""
        nowhere = ids.new_id()
        await self.send("watch", chat_id=nowhere)
        await eventually(lambda: self.of(Error, nowhere), deadline=_DEADLINE)

    async def _read(self) -> None:
        try:
            async for payload in self._connection:
                self.frames.append(msgspec.json.decode(payload, type=ServerFrame))
        finally:
            self.closed = self._connection.close_code


@asynccontextmanager
async def opened(push: ServiceProcess) -> AsyncIterator[Socket]:
    url = f"ws://127.0.0.1:{push.environment['PORT']}/ws"
    async with connect(url, proxy=None, open_timeout=_DEADLINE, ping_interval=None) as connection:
        socket = Socket(connection)
        yield socket
        socket.pump.cancel()


def ticket_of(scene: Scene, caller: str) -> str | None:
    """Return what a caller sends as the ticket."""
    keys = KeyRing([KEY])
    if caller == "anonymous":
        return None
    if caller in ("foreign issuer", "access token"):
        return scene.token_of("owner" if caller == "access token" else caller, keys)
    session = scene.sessions["owner" if caller.endswith("ticket") else caller]
    seconds = -60 if caller == "expired ticket" else 60
    return keys.issue("ticket", session.user.id, seconds, session_id=session.session_id, ends_at=session.expires_at)[0]


async def _closed(push: ServiceProcess, scene: Scene, kind: str, caller: str) -> Outcome:
    """Send a frame, after the ticket if there is one, and return the close code."""
    ticket = ticket_of(scene, caller)
    if caller == "used ticket":
        async with opened(push) as first:
            await first.send("auth", ticket=ticket)
            await eventually(lambda: first.of(Ready), deadline=_DEADLINE)
    async with opened(push) as socket:
        if ticket is not None or kind == "auth":
            await socket.send("auth", ticket=ticket or "")
        if kind != "auth":
            await socket.send(kind, chat_id=scene.chat_id)
        await asyncio.wait((socket.pump,), timeout=_DEADLINE)
        return socket.closed or "open"


async def _effects(push: ServiceProcess, store: Neighbour, scene: Scene) -> dict[tuple[str, str], Outcome]:
    """Send each frame on a socket of each role, and return what it does."""
    found: dict[tuple[str, str], Outcome] = {}
    chat_id = scene.chat_id
    async with AsyncExitStack() as stack:
        sockets = {role: await stack.enter_async_context(opened(push)) for role in (*ROLES, "observer")}
        for role, socket in sockets.items():
            await socket.send("auth", ticket=ticket_of(scene, "owner" if role == "observer" else role))
            await eventually(lambda: socket.of(Ready), deadline=_DEADLINE)  # noqa: B023
            found["auth", role] = "ready"
            await socket.send("watch", chat_id=chat_id)
            await eventually(lambda: bool(socket.of(Snapshot) or socket.of(Error, chat_id)), deadline=_DEADLINE)  # noqa: B023
            found["watch", role] = "snapshot" if socket.of(Snapshot) else socket.of(Error)[0].code
        await _type(sockets, scene, found)
        for role in ROLES:
            await sockets[role].send("unwatch", chat_id=chat_id)
            await sockets[role].mark()
            sockets[role].frames.clear()
        renamed = await store.ask(rpc.UpdateChat(user_id=scene.id_of("owner"), chat_id=chat_id, title=ids.new_id()))
        await eventually(
            lambda: any(one.version >= renamed.chat.version for one in sockets["observer"].of(ChatFrame)),
            deadline=_DEADLINE,
        )
        for role in ROLES:
            await sockets[role].mark()
            about_chat = [one for one in sockets[role].frames if getattr(one, "chat_id", None) == chat_id]
            found["unwatch", role] = "a frame" if about_chat else "no more frames"
    return found


async def _type(sockets: dict[str, Socket], scene: Scene, found: dict[tuple[str, str], Outcome]) -> None:
    """Have everybody write, those last who may, so that what the others sent was handled when it is shown."""
    for role in reversed(ROLES):
        await sockets[role].send("typing", chat_id=scene.chat_id)
        await sockets[role].mark()

    def shown() -> set[str]:
        reports = sockets["observer"].of(Presence)
        return {user.user_id for user in reports[-1].users if user.state == "writing"} if reports else set()

    await eventually(lambda: shown() >= {scene.id_of("owner"), scene.id_of("writer")}, deadline=_DEADLINE)
    writing = shown()
    found.update({("typing", role): "shown" if scene.id_of(role) in writing else "ignored" for role in ROLES})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(push: ServiceProcess, store: Neighbour, scene: Scene) -> dict[tuple[str, str], Outcome]:
    """What each frame comes to by each caller, at the same time: some sockets are closed only after seconds."""
    found = await _effects(push, store, scene)
    closed = [(kind, caller) for kind in MATRIX for caller in CLOSED]
    codes = await asyncio.gather(*(_closed(push, scene, kind, caller) for kind, caller in closed))
    return found | dict(zip(closed, codes, strict=True))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def streams(push: ServiceProcess, scene: Scene) -> dict[str, str]:
    """What each caller gets at push's own address of the chat's stream, at the same time."""
    base = f"http://127.0.0.1:{push.environment['PORT']}"
    async with httpx.AsyncClient(base_url=base, timeout=_DEADLINE, trust_env=False, verify=False) as http:
        found = await asyncio.gather(*(_streamed(http, scene, caller) for caller in STREAMS))
    return dict(zip(STREAMS, found, strict=True))


async def _streamed(http: httpx.AsyncClient, scene: Scene, caller: str) -> str:
    token = scene.token_of(caller, KeyRing([KEY]))
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    async with http.stream("GET", f"/v1/chats/{scene.chat_id}/stream", headers=headers) as response:
        if response.status_code != 200:
            code = json.loads(await response.aread())["code"]
            return code if code == "session_ended" else f"{response.status_code} {code}"
        if caller in ("owner", "writer", "reader"):
            return "200"
        async for line in response.aiter_lines():
            if line.startswith("data:") and '"session_ended"' in line:
                return "session_ended"
    return "200 to its end"


async def test_every_frame_has_a_row() -> None:
    assert MATRIX.keys() == {frame.__struct_config__.tag for frame in get_args(ClientFrame)}


@pytest.mark.parametrize(
    ("kind", "caller", "outcome"),
    [
        pytest.param(kind, caller, outcome, id=f"{kind} by {caller}")
        for kind, row in MATRIX.items()
        for caller, outcome in row.items()
    ],
)
async def test_a_frame_does_what_the_policy_allows(
    outcomes: dict[tuple[str, str], Outcome], kind: str, caller: str, outcome: Outcome
) -> None:
    assert outcomes[kind, caller] == outcome


@pytest.mark.parametrize("caller", STREAMS)
async def test_a_stream_of_push_is_for_who_may_read(streams: dict[str, str], caller: str) -> None:
    assert streams[caller] == STREAMS[caller]
