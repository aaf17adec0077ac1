"""Errors as ``application/problem+json`` (RFC 9457), or as OpenAI's where its API is served: the one place that maps
exceptions to responses."""

import http
import math
from collections.abc import Mapping

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.errors import GatewayError, InternalError
from gateway.protocols.openai import errors as openai
from parley.contracts.problems import MEDIA_TYPE, Problem

_CODES = {
    404: "not_found",
    405: "method_not_allowed",
}
_DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
}


def error_response(
    path: str,
    status: int,
    code: str,
    detail: str,
    *,
    request_id: str | None,
    retry_after: float | None = None,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Render an error in the shape that requests of ``path`` get.

    ``retry_after`` is rounded up to whole seconds, as the header wants it.
    """
    if path.startswith(openai.PREFIX):
        return openai.response(status, code, detail, field=field, retry_after=retry_after, headers=headers)
    headers = dict(headers or {})
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    problem = Problem(
        title=http.HTTPStatus(status).phrase, status=status, detail=detail, code=code, request_id=request_id
    )
    return Response(msgspec.json.encode(problem), status, headers, MEDIA_TYPE)


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
    return error_response(
        request.scope["path"],
        error.status,
        error.code,
        error.detail,
        request_id=request_id_of(request),
        retry_after=error.retry_after,
        field=error.field,
        headers=error.headers,
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # Starlette names the methods of the first route with this path; there may be several.
        headers["Allow"] = ", ".join(_allowed(request))
    return error_response(
        request.scope["path"],
        error.status_code,
        _CODES.get(error.status_code, "malformed"),
        _DETAILS.get(error.status_code, error.detail),
        request_id=request_id_of(request),
        headers=headers,
    )


def _allowed(request: Request) -> list[str]:
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.path_regex.match(request.scope["path"]):
            methods |= route.methods or set()
    return sorted(methods)


async def _invalid_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    detail = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
    return error_response(request.scope["path"], 422, "invalid", detail, request_id=request_id_of(request))


async def _internal_error(request: Request, error: Exception) -> Response:
    # Starlette raises the exception again after this; the edge logs it, once.
    return error_response(
        request.scope["path"],
        InternalError.status,
        InternalError.default_code,
        "Something went wrong here. The log has more under this request_id.",
        request_id=request_id_of(request),
    )
