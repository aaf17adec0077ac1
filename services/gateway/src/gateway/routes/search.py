"""Finding what was said."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.authentication import Reader
from gateway.context import GatewayDependency
from gateway.errors import Invalid
from gateway.http.requests import Before, Limit, storable, unless_gone
from gateway.http.responses import json_response
from gateway.routes.schemas import Page
from parley.contracts.text import is_blank


def add_routes(router: APIRouter) -> None:
    router.add_api_route("/v1/search", search, methods=["GET"])


async def search(
    request: Request,
    gateway: GatewayDependency,
    identity: Reader,
    q: Annotated[str, Query(max_length=500)],
    before: Before = None,
    limit: Limit = 20,
) -> Response:
    """Search the messages of the user's chats, the best match first."""
    if is_blank(q):
        raise Invalid("q must say what to search for.")
    storable(q, "q")
    hits = await unless_gone(request, gateway.store.search(identity.user_id, q, before, limit))
    return json_response(Page(items=hits.items, next=hits.next))
