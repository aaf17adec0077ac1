"""What the user's answers cost, in tokens."""

from fastapi import APIRouter
from starlette.responses import Response

from gateway.auth.authentication import Reader
from gateway.context import GatewayDependency
from gateway.http.responses import json_response
from gateway.routes.schemas import Page


def add_routes(router: APIRouter) -> None:
    router.add_api_route("/v1/usage", show_usage, methods=["GET"])


async def show_usage(gateway: GatewayDependency, identity: Reader) -> Response:
    """Sum up the tokens of the user's answers, by model."""
    return json_response(Page(items=await gateway.store.usage(identity.user_id)))
