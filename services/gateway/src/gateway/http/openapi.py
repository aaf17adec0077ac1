"""The OpenAPI document: FastAPI's paths and parameters, with bodies and problems as the code declares them."""

import http
import inspect
from collections.abc import Iterator
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from starlette.responses import Response

from gateway.errors import GatewayError, InternalError, Invalid, Malformed, NotAuthenticated, TooLarge, TooMany
from gateway.http.connection_limits import REFUSALS
from gateway.http.requests import JsonBody
from gateway.http.routing import StructRoute
from gateway.protocols.openai import errors as openai
from parley.contracts.problems import MEDIA_TYPE, Problem

_EVERYWHERE = (Malformed, TooLarge, TooMany, InternalError)
"""What every request can get: the limits of connections and bodies hold before there is a route."""

_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The `access_token` of a session."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "parley_session",
        "description": "The cookie that `POST /v1/session` sets; an installation adds a suffix of its own to the name.",
    },
}
_HEADERS = {
    "Location": {
        "description": "The address of what was created, or where the browser goes on.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds after which the request may succeed.",
        "schema": {"type": "integer", "minimum": 1},
    },
}

_REFUSAL_NAMES = {414: "UriTooLong", 431: "RequestHeaderFieldsTooLarge"}
"""Not those of ``http.HTTPStatus``, which differ between versions of Python."""


class Api(FastAPI):
    """FastAPI, with a document that describes structs."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            routes = [route for route in self.routes if isinstance(route, StructRoute) and route.include_in_schema]
            _describe(super().openapi(), routes)
        assert self.openapi_schema is not None
        return self.openapi_schema


def _describe(document: dict[str, Any], routes: list[StructRoute]) -> None:
    """Add to ``document`` what FastAPI cannot know: struct schemas, request bodies, responses, security."""
    types = {Problem, openai.ApiErrorBody, *(body.type for route in routes for body in _bodies(route))}
    types |= {route.reply_type for route in routes if _is_struct(route.reply_type)}
    ordered = sorted(types, key=str)
    references, schemas = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        if "description" in schema:
            # From Python 3.13 on docstrings come without their indentation.
            schema["description"] = inspect.cleandoc(schema["description"])
    reference_of = dict(zip(ordered, references, strict=True))
    problems: dict[str, Any] = {}
    for route in routes:
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            _describe_operation(operation, route, reference_of, problems)
    document["components"] = {
        "schemas": schemas,
        "responses": dict(sorted(problems.items())),
        "headers": _HEADERS,
        "securitySchemes": _SECURITY_SCHEMES,
    }


def _describe_operation(
    operation: dict[str, Any], route: StructRoute, reference_of: dict[Any, Any], problems: dict[str, Any]
) -> None:
    for body in _bodies(route):
        operation["requestBody"] = {
            "required": not body.optional,
            "content": {"application/json": {"schema": reference_of[body.type]}},
        }
    status = str(route.status_code)
    responses = operation["responses"]
    # FastAPI's own answer to a parameter that does not validate; ours is a problem.
    responses.pop("422", None)
    if route.reply_type is type(None):
        responses[status] = {"description": "Done."}
    elif _is_struct(route.reply_type):
        responses[status]["content"]["application/json"] = {"schema": reference_of[route.reply_type]}
        for additional in route.responses:
            responses[str(additional)]["content"] = responses[status]["content"]
    elif "application/json" in responses[status].get("content", {}):
        # FastAPI describes a response of its own making as a string.
        responses[status]["content"]["application/json"]["schema"] = {"type": "object"}
    if status == "303":
        responses[status] = {"description": "Redirects the browser."}
    if status in ("201", "303"):
        responses[status]["headers"] = {"Location": {"$ref": "#/components/headers/Location"}}
    errors = _errors(route)
    for error in errors:
        name, status_of_error, response = _error(error, route.path, reference_of)
        problems[name] = response
        responses.setdefault(str(status_of_error), {"$ref": f"#/components/responses/{name}"})
    for status_of_refusal, refusal in REFUSALS.items():
        if str(status_of_refusal) not in responses:
            name = _REFUSAL_NAMES[status_of_refusal]
            problems[name] = _problem_response(refusal.detail, reference_of[Problem])
            responses[str(status_of_refusal)] = {"$ref": f"#/components/responses/{name}"}
    operation["responses"] = dict(sorted(responses.items()))
    if NotAuthenticated in errors:
        operation["security"] = [{name: []} for name in _SECURITY_SCHEMES]
        if NotAuthenticated in _declared(route.endpoint):
            # The function itself looks at who asks: a session is optional.
            operation["security"].insert(0, {})


def _error(error: type[GatewayError], path: str, reference_of: dict[Any, Any]) -> tuple[str, int, dict[str, Any]]:
    """Return the name, the status and the description of an error as requests of ``path`` get it."""
    description = inspect.getdoc(error) or http.HTTPStatus(error.status).phrase
    if path.startswith(openai.PREFIX):
        name, status = f"OpenAi{error.__name__}", openai.STATUSES.get(error.status, error.status)
        content = {"application/json": {"schema": reference_of[openai.ApiErrorBody]}}
        response: dict[str, Any] = {"description": description, "content": content}
    else:
        name, status = error.__name__, error.status
        response = _problem_response(description, reference_of[Problem])
    if status in (429, 503):
        response["headers"] = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    return name, status, response


def _problem_response(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


def _is_struct(reply_type: Any) -> bool:
    return reply_type is not type(None) and not (isinstance(reply_type, type) and issubclass(reply_type, Response))


def _bodies(route: StructRoute) -> list[JsonBody[Any]]:
    return [dependency for dependency in _dependencies(route.dependant) if isinstance(dependency, JsonBody)]


def _errors(route: StructRoute) -> list[type[GatewayError]]:
    errors: set[type[GatewayError]] = {*_EVERYWHERE, *_declared(route.endpoint)}
    for dependency in _dependencies(route.dependant):
        errors.update(_declared(dependency))
    if route.dependant.query_params:
        errors.add(Invalid)
    return sorted(errors, key=lambda error: error.status)


def _declared(function: Any) -> tuple[type[GatewayError], ...]:
    declared: tuple[type[GatewayError], ...] = getattr(function, "raises", ())
    return declared


def _dependencies(dependant: Dependant) -> Iterator[Any]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from _dependencies(dependency)
