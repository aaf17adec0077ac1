"""Requests of administrators and operators about users, and about the erasure of a user."""

from datetime import date
from typing import ClassVar

import msgspec

from parley.contracts.access.identity import ApiKey
from parley.contracts.requests import Done, ReplyBase, StoreRequest
from parley.contracts.resources import TokenUsage


class KeyOfUser(msgspec.Struct, frozen=True, kw_only=True):
    """An API key with whose it is."""

    user_id: str
    key: ApiKey


class UsageOfUser(msgspec.Struct, frozen=True, kw_only=True):
    """What one user used of one model; ``erased`` is the user of everybody who was erased."""

    user_id: str
    usage: TokenUsage


class KeyOfUserList(ReplyBase, frozen=True, kw_only=True, tag="key_of_user_list"):
    items: list[KeyOfUser]
    next: str | None


class UsageOfUserList(ReplyBase, frozen=True, kw_only=True, tag="usage_of_user_list"):
    items: list[UsageOfUser]
    next: str | None


class EraseUser(StoreRequest[Done], frozen=True, kw_only=True):
    """Erase a user: at once who it was, the sessions and the keys; soon after the chats and messages. Again: Done.

    Attributes:
        actor_id: Who asks for it: the user, an administrator, or ``operator``.
    """

    VERB: ClassVar = "erase_user"
    user_id: str
    actor_id: str


class FindApiKeys(StoreRequest[KeyOfUserList], frozen=True, kw_only=True):
    """List the API keys of all users, or of one, newest first."""

    VERB: ClassVar = "find_api_keys"
    user_id: str | None = None
    before: str | None = None
    limit: int = 50


class ListUsage(StoreRequest[UsageOfUserList], frozen=True, kw_only=True):
    """Sum the tokens of all users, or of one, by user and model.

    Attributes:
        from_day, to_day: The first and the last day (UTC) that count; null: no bound.
        before: ``next`` of the page before.
    """

    VERB: ClassVar = "list_usage"
    user_id: str | None = None
    from_day: date | None = None
    to_day: date | None = None
    before: str | None = None
    limit: int = 50
