"""What chat-store tells push over core NATS: at most once, healed by versions."""

from typing import Final

import msgspec

from parley.contracts.resources import Chat, GenerationRef, Message

READ_AT: Final = "Parley-Read-At"
"""Header of about one delta per answer and second: when (Unix time in seconds) the worker read it from the provider."""


class Changed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="changed"):
    """A chat changed from version ``since`` to ``version``.

    Applied by a room whose version is ``since``; a room at another version asks ``rpc.store.sync``.

    Attributes:
        chat: The chat after the change; null when it was deleted.
        messages: The messages that changed; null when they are too large to send along (ask ``sync``).
        generation: The active generation after the change.
        removed_members: Users who may no longer read.
    """

    chat_id: str
    since: int
    version: int
    chat: Chat | None
    messages: list[Message] | None
    generation: GenerationRef | None = None
    removed_members: list[str] = []
    v: int = 1
