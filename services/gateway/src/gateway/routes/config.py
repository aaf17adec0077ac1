"""What a client has to know before anything else."""

import functools
import importlib.metadata

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.context import GatewayDependency
from gateway.http.push_url import public_push_url
from gateway.http.responses import json_response
from gateway.routes.schemas import Config, ContentLimits
from parley.contracts.limits import MAX_PROMPT_BYTES


def add_routes(router: APIRouter) -> None:
    router.add_api_route("/v1/config", show_config, methods=["GET"])


async def show_config(request: Request, gateway: GatewayDependency) -> Response:
    """Say where push is, whether guests may come in, and what the limits are. Needs no session."""
    settings = gateway.settings
    return json_response(
        Config(
            push_url=public_push_url(settings, request.headers.get("host", "")),
            guests=settings.guests,
            default_model=settings.model,
            demo=settings.demo,
            version=_version(),
            limits=ContentLimits(content_bytes=MAX_PROMPT_BYTES),
        )
    )


@functools.cache
def _version() -> str:
    return importlib.metadata.version("parley-gateway")
