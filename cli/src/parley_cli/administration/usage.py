"""``parley usage``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import TYPE_CHECKING

from parley.contracts.rpc import ListUsage, UsageOfUser
from parley_cli.commands import Action, Output

if TYPE_CHECKING:
    from parley_cli.administration.store import Store


def list_usage(user_id: str | None, from_day: date | None, to_day: date | None) -> Action:
    async def action(store: Store) -> AsyncIterator[Output]:
        async for found in store.list(ListUsage(user_id=user_id, from_day=from_day, to_day=to_day)):
            yield Output(found, _line(found))

    return action


def _line(found: UsageOfUser) -> str:
    usage = found.usage
    cost = "" if usage.cost is None else f"{usage.cost:.4f}"
    return (
        f"{found.user_id:<36}  {usage.answers:>7} answers  {usage.input_tokens:>11} in  "
        f"{usage.output_tokens:>11} out  {cost:>12}  {usage.model}"
    )
