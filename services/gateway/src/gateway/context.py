"""The context of the routes: built once by :mod:`gateway.app`, injected by a dependency."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from gateway.answers.reader import AnswerReader
from gateway.answers.turns import Turns
from gateway.auth.audit import Audit
from gateway.auth.foreign_tokens import ForeignTokens
from gateway.auth.identities import Identities
from gateway.auth.oidc import OidcProvider
from gateway.auth.proxy_users import ProxyUsers
from gateway.auth.rate_limit import RateLimiter
from gateway.bus.connection import Bus
from gateway.bus.store_client import StoreClient
from gateway.http.event_stream import EventStreams
from gateway.http.static_files import WebPage
from gateway.settings import Settings
from parley.contracts.access.models import ModelCatalog
from parley.runtime.tokens import KeyRing


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """What the routes use.

    Attributes:
        exports: The users whose exports are running.
        cookie_names: The session's cookie is set under the first, and read under all.
        foreign_tokens, proxy_users, oidc: None where ``AUTH_MODES`` has not the mode.
    """

    settings: Settings
    keys: KeyRing
    cookie_names: tuple[str, ...]
    bus: Bus
    store: StoreClient
    identities: Identities
    audit: Audit
    foreign_tokens: ForeignTokens | None
    proxy_users: ProxyUsers | None
    oidc: OidcProvider | None
    turns: Turns
    answers: AnswerReader
    streams: EventStreams
    page: WebPage
    models: ModelCatalog
    writes: RateLimiter
    guests: RateLimiter
    requests: RateLimiter
    shared: RateLimiter
    exports: set[str]

    async def problems(self) -> dict[str, str]:
        """Why this process is not ready, by name of the dependency."""
        problems = self.bus.problems
        if self.streams.closing:
            problems["process"] = "shutting down"
        return problems


async def _gateway_of(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDependency = Annotated[Gateway, Depends(_gateway_of)]
