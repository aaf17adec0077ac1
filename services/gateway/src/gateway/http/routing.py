"""Routes whose bodies are structs: encoded with msgspec, and described in the OpenAPI document by their types."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, get_type_hints

import msgspec
from fastapi.routing import APIRoute
from starlette.responses import Response

from gateway.errors import GatewayError

F = TypeVar("F", bound=Callable[..., Any])

_encode = msgspec.json.Encoder().encode


def raises(*errors: type[GatewayError]) -> Callable[[F], F]:
    """Declare which errors a route or a dependency raises: they become responses in the OpenAPI document.

    A route need not declare those of its dependencies, nor those that every request can get (gateway.http.openapi).
    """

    def declare(function: F) -> F:
        vars(function)["raises"] = errors
        return function

    return declare


class StructRoute(APIRoute):
    """A route whose function returns a struct, None (a response without a body), or a response of its own making.

    As with FastAPI's models, headers and a status that the function sets on its ``response`` parameter are used.
    A struct is sent as msgspec encodes it; nothing validates it a second time.

    Attributes:
        reply_type: What the function returns.
    """

    def __init__(self, path: str, endpoint: Callable[..., Awaitable[Any]], **options: Any) -> None:
        status = options["status_code"] or 200
        options |= {"response_model": None, "status_code": status, "operation_id": endpoint.__name__}
        super().__init__(path, _respond(endpoint, status), **options)
        self.reply_type: Any = get_type_hints(endpoint)["return"]


def _respond(endpoint: Callable[..., Awaitable[Any]], status: int) -> Callable[..., Awaitable[Response]]:
    @functools.wraps(endpoint)
    async def respond(**values: Any) -> Response:
        body = await endpoint(**values)
        if isinstance(body, Response):
            return body
        given: Response | None = values.get("response")
        code = (given and given.status_code) or status
        response = Response(status_code=code)
        if body is not None:
            response = Response(_encode(body), code, media_type="application/json")
        if given is not None:
            response.raw_headers.extend(given.raw_headers)
        return response

    return respond
