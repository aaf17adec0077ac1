"""The composition root: builds the gateway's parts, starts them and ends them in order."""

import asyncio
import logging
import time

from starlette.types import ASGIApp

from gateway.answers.reader import AnswerReader
from gateway.answers.turns import Turns
from gateway.auth.audit import Audit
from gateway.auth.foreign_tokens import ForeignTokens
from gateway.auth.identities import Identities
from gateway.auth.oidc import OidcProvider
from gateway.auth.proxy_users import ProxyUsers
from gateway.auth.rate_limit import RateLimiter
from gateway.bus.access_cache import AccessCache
from gateway.bus.connection import Bus, BusClosed
from gateway.bus.publisher import PromptPublisher
from gateway.bus.store_client import StoreClient
from gateway.context import Gateway
from gateway.errors import StartupError
from gateway.http import problems
from gateway.http.event_stream import EventStreams
from gateway.http.middleware import RequestMiddleware
from gateway.http.openapi import Api
from gateway.http.routing import StructRoute
from gateway.http.server import HttpServer
from gateway.http.static_files import WebPage
from gateway.protocols.ag_ui import routes as ag_ui
from gateway.protocols.ai_sdk import routes as ai_sdk
from gateway.protocols.openai import completions, conversations, responses
from gateway.protocols.openai import models as api_models
from gateway.routes import (
    api_keys,
    chats,
    config,
    docs,
    invitations,
    members,
    messages,
    models,
    oidc,
    probes,
    search,
    sessions,
    stream,
    usage,
)
from gateway.routes.data import administration, own, shares
from gateway.settings import Settings
from parley.contracts import subjects
from parley.runtime.health import CannotListen, HealthServer
from parley.runtime.http_headers import CORS_RESPONSE_HEADERS, CORS_SECONDS
from parley.runtime.nats.errors import NotProvisioned

log = logging.getLogger(__name__)

_BUS_SECONDS = 3.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set; then finish the requests in flight and return.

    Raises:
        StartupError: the port is taken, a stream is missing, or NATS ended the connection.
    """
    gateway = build_gateway(settings)
    server = HttpServer(build_app(gateway), settings)
    try:
        async with HealthServer(settings.health_host, settings.health_port, gateway.problems):
            log.info("Listening on http://%s:%d", settings.host, server.port)
            await _run(gateway, server, stop)
    except NotProvisioned as error:
        raise StartupError(str(error), exit_code=3) from error
    except (CannotListen, BusClosed) as error:
        raise StartupError(str(error)) from error


async def _run(gateway: Gateway, server: HttpServer, stop: asyncio.Event) -> None:
    bus = asyncio.create_task(gateway.bus.run(), name="bus")
    checking = asyncio.create_task(gateway.identities.watch(), name="identities")
    serving = asyncio.create_task(server.run(), name="http")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait((bus, checking, serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        # Streams do not end by themselves, so they are closed first; then requests in flight have their time.
        gateway.streams.close()
        server.stop()
        await serving
        await gateway.streams.disconnect()
        checking.cancel()
        bus.cancel()
    # Bounded: a client that is connecting can lose the cancellation, and the life cycle repeats it.
    await asyncio.wait((bus, checking), timeout=_BUS_SECONDS)
    for task in (bus, checking):
        if task.done() and not task.cancelled():
            task.result()


def build_gateway(settings: Settings) -> Gateway:
    """Build everything that the routes use. Nothing is connected yet: that is ``gateway.bus.run``."""
    keys = settings.key_ring
    bus = Bus(settings.nats_url, "gateway", migration_wait=settings.migration_wait)
    store = StoreClient(bus, AccessCache(), settings.rpc_seconds)
    identities = Identities(store)
    streams = EventStreams(settings.push_url, keys)
    bus.subscribe(subjects.CTL_IDENTITY_REVOKED, identities.on_revoked, on_reconnected=identities.on_reconnected)
    return Gateway(
        settings=settings,
        keys=keys,
        cookie_names=settings.cookie_names,
        bus=bus,
        store=store,
        identities=identities,
        audit=Audit(bus),
        foreign_tokens=ForeignTokens(settings, identities) if "jwt" in settings.modes else None,
        proxy_users=ProxyUsers(settings, identities) if "proxy" in settings.modes else None,
        oidc=OidcProvider(settings, keys) if "oidc" in settings.modes else None,
        turns=Turns(store, PromptPublisher(bus, store, settings.publish_seconds), settings.catalog),
        answers=AnswerReader(store, streams),
        streams=streams,
        page=WebPage(settings),
        models=settings.catalog,
        writes=RateLimiter(settings.writes_per_second, settings.writes_burst),
        guests=RateLimiter(settings.guests_per_second, settings.guests_burst),
        shared=RateLimiter(settings.shared_per_second, settings.shared_burst),
        requests=RateLimiter(settings.requests_per_second, settings.requests_burst),
        exports=set(),
    )


_RESOURCES = (
    *(sessions, oidc, api_keys, own, administration, config, models),
    *(chats, messages, members, invitations, shares, stream, search, usage, probes),
    *(completions, responses, conversations, api_models, ai_sdk, ag_ui),
)

_WITHOUT_HEAD = ("stream_chat", "resume_chat", "follow_run", "sign_in", "finish_sign_in")
"""A stream has no end, and a sign-in is no resource: HEAD has nothing to report about them."""


def build_routes(base_path: str = "") -> Api:
    """Build the application with its routes alone."""
    app = Api(
        title="Parley",
        version=config.version(),
        summary="A chat backend that streams language-model answers.",
        servers=[{"url": base_path}] if base_path else None,
        # The routes themselves, not include_router(): its second matching costs each request 35 us.
        routes=[route for resource in _RESOURCES for route in resource.router.routes],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Traces and metrics are ours (parley.runtime.tracing, gateway.metrics).
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    for route in tuple(app.routes):
        if isinstance(route, StructRoute) and route.methods == {"GET"} and route.name not in _WITHOUT_HEAD:
            app.add_api_route(
                route.path, route.endpoint, methods=["HEAD"], response_model=None, include_in_schema=False
            )
    docs.add_routes(app)
    return app


def build_app(gateway: Gateway) -> ASGIApp:
    """Build the ASGI application around ``gateway``."""
    app = build_routes(gateway.settings.base_path)
    app.state.gateway = gateway
    app.router.default = gateway.page
    problems.install(app)
    settings = gateway.settings
    addresses = RateLimiter(settings.requests_per_second_per_address, settings.requests_burst_per_address)
    wrapped: ASGIApp = RequestMiddleware(
        app, settings.proxies, settings.base_path, lambda address: addresses.admit(address, time.monotonic())
    )
    if settings.origins:
        from starlette.middleware.cors import CORSMiddleware

        # Outside of all else: a page of another origin reads every response, refusals and errors included.
        wrapped = CORSMiddleware(
            wrapped,
            allow_origins=sorted(settings.origins),
            allow_credentials=True,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],
            expose_headers=CORS_RESPONSE_HEADERS,
            max_age=CORS_SECONDS,
        )
    return wrapped
