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
    app.add_exception_handler(GatewayError, _gateway_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid_parameters)
    app.add_exception_handler(Exception, _internal_error)


def request_id_of(request: Request) -> str | None:
    request_id: str | None = getattr(request.state, "request_id", None)
    return request_id


async def _gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return error_response(request.scope["path"], error, request_id_of(request))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            refusal: GatewayError = NotFound("There is nothing at this address.", headers=headers)
        case 405:
            # Starlette names the methods of the first route with this path; there may be several.
            headers["Allow"] = ", ".join(_allowed(request))
            refusal = MethodNotAllowed("This address does not take this method.", headers=headers)
        case status:
            refusal = Malformed(error.detail, status=status, headers=headers)
    return await _gateway_error(request, refusal)


def _allowed(request: Request) -> list[str]:
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.path_regex.match(request.scope["path"]):
            methods |= route.methods or set()
    return sorted(methods)


async def _invalid_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    detail = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
    return await _gateway_error(request, Invalid(detail))


async def _internal_error(request: Request, error: Exception) -> Response:
    # Starlette raises the exception again after this; the edge logs it, once.
    detail = "Something went wrong here. The log has more under this request_id."
    return await _gateway_error(request, InternalError(detail))
