"""What push receives over core NATS, at most once: from chat-store, repaired by versions, and from push processes."""

from typing import Final

import msgspec

from parley.contracts.frames import PresentUser
from parley.contracts.resources import Chat, ChatSummary, GenerationRef, Message, MessageError, Role

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
        roles: Of members who are new, or have another role than before.
    """

    chat_id: str
    since: int
    version: int
    chat: Chat | None
    messages: list[Message] | None
    generation: GenerationRef | None = None
    removed_members: list[str] = []
    roles: dict[str, Role] = {}
    v: int = 1


class ListChanged(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="list_changed"):
    """A chat entered or left a user's list of chats, or what the list shows of it changed.

    Sent to each member of the chat, on the member's own subject. A reader that may have missed one reads the list
    again.

    Attributes:
        chat: What the list shows of it; null when it is not the user's any more.
    """

    chat_id: str
    version: int
    chat: ChatSummary | None
    v: int = 1


class InvitationsChanged(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="invitations_changed"):
    """A user was invited to a chat, the invitation has another role, or it was accepted, declined or withdrawn.

    Sent to the invited user, on the subject of the user's list of chats.
    """

    chat_id: str
    v: int = 1


class PromptRejected(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="prompt_rejected"):
    """A prompt that was accepted could not be stored; sent for its author.

    Attributes:
        error: Why. Its code is ``chat_not_found``, ``not_a_member``, ``read_only``, ``id_taken``, ``too_many_prompts``
            or ``not_stored``.
    """

    chat_id: str
    message_id: str
    user_id: str
    error: MessageError
    v: int = 1


class PresenceReport(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="presence"):
    """The users of a push process's readers of a shared chat, published by it; empty: the last one has left.

    Attributes:
        process_id: Differs between any two push processes.
    """

    chat_id: str
    process_id: str
    users: list[PresentUser]
    v: int = 1


class TicketUsed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ticket_used"):
    """A push process let a socket in: no other lets the same ticket in.

    Attributes:
        ticket: The ticket's digest, which gives nobody a ticket.
        expires_at: When it can be forgotten (Unix time in seconds).
    """

    ticket: str
    expires_at: float
    v: int = 1
