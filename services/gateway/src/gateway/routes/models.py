"""The models that answers can come from."""

from fastapi import APIRouter

from gateway.auth.authentication import Reader
from gateway.context import GatewayDependency
from gateway.http.routing import StructRoute
from gateway.routes.schemas import Models, OfferedModel

router = APIRouter(tags=["models"], route_class=StructRoute)


@router.get("/v1/models")
async def list_models(gateway: GatewayDependency, identity: Reader) -> Models:
    """List the models that the user may use (by ``MODELS``, else what the provider offers), and the default."""
    if not gateway.models:
        offered = await gateway.store.list_models()
        return Models(items=offered.items, default=offered.default)
    usable = gateway.models.of_user(identity.groups, identity.role)
    default = gateway.models.default_of_user(identity.groups, identity.role)
    return Models(
        items=[model.name for model in usable],
        default=None if default is None else default.name,
        details=[
            OfferedModel(
                name=model.name,
                display_name=model.display_name or model.name,
                default=model is default,
                context_tokens=model.context_tokens,
                price=model.price,
            )
            for model in usable
        ],
    )
