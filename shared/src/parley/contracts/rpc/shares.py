"""Requests about share links: read-only links to a chat or to one branch of it."""

from datetime import datetime
from typing import ClassVar, Literal

import msgspec

from parley.contracts.requests import Done, ReplyBase, StoreRequest
from parley.contracts.resources import MessageStatus


class ShareLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link without its token.

    Attributes:
        live: Whether it shows messages that were written after it was created.
        tip_id: The message that the shown branch goes through; null: the branch that the chat goes on from.
    """

    id: str
    chat_id: str
    live: bool
    tip_id: str | None
    created_at: datetime


class SharedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as a link shows it: nothing about members."""

    id: str
    parent_id: str | None
    role: Literal["user", "assistant"]
    content: str
    status: MessageStatus
    model: str | None
    created_at: datetime


class ShareLinkReply(ReplyBase, frozen=True, kw_only=True, tag="share_link"):
    link: ShareLink


class ShareLinkList(ReplyBase, frozen=True, kw_only=True, tag="share_link_list"):
    items: list[ShareLink]


class SharedReply(ReplyBase, frozen=True, kw_only=True, tag="shared"):
    """A page of the shown branch, oldest first; ``next`` is the ``after`` of the page that follows."""

    title: str | None
    items: list[SharedMessage]
    next: int | None


class CreateShareLink(StoreRequest[ShareLinkReply], frozen=True, kw_only=True):
    """Create a link to a chat; owner only. ``conflict`` when the chat has too many.

    The same ``share_id`` again returns the same link.

    Attributes:
        token_digest: SHA-256 of the link's secret, which only the gateway knows.
        live: Whether it shows later messages.
        tip_id: Show the branch through this message; null: the branch that the chat goes on from.
    """

    VERB: ClassVar = "create_share_link"
    user_id: str
    chat_id: str
    share_id: str
    token_digest: str
    live: bool
    tip_id: str | None = None


class ListShareLinks(StoreRequest[ShareLinkList], frozen=True, kw_only=True):
    """List the links of a chat, newest first; owner only."""

    VERB: ClassVar = "list_share_links"
    user_id: str
    chat_id: str


class RevokeShareLink(StoreRequest[Done], frozen=True, kw_only=True):
    """Revoke a link; owner only. Already revoked: Done."""

    VERB: ClassVar = "revoke_share_link"
    user_id: str
    chat_id: str
    share_id: str


class GetShared(StoreRequest[SharedReply], frozen=True, kw_only=True):
    """Read what a link shows. Unknown, revoked, its chat deleted: ``not_found``, all the same.

    Attributes:
        after: ``next`` of the page before.
    """

    VERB: ClassVar = "get_shared"
    token_digest: str
    after: int | None = None
