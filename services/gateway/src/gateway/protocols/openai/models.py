"""``/openai/v1/models``."""

from typing import Literal

import msgspec
from fastapi import APIRouter

from gateway.auth.authentication import ProtocolReader
from gateway.auth.identities import Identity
from gateway.context import Gateway, GatewayDependency
from gateway.errors import NotFound
from gateway.http.routing import StructRoute, raises

router = APIRouter(prefix="/openai/v1/models", tags=["OpenAI"], route_class=StructRoute)


class ApiModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model. ``created`` is not known here."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "parley"


class ApiModelList(msgspec.Struct, frozen=True, kw_only=True):
    data: list[ApiModel]
    object: Literal["list"] = "list"


@router.get("")
async def list_api_models(gateway: GatewayDependency, identity: ProtocolReader) -> ApiModelList:
    """List the models that the user may use."""
    return ApiModelList(data=[ApiModel(id=name) for name in await _names(gateway, identity)])


@router.get("/{model:path}")
@raises(NotFound)
async def show_api_model(gateway: GatewayDependency, identity: ProtocolReader, model: str) -> ApiModel:
    """Show one model that the user may use."""
    if model not in await _names(gateway, identity):
        raise NotFound(f"There is no model {model!r} here.", code="model_not_found", field="model")
    return ApiModel(id=model)


async def _names(gateway: Gateway, identity: Identity) -> list[str]:
    if gateway.models:
        return [model.name for model in gateway.models.of_user(identity.groups, identity.role)]
    return (await gateway.store.list_models()).items
