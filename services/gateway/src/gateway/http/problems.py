"""Errors as ``application/problem+json`` (RFC 9457), or as OpenAI's where its API is served: the one place that maps
exceptions to responses."""

import http
import math

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.errors import GatewayError, InternalError, Invalid, Malformed, MethodNotAllowed, NotFound
from gateway.protocols.openai import errors as openai
from parley.contracts.problems import MEDIA_TYPE, Problem


def error_response(path: str, error: GatewayError, request_id: str | None = None) -> Response:
    """Render an error in the shape that requests of ``path`` get."""
    headers = dict(error.headers)
    if error.retry_after is not None:
        # The header has whole seconds.
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if path.startswith(openai.PREFIX):
        return openai.response(error, headers)
    problem = Problem(
        title=http.HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=request_id,
    )
    return Response(msgspec.json.encode(problem), error.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Respond to every exception of a route with a problem."""
    for kind in (GatewayError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _respond)


def request_id_of(request: Request) -> str | None:
    request_id: str | None = getattr(request.state, "request_id", None)
    return request_id


async def _respond(request: Request, error: Exception) -> Response:
    return error_response(request.scope["path"], _as_gateway_error(error, request), request_id_of(request))


def _as_gateway_error(error: Exception, request: Request) -> GatewayError:
    match error:
        case GatewayError():
            return error
        case RequestValidationError():
            return Invalid("; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors()))
        case HTTPException(status_code=404):
            return NotFound("There is nothing at this address.", headers=error.headers)
        case HTTPException(status_code=405):
            # Starlette names the methods of the first route with this path; there may be several.
            headers = {**(error.headers or {}), "Allow": ", ".join(_allowed(request))}
            return MethodNotAllowed("This address does not take this method.", headers=headers)
        case HTTPException():
            return Malformed(error.detail, status=error.status_code, headers=error.headers)
        case _:
            # Starlette raises the exception again after this; the edge logs it, once.
            return InternalError("Something went wrong here. The log has more under this request_id.")


def _allowed(request: Request) -> list[str]:
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.path_regex.match(request.scope["path"]):
            methods |= route.methods or set()
    return sorted(methods)
