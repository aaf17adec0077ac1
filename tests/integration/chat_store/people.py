"""Users of chat-store, as a gateway makes them."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from parley.contracts import ids, rpc
from parley.contracts.access.identity import (
    ApiKey,
    CreateApiKey,
    External,
    Principal,
    ResolveSession,
    StartSession,
    digest,
)

T = TypeVar("T")

ISSUER = "https://id.example.org"


class Store(Protocol):
    """What can be asked: the service, or the fake."""

    async def ask(self, request: rpc.StoreRequest[T]) -> T: ...


async def start_session(store: Store, secret: str | None = None, **fields: Any) -> Principal:
    """Start a session; of a new guest unless ``fields`` say otherwise."""
    request: dict[str, Any] = {
        "session_id": ids.new_id(),
        "secret_digest": digest(secret or ids.new_id()),
        "new_user_id": ids.new_id(),
        "method": "guest",
        "idle_seconds": 3600.0,
        "absolute_seconds": 86400.0,
    }
    return (await store.ask(StartSession(**request | fields))).principal


async def sign_in(store: Store, subject: str, secret: str | None = None, **fields: Any) -> Principal:
    """Start a session of an external user."""
    profile = {name: fields.pop(name) for name in ("email", "name", "groups", "role") if name in fields}
    external = External(issuer=ISSUER, subject=subject, **profile)
    return await start_session(store, secret, external=external, method="oidc", **fields)


async def guest(store: Store, user_id: str | None = None) -> str:
    """Create a guest and return the id."""
    return (await start_session(store, user_id=user_id)).user.id


async def resolve(store: Store, secret: str) -> Principal:
    return (await store.ask(ResolveSession(secret_digest=digest(secret)))).principal


async def create_key(store: Store, user_id: str, secret: str, **fields: Any) -> ApiKey:
    key_id = ids.new_id()
    request: dict[str, Any] = {"key_id": key_id, "name": "a key", "prefix": key_id[-8:], "scopes": ("read",)}
    key = CreateApiKey(user_id=user_id, secret_digest=digest(secret), **request | fields)
    return (await store.ask(key)).key
