"""What a client needs to know before its first request."""

import functools
import importlib.metadata

from fastapi import APIRouter
from starlette.requests import Request

from gateway.context import GatewayDependency
from gateway.http.push_url import public_push_url
from gateway.http.routing import StructRoute
from gateway.routes.schemas import Config, ContentLimits, OidcProvider, SignIn
from parley.contracts.limits import MAX_PROMPT_BYTES

router = APIRouter(tags=["config"], route_class=StructRoute)


@router.get("/v1/config")
async def show_config(request: Request, gateway: GatewayDependency) -> Config:
    """Show where push is, how users sign in, and the limits. Needs no session."""
    settings = gateway.settings
    return Config(
        push_url=public_push_url(settings, request.headers.get("host", "")),
        auth=SignIn(
            guest="guest" in settings.modes,
            oidc=OidcProvider(name=settings.oidc_name, login_url=f"{settings.base_path}/v1/auth/oidc/login")
            if "oidc" in settings.modes
            else None,
        ),
        default_model=settings.model,
        demo=settings.demo,
        version=version(),
        limits=ContentLimits(content_bytes=MAX_PROMPT_BYTES),
    )


@functools.cache
def version() -> str:
    return importlib.metadata.version("parley-gateway")
