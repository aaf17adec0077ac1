"""The authorization policy of HTTP, sockets, event streams and requests on the bus.

A role in a chat allows actions on it; the scopes of an API key limit its user; administrators manage users, and cannot
read chats of which they are not members. A user who may not read a chat gets the same reply as for a chat that does
not exist.
"""

from collections.abc import Collection, Mapping
from typing import Final, Literal

from parley.contracts.access.identity import Principal, Scope
from parley.contracts.resources import Role

ChatAction = Literal["read", "write", "rename", "invite", "share", "hand_over", "delete"]
"""``write``: send, regenerate, stop, and delete one's own queued prompts. ``rename``: title, model, system prompt."""

AccountAction = Literal["read", "write", "openai", "account", "administer"]
"""``account``: sessions, keys, export, erasure of oneself; never with an API key. ``administer``: ``/v1/admin``.
``openai``: the routes of other protocols."""

_READ: Final[frozenset[ChatAction]] = frozenset({"read"})
_WRITE: Final[frozenset[ChatAction]] = _READ | {"write", "rename"}

CHAT_ACTIONS: Final[Mapping[Role, frozenset[ChatAction]]] = {
    "owner": _WRITE | {"invite", "share", "hand_over", "delete"},
    "writer": _WRITE,
    "reader": _READ,
}


def may_in_chat(role: Role | None, action: ChatAction) -> bool:
    """Whether a member with this role (None: no member) may do this in a chat."""
    return role is not None and action in CHAT_ACTIONS[role]


def may_delete_prompt(role: Role | None, user_id: str, author_id: str | None) -> bool:
    """Whether a member may delete a queued prompt: its author, while the author may write, and the owner."""
    return role == "owner" or (user_id == author_id and may_in_chat(role, "write"))


def scope_allows(scopes: Collection[Scope], action: AccountAction) -> bool:
    """Whether an API key with these scopes may be used for this. ``write`` includes ``read`` and ``openai``."""
    if action in ("read", "openai"):
        return action in scopes or "write" in scopes
    return action in scopes


def may(principal: Principal, action: AccountAction) -> bool:
    """Return whether a principal may do this, whatever the chat."""
    if principal.user.disabled:
        return False
    if action == "administer" and principal.user.role != "administrator":
        return False
    if principal.key_id is not None:
        return scope_allows(principal.scopes, action)
    return True
