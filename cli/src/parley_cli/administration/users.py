"""``parley users list | show | create | disable | enable | role | erase``."""

from __future__ import annotations

from collections.abc import AsyncIterator

from parley.contracts import rpc
from parley.contracts.access.identity import (
    External,
    GetUser,
    ListUsers,
    ResolveExternal,
    UpdateUser,
    User,
    UserRole,
)
from parley.contracts.ids import new_id
from parley_cli.actions import Output
from parley_cli.administration.command import ACTOR, PAGE, Action, Store, list_pages


def list_all(query: str | None) -> Action:
    return list_pages(ListUsers(query=query, limit=PAGE), _line)


def show(user_id: str) -> Action:
    async def action(store: Store) -> AsyncIterator[Output]:
        user = (await store.ask(GetUser(user_id=user_id))).user
        yield Output(user, _page(user))

    return action


def create(name: str) -> Action:
    """Create a user who has no sign-in, such as a program. The same name is the same user."""

    async def action(store: Store) -> AsyncIterator[Output]:
        external = External(issuer=ACTOR, subject=name, name=name)
        user = (await store.ask(ResolveExternal(external=external, new_user_id=new_id()))).principal.user
        yield Output(user, user.id)

    return action


def update(user_id: str, *, disabled: bool | None = None, role: UserRole | None = None) -> Action:
    async def action(store: Store) -> AsyncIterator[Output]:
        user = (await store.ask(UpdateUser(user_id=user_id, actor_id=ACTOR, disabled=disabled, role=role))).user
        yield Output(user, _line(user))

    return action


def erase(user_id: str) -> Action:
    async def action(store: Store) -> AsyncIterator[Output]:
        await store.ask(rpc.EraseUser(user_id=user_id, actor_id=ACTOR))
        yield Output(
            {"erased": user_id}, f"{user_id} is erased: chats and messages are removed within the next minutes."
        )

    return action


def _line(user: User) -> str:
    who = user.email or user.name or ("guest" if user.issuer is None else user.subject) or ""
    return f"{user.id}  {_state(user):<13}  {user.last_seen_at:%Y-%m-%d %H:%M}  {who}"


def _state(user: User) -> str:
    if user.erased:
        return "erased"
    return "disabled" if user.disabled else user.role


def _page(user: User) -> str:
    rows = {
        "id": user.id,
        "state": _state(user),
        "name": user.name,
        "email": user.email,
        "issuer": user.issuer,
        "subject": user.subject,
        "groups": ", ".join(user.groups),
        "created": f"{user.created_at:%Y-%m-%d %H:%M:%S}",
        "last seen": f"{user.last_seen_at:%Y-%m-%d %H:%M:%S}",
    }
    return "\n".join(f"{name + ':':<11} {value or ''}".rstrip() for name, value in rows.items())
