"""Probes and metrics, on the same port as everything else."""

import time

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse, Response

from gateway.context import GatewayDependency
from gateway.http.responses import json_response


def add_routes(router: APIRouter) -> None:
    router.add_api_route("/healthz", health, methods=["GET"])
    router.add_api_route("/readyz", ready, methods=["GET"])
    router.add_api_route("/metrics", metrics, methods=["GET"])


async def health() -> Response:
    """The process runs. Looks at nothing else, or an outage of NATS would restart every gateway."""
    return PlainTextResponse("ok\n")


async def ready(gateway: GatewayDependency) -> Response:
    """Whether requests should be sent here."""
    problems = await gateway.problems()
    body = {"ready": not problems, "problems": problems, "time": time.time()}
    return json_response(body, 503 if problems else 200)


async def metrics() -> Response:
    """Metrics for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
