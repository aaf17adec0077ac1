"""``parley keys list | create | revoke``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Final, get_args

import msgspec
import typer

from parley.contracts import rpc
from parley.contracts.access.audit import OPERATOR
from parley.contracts.access.identity import CreateApiKey, RevokeApiKey, Scope, digest, new_api_key
from parley.contracts.ids import new_id
from parley.contracts.rpc import KeyOfUser
from parley_cli.arguments import OfUser, UserId, visible
from parley_cli.commands import SETTINGS, Action, Output, bus_command

if TYPE_CHECKING:
    from parley_cli.administration.store import Store

_RUNNER: Final = "parley_cli.administration.store"
_Scope = Enum("_Scope", {scope: scope for scope in get_args(Scope)})  # type: ignore[misc]  # Typer's lists need an Enum
app = typer.Typer(**SETTINGS)


@bus_command(app, _RUNNER, "list")
def list_keys(*, user: OfUser = None) -> Action:
    """List API keys without their secrets, one line each, newest first."""

    async def action(store: Store) -> AsyncIterator[Output]:
        async for found in store.list(rpc.FindApiKeys(user_id=user)):
            yield Output(found, _line(found))

    return action


def _coming_day(value: str | date) -> date:
    """Return a day, today or later (UTC). Raises typer.BadParameter."""
    try:
        day = date.fromisoformat(str(value))
    except ValueError:
        raise typer.BadParameter(f"{value!r} is not a day such as 2027-01-31") from None
    if day < datetime.now(UTC).date():
        raise typer.BadParameter(f"{value} is in the past")
    return day


@bus_command(app, _RUNNER)
def create(
    *,
    user: UserId,
    name: Annotated[str, typer.Option(parser=visible, metavar="NAME", help="what the key is for")],
    scope: Annotated[list[_Scope], typer.Option(help="what the key may do; repeatable")],
    expires: Annotated[
        date | None, typer.Option(parser=_coming_day, metavar="DAY", help="the last day (UTC) on which it is good")
    ] = None,
) -> Action:
    """Create an API key of a user and print it. It is shown this once; chat-store has its digest only."""

    async def action(store: Store) -> AsyncIterator[Output]:
        prefix, secret = new_api_key()
        ends = None if expires is None else datetime.combine(expires, time(), UTC) + timedelta(days=1)
        request = CreateApiKey(
            user_id=user,
            key_id=new_id(),
            name=name,
            prefix=prefix,
            secret_digest=digest(secret),
            scopes=tuple(dict.fromkeys(one.value for one in scope)),
            expires_at=ends,
            actor_id=OPERATOR,
        )
        key = (await store.ask(request)).key
        yield Output({"user_id": user, "key": msgspec.to_builtins(key), "secret": secret}, secret)

    return action


@bus_command(app, _RUNNER)
def revoke(*, key: Annotated[list[str], typer.Argument(metavar="KEY", help="the key's id")]) -> Action:
    """Revoke API keys for good."""

    async def action(store: Store) -> AsyncIterator[Output]:
        for key_id in key:
            await store.ask(RevokeApiKey(user_id=None, key_id=key_id, actor_id=OPERATOR))
            yield Output({"revoked": key_id}, f"{key_id} is revoked")

    return action


def _line(found: KeyOfUser) -> str:
    key = found.key
    used = "never used" if key.last_used_at is None else f"used {key.last_used_at:%Y-%m-%d %H:%M}"
    return f"{key.id}  {key.prefix}  {','.join(key.scopes):<17}  {used:<21}  {found.user_id}  {key.name}"
