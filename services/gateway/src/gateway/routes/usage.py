"""What the user's answers cost, in tokens."""

from fastapi import APIRouter

from gateway.auth.authentication import Reader
from gateway.context import GatewayDependency
from gateway.http.routing import StructRoute
from gateway.routes.schemas import Page
from parley.contracts import rpc
from parley.contracts.resources import TokenUsage

router = APIRouter(tags=["usage"], route_class=StructRoute)


@router.get("/v1/usage")
async def show_usage(gateway: GatewayDependency, identity: Reader) -> Page[TokenUsage]:
    """Sum up the tokens of the user's answers, by model."""
    usage = await gateway.store.ask(rpc.GetUsage(user_id=identity.user_id))
    return Page(items=usage.items)
