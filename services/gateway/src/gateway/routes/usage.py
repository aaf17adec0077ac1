"""What the user's answers cost, in tokens and by price."""

import re
from datetime import date
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BeforeValidator

from gateway.auth.authentication import Reader
from gateway.context import GatewayDependency
from gateway.errors import Invalid
from gateway.http.routing import StructRoute
from gateway.routes.schemas import Page
from parley.contracts import rpc
from parley.contracts.resources import TokenUsage

router = APIRouter(tags=["usage"], route_class=StructRoute)

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _check_day(value: object) -> object:
    # pydantic also reads a number, as seconds since 1970.
    if isinstance(value, str) and _DAY.fullmatch(value) is None:
        raise ValueError("a day is written as 2026-11-28")
    return value


_Day = Annotated[date, BeforeValidator(_check_day)]
From = Annotated[_Day | None, Query(alias="from", description="The first day, in UTC.")]
To = Annotated[_Day | None, Query(alias="to", description="The last day, in UTC.")]


def check_days(from_day: date | None, to_day: date | None) -> None:
    """Raises: Invalid: the days are in the wrong order."""
    if from_day is not None and to_day is not None and from_day > to_day:
        raise Invalid("from must not be after to.")


@router.get("/v1/usage")
async def show_usage(
    gateway: GatewayDependency, identity: Reader, from_day: From = None, to_day: To = None
) -> Page[TokenUsage]:
    """Sum up the tokens of the user's answers, by model; with `from` or `to`, by day and model."""
    check_days(from_day, to_day)
    by_day = from_day is not None or to_day is not None
    request = rpc.GetUsage(user_id=identity.user_id, by_day=by_day, from_day=from_day, to_day=to_day)
    return Page(items=(await gateway.store.ask(request)).items)
