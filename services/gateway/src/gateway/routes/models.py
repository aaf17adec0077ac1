"""The models that answers can come from."""

from fastapi import APIRouter
from starlette.responses import Response

from gateway.auth.authentication import Reader
from gateway.context import GatewayDependency
from gateway.http.responses import json_response
from gateway.routes.schemas import Models


def add_routes(router: APIRouter) -> None:
    router.add_api_route("/v1/models", list_models, methods=["GET"])


async def list_models(gateway: GatewayDependency, identity: Reader) -> Response:
    """List what the provider offers, and what is used when a chat names none."""
    models = await gateway.store.models()
    return json_response(Models(items=models.items, default=models.default))
