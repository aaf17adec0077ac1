"""A gateway without servers around it, called over ASGI."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.types import ASGIApp

from gateway.app import build_app, build_gateway
from gateway.bus.store_client import StoreClient
from gateway.errors import Conflict, Forbidden, NotFound
from gateway.settings import Settings
from parley.contracts import rpc
from parley.contracts.access.identity import StartSession, digest
from parley.contracts.ids import new_id
from parley.runtime.tokens import KeyRing
from tests.support.chat_store.identities import FakeIdentities

KEY = "k" * 40
SECRET = "s" * 43
"""The cookie of :data:`USER`'s session."""
SESSION_ID = new_id()
USER = "0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a11"


def settings(**more: object) -> Settings:
    return Settings.model_validate({"nats_url": "nats://127.0.0.1:1", "secret_key": KEY, "rpc_seconds": 0.1, **more})


def app(*, identities: FakeIdentities | None = None, **more: object) -> ASGIApp:
    """The application; chat-store knows ``identities``, by default :data:`USER`'s session, and nothing else."""
    gateway = build_gateway(settings(**more))
    known = identities or with_session()

    async def ask(request: rpc.StoreRequest[Any]) -> Any:
        reply = known.reply(request)
        if isinstance(reply, rpc.RpcError):
            raise {"not_found": NotFound, "forbidden": Forbidden, "conflict": Conflict}[reply.code](reply.message)
        return await StoreClient.ask(gateway.store, request) if reply is None else reply

    vars(gateway.store)["ask"] = ask
    return build_app(gateway)


def with_session() -> FakeIdentities:
    """:data:`USER` with a session, whose cookie is :data:`SECRET`."""
    identities = FakeIdentities()
    identities.reply(
        StartSession(
            session_id=SESSION_ID,
            secret_digest=digest(SECRET),
            new_user_id=USER,
            method="guest",
            idle_seconds=3600,
            absolute_seconds=3600,
        )
    )
    return identities


def token(*, key: str = KEY, seconds: float = 600.0) -> str:
    """An access token of :data:`USER`'s session."""
    return KeyRing([key]).issue("access", USER, seconds, session_id=SESSION_ID)[0]


@asynccontextmanager
async def client(asgi: ASGIApp, **more: object) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://chat.test", **more) as http:  # type: ignore[arg-type]
        yield http
