"""``parley keys list | create | revoke``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, time, timedelta

import msgspec

from parley.contracts import rpc
from parley.contracts.access.identity import CreateApiKey, RevokeApiKey, Scope, digest, new_api_key
from parley.contracts.ids import new_id
from parley.contracts.rpc import KeyOfUser
from parley_cli.actions import Output
from parley_cli.administration.command import ACTOR, PAGE, Action, Store, list_pages


def list_all(user_id: str | None) -> Action:
    return list_pages(rpc.FindApiKeys(user_id=user_id, limit=PAGE), _line)


def create(user_id: str, *, name: str, scopes: Sequence[Scope], last_day: date | None) -> Action:
    """Args: last_day: The last day (UTC) on which the key is valid; None: until it is revoked."""

    async def action(store: Store) -> AsyncIterator[Output]:
        prefix, secret = new_api_key()
        ends = None if last_day is None else datetime.combine(last_day, time(), UTC) + timedelta(days=1)
        request = CreateApiKey(
            user_id=user_id,
            key_id=new_id(),
            name=name,
            prefix=prefix,
            secret_digest=digest(secret),
            scopes=tuple(dict.fromkeys(scopes)),
            expires_at=ends,
            actor_id=ACTOR,
        )
        key = (await store.ask(request)).key
        yield Output({"user_id": user_id, "key": msgspec.to_builtins(key), "secret": secret}, secret)

    return action


def revoke(key_ids: list[str]) -> Action:
    async def action(store: Store) -> AsyncIterator[Output]:
        for key_id in key_ids:
            await store.ask(RevokeApiKey(user_id=None, key_id=key_id, actor_id=ACTOR))
            yield Output({"revoked": key_id}, f"{key_id} is revoked")

    return action


def _line(found: KeyOfUser) -> str:
    key = found.key
    used = "never used" if key.last_used_at is None else f"used {key.last_used_at:%Y-%m-%d %H:%M}"
    return f"{key.id}  {key.prefix}  {','.join(key.scopes):<17}  {used:<21}  {found.user_id}  {key.name}"
