"""The models that answers can come from."""

from fastapi import APIRouter

from gateway.auth.authentication import Reader
from gateway.context import GatewayDependency
from gateway.http.routing import StructRoute
from gateway.routes.schemas import Models

router = APIRouter(tags=["models"], route_class=StructRoute)


@router.get("/v1/models")
async def list_models(gateway: GatewayDependency, identity: Reader) -> Models:
    """List what the provider offers, and the model of a chat that names none."""
    models = await gateway.store.list_models()
    return Models(items=models.items, default=models.default)
