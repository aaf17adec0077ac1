"""``parley usage``."""

from __future__ import annotations

from datetime import date

from parley.contracts import rpc
from parley.contracts.rpc import UsageOfUser
from parley_cli.administration.command import PAGE, Action, list_pages


def list_all(user_id: str | None, from_day: date | None, to_day: date | None) -> Action:
    return list_pages(rpc.ListUsage(user_id=user_id, from_day=from_day, to_day=to_day, limit=PAGE), _line)


def _line(found: UsageOfUser) -> str:
    usage = found.usage
    cost = "" if usage.cost is None else f"{usage.cost:.4f}"
    return (
        f"{found.user_id:<36}  {usage.answers:>7} answers  {usage.input_tokens:>11} in  "
        f"{usage.output_tokens:>11} out  {cost:>12}  {usage.model}"
    )
