"""A gateway without servers around it, called over ASGI."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.types import ASGIApp

from gateway.app import build_app, build_gateway
from gateway.settings import Settings

KEY = "k" * 40


def settings(**more: object) -> Settings:
    return Settings.model_validate({"nats_url": "nats://127.0.0.1:1", "secret_key": KEY, "rpc_seconds": 0.1, **more})


def app(**more: object) -> ASGIApp:
    return build_app(build_gateway(settings(**more)))


@asynccontextmanager
async def client(asgi: ASGIApp, **more: object) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://chat.test", **more) as http:  # type: ignore[arg-type]
        yield http
