"""What the routes work with: built once by :mod:`gateway.app`, reached by a dependency."""

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from gateway.bridge import Bridges
from gateway.bus import Bus
from gateway.commands import Commands
from gateway.page import Page
from gateway.rate_limit import RateLimit
from gateway.settings import Settings
from gateway.store_client import StoreClient


@dataclass(frozen=True, kw_only=True)
class Gateway:
    settings: Settings
    key: str
    bus: Bus
    store: StoreClient
    commands: Commands
    bridges: Bridges
    page: Page
    writes: RateLimit
    guests: RateLimit

    def now(self) -> float:
        return time.monotonic()

    async def problems(self) -> dict[str, str]:
        """What keeps this process from being ready, by name."""
        problems = self.bus.problems
        if self.bridges.closing:
            problems["process"] = "shutting down"
        return problems


async def _gateway_of(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDependency = Annotated[Gateway, Depends(_gateway_of)]
