"""``parley users list | show | create | disable | enable | role | erase``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from parley.contracts import rpc
from parley.contracts.access.audit import OPERATOR
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
from parley_cli.arguments import UserId, visible
from parley_cli.commands import SETTINGS, Action, Output, bus_command

if TYPE_CHECKING:
    from parley_cli.administration.store import Store

_RUNNER: Final = "parley_cli.administration.store"
app = typer.Typer(**SETTINGS)


@bus_command(app, _RUNNER, "list")
def list_users(
    *, query: Annotated[str | None, typer.Argument(help="part of an id, a name or an e-mail address")] = None
) -> Action:
    """List users, one line each, newest first."""

    async def action(store: Store) -> AsyncIterator[Output]:
        async for user in store.list(ListUsers(query=query)):
            yield Output(user, _line(user))

    return action


@bus_command(app, _RUNNER)
def show(*, user: UserId) -> Action:
    """Show one user."""

    async def action(store: Store) -> AsyncIterator[Output]:
        found = (await store.ask(GetUser(user_id=user))).user
        yield Output(found, _page(found))

    return action


@bus_command(app, _RUNNER)
def create(
    *, name: Annotated[str, typer.Argument(parser=visible, metavar="NAME", help="the program or person")]
) -> Action:
    """Create a user who signs in with API keys only, and print the id. The same name is the same user."""

    async def action(store: Store) -> AsyncIterator[Output]:
        external = External(issuer=OPERATOR, subject=name, name=name)
        user = (await store.ask(ResolveExternal(external=external, new_user_id=new_id()))).principal.user
        yield Output(user, user.id)

    return action


@bus_command(app, _RUNNER)
def disable(*, user: UserId) -> Action:
    """End the sessions of a user, and let the user not sign in again."""
    return _update(UpdateUser(user_id=user, actor_id=OPERATOR, disabled=True))


@bus_command(app, _RUNNER)
def enable(*, user: UserId) -> Action:
    """Let a user who was disabled sign in again."""
    return _update(UpdateUser(user_id=user, actor_id=OPERATOR, disabled=False))


@bus_command(app, _RUNNER)
def role(
    *, user: UserId, role: Annotated[UserRole, typer.Argument(metavar="ROLE", help="user or administrator")]
) -> Action:
    """Change the role of a user; the first administrator is made by this."""
    return _update(UpdateUser(user_id=user, actor_id=OPERATOR, role=role))


def _update(request: UpdateUser) -> Action:
    async def action(store: Store) -> AsyncIterator[Output]:
        user = (await store.ask(request)).user
        yield Output(user, _line(user))

    return action


@bus_command(app, _RUNNER)
def erase(
    *,
    user: UserId,
    force: Annotated[bool, typer.Option("--force", help="do not ask: it cannot be undone")] = False,
) -> Action:
    """Erase a user: who it is, the chats, and what the user wrote in the chats of others."""
    if not force:
        typer.confirm(f"Erase {user} and everything of the user?", abort=True, err=True)

    async def action(store: Store) -> AsyncIterator[Output]:
        await store.ask(rpc.EraseUser(user_id=user, actor_id=OPERATOR))
        yield Output({"erased": user}, f"{user} is erased: chats and messages are removed within the next minutes.")

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
