"""Probes and metrics, on the same port as everything else."""

import time

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse, Response

from gateway.context import GatewayDependency
from gateway.http.routing import StructRoute
from gateway.routes.schemas import Readiness

router = APIRouter(tags=["probes"], route_class=StructRoute)


@router.get("/healthz", response_class=PlainTextResponse)
async def health() -> Response:
    """Answer while the process runs. Depends on nothing else, or an outage of NATS would restart every gateway."""
    return PlainTextResponse("ok\n")


@router.get("/readyz", responses={503: {"description": "Not ready; `problems` gives the reason for each dependency."}})
async def ready(gateway: GatewayDependency, response: Response) -> Readiness:
    """Show whether requests should be sent here."""
    problems = await gateway.problems()
    if problems:
        response.status_code = 503
    return Readiness(ready=not problems, problems=problems, time=time.time())


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics() -> Response:
    """Show metrics for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
