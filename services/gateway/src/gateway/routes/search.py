"""Full-text search."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from gateway.auth.authentication import Reader
from gateway.context import GatewayDependency
from gateway.errors import Invalid
from gateway.http.requests import Before, Limit, cancel_on_disconnect, check_text
from gateway.http.routing import StructRoute
from gateway.routes.schemas import Page
from parley.contracts.rpc import SearchHit
from parley.contracts.text import is_blank

router = APIRouter(tags=["search"], route_class=StructRoute)


@router.get("/v1/search")
async def search(
    request: Request,
    gateway: GatewayDependency,
    identity: Reader,
    q: Annotated[str, Query(max_length=500)],
    before: Before = None,
    limit: Limit = 20,
) -> Page[SearchHit]:
    """Search the messages of the user's chats, the best match first."""
    if is_blank(q):
        raise Invalid("q must have a visible character.")
    check_text(q, "q")
    hits = await cancel_on_disconnect(request, gateway.store.search(identity.user_id, q, before, limit))
    return Page(items=hits.items, next=hits.next)
