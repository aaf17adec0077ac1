"""What the user's answers cost, in tokens and by price."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query

from gateway.auth.authentication import Reader
from gateway.context import GatewayDependency
from gateway.errors import Invalid
from gateway.http.routing import StructRoute
from gateway.routes.schemas import Page
from parley.contracts import rpc
from parley.contracts.resources import TokenUsage

router = APIRouter(tags=["usage"], route_class=StructRoute)

From = Annotated[date | None, Query(alias="from", description="The first day, in UTC.")]
To = Annotated[date | None, Query(alias="to", description="The last day, in UTC.")]


@router.get("/v1/usage")
async def show_usage(
    gateway: GatewayDependency, identity: Reader, from_day: From = None, to_day: To = None
) -> Page[TokenUsage]:
    """Sum up the tokens of the user's answers, by model; with `from` or `to`, by day and model."""
    if from_day is not None and to_day is not None and from_day > to_day:
        raise Invalid("from must not be after to.")
    by_day = from_day is not None or to_day is not None
    request = rpc.GetUsage(user_id=identity.user_id, by_day=by_day, from_day=from_day, to_day=to_day)
    return Page(items=(await gateway.store.ask(request)).items)
