"""Requests of push for its rooms."""

from typing import ClassVar

import msgspec

from parley.contracts.requests import ReplyBase, StoreRequest
from parley.contracts.resources import Chat, GenerationRef, Message, Role


class SyncReply(ReplyBase, frozen=True, kw_only=True, tag="sync"):
    """The state of a chat for its room. The room, not chat-store, decides by ``members`` who may read.

    Attributes:
        recovered: True: ``messages`` changed since ``after``. False: the newest page.
        roles: Of the members; one who is not named reads and writes.
        next: Where older messages go on; null at the beginning and when ``recovered``.
    """

    version: int
    recovered: bool
    chat: Chat
    members: list[str]
    messages: list[Message]
    generation: GenerationRef | None
    next: str | None = None
    roles: dict[str, Role] = msgspec.field(default_factory=dict)


class Sync(StoreRequest[SyncReply], frozen=True, kw_only=True):
    """Read the state of a chat. With ``after``, only the messages changed since that version, if they fit a page."""

    VERB: ClassVar = "sync"
    chat_id: str
    after: int | None = None


class VersionsReply(ReplyBase, frozen=True, kw_only=True, tag="versions"):
    """Chats whose version differs, with the current one; −1: the chat is gone."""

    moved: dict[str, int]


class Versions(StoreRequest[VersionsReply], frozen=True, kw_only=True):
    """Anti-entropy: compare (chat, version) pairs; the reply names those that changed."""

    VERB: ClassVar = "versions"
    chats: dict[str, int]
