"""The frames of the websocket protocol, version 1 (``docs/protocol.md``). Server-sent events carry the same.

``Delta`` and ``Generation`` also travel on ``live.<chat>.delta`` and ``live.<chat>.generation``, encoded exactly as the
frame, so that push forwards the bytes as they came.
"""

from datetime import datetime
from typing import Final, Literal

import msgspec

from parley.contracts.completion import Span, ToolCall, ToolDelta
from parley.contracts.resources import Chat, ChatSummary, Message, MessageError

PROTOCOL: Final = 1

Kind = Literal["text", "reasoning"]


class _Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    pass


# --- from the client ------------------------------


class Auth(_Frame, frozen=True, kw_only=True, tag="auth"):
    """The first frame, within 10 s: a ticket from ``POST /v1/push-ticket``.

    Attributes:
        chats: Whether to follow the user's list of chats (``listed``, ``relist``, ``invitations``), too.
    """

    ticket: str
    chats: bool = False


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader already has. Without ``generation_id`` it has no running answer."""

    version: int
    generation_id: str | None = None
    attempt: int = 0
    seq: int = 0


class Watch(_Frame, frozen=True, kw_only=True, tag="watch"):
    """Follow a chat. With ``after``, only what the reader has not seen is sent; null asks for everything."""

    chat_id: str
    after: Cursor | None = None


class Unwatch(_Frame, frozen=True, kw_only=True, tag="unwatch"):
    chat_id: str


class Typing(_Frame, frozen=True, kw_only=True, tag="typing"):
    """The user writes a message in a watched chat; sent again each three seconds while that is so."""

    chat_id: str


ClientFrame = Auth | Watch | Unwatch | Typing


# --- from the server ------------------------------


class Ready(_Frame, frozen=True, kw_only=True, tag="ready"):
    user_id: str
    protocol: int = PROTOCOL


class RunningAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The running answer within a snapshot.

    Attributes:
        attempt: 0 while no worker has claimed it.
        after: 0: ``text`` and ``reasoning`` are whole, replace. Else they start behind seq ``after``: append.
        seq: The number of the last chunk in ``text`` and ``reasoning``.
        tool_calls: All calls of tools until ``seq``, whatever ``after`` is: replace, unless ``seq`` is ``after`` (then
            nothing came, and the reader's stay).
        layout: The order of text, reasoning and calls until ``seq``: replace it like ``tool_calls``. Empty: reasoning,
            text, calls.
    """

    generation_id: str
    message_id: str
    attempt: int
    status: Literal["requested", "running", "retrying"]
    seq: int
    after: int
    text: str
    reasoning: str
    tool_calls: list[ToolCall] = []
    layout: list[Span] = []


class Snapshot(_Frame, frozen=True, kw_only=True, tag="snapshot"):
    """Brings a reader up to date.

    Attributes:
        recovered: True: ``messages`` are those that changed since the cursor. False: the newest page; replace.
        next: Where older messages go on (``before=`` of ``GET …/messages``); null at the chat's beginning, and
            when ``recovered``.
    """

    chat_id: str
    version: int
    recovered: bool
    chat: Chat
    messages: list[Message]
    generation: RunningAnswer | None
    next: str | None = None


class MessageFrame(_Frame, frozen=True, kw_only=True, tag="message"):
    """A message was added or changed. A terminal status of an answer means that it is stored."""

    chat_id: str
    version: int
    message: Message


class Generation(_Frame, frozen=True, kw_only=True, tag="generation"):
    """A new attempt started (drop the text of older ones), or the worker waits before it tries again.

    At most once, in order with the deltas of its attempt.
    """

    chat_id: str
    generation_id: str
    message_id: str
    attempt: int
    status: Literal["started", "retrying"]
    retry_at: datetime | None = None


class Delta(_Frame, frozen=True, kw_only=True, omit_defaults=True, tag="delta"):
    """The newest chunks of the running answer: the content of one read from the provider.

    ``from``–``to`` number the model's chunks within the attempt, from 1, without a gap, over both kinds.
    At most once, in order; whoever misses one asks the worker (``rpc.generation.<id>.snapshot``).

    Attributes:
        tool: News of a tool call, which is a chunk like any other; ``kind`` is then ``text``, and ``text`` is empty.
    """

    chat_id: str
    generation_id: str
    attempt: int
    from_: int = msgspec.field(name="from")
    to: int
    kind: Kind
    text: str
    tool: ToolDelta | None = None
    v: int = 1


class ChatFrame(_Frame, frozen=True, kw_only=True, tag="chat"):
    """The chat itself changed; null: it was deleted, or the reader was removed from it."""

    chat_id: str
    version: int
    chat: Chat | None


class Listed(_Frame, frozen=True, kw_only=True, tag="listed"):
    """What the user's list shows of a chat changed, or the chat is new there.

    At most once; sent to the user's sockets that asked for ``chats``, whatever they watch.

    Attributes:
        version: The chat's version. One that is not higher than what the reader has is old.
        chat: Null: the chat was deleted, or the user is no member any more.
    """

    chat_id: str
    version: int
    chat: ChatSummary | None


class Relist(_Frame, frozen=True, kw_only=True, tag="relist"):
    """The list of chats may have changed unseen: read it again (``GET /v1/chats``), and the invitations.

    Attributes:
        within: Seconds; wait a random part of them before, for all readers are notified at once.
    """

    within: float = 0.0


class Invitations(_Frame, frozen=True, kw_only=True, tag="invitations"):
    """The user was invited to a chat, or an invitation changed or is gone: read them again (``GET /v1/invitations``).

    At most once; sent to the user's sockets that asked for ``chats``. ``Relist`` says it, too.
    """


PresenceState = Literal["reading", "writing"]


class PresentUser(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a shared chat who has it open.

    Attributes:
        state: ``writing`` for some seconds after a ``typing`` frame.
    """

    user_id: str
    state: PresenceState


class Presence(_Frame, frozen=True, kw_only=True, tag="presence"):
    """Who has a shared chat open now, the reader included: replaces what was known.

    At most once; sent after the snapshot and after changes, not to a reader who cannot take more, who gets it later.
    """

    chat_id: str
    users: list[PresentUser]


class Rejected(_Frame, frozen=True, kw_only=True, tag="rejected"):
    """A prompt of this user, accepted with 202, could not be stored. Sent to all of the user's sockets.

    At most once; ``GET …/messages/{message_id}`` returns the same for a week.
    """

    chat_id: str
    message_id: str
    error: MessageError


class Error(_Frame, frozen=True, kw_only=True, omit_defaults=True, tag="error"):
    """Something asked for was refused; the socket stays open."""

    code: str
    message: str
    chat_id: str | None = None


ServerFrame = (
    Ready
    | Snapshot
    | MessageFrame
    | Generation
    | Delta
    | ChatFrame
    | Listed
    | Relist
    | Invitations
    | Presence
    | Rejected
    | Error
)


# --- close codes ------------------------------


class CloseCode:
    """Why push closes a socket. 1001 and 4000–4399: reconnect, with backoff and full jitter. 4400–4499: do not.

    ``SESSION_ENDED``: nor with a ticket of the same session or API key; whoever used it is signed out.
    """

    GOING_AWAY: Final = 1001
    DRAINING: Final = 4000
    TOO_SLOW: Final = 4001
    TICKET_EXPIRED: Final = 4002
    BAD_FRAME: Final = 4400
    NOT_AUTHENTICATED: Final = 4401
    FORBIDDEN: Final = 4403
    SESSION_ENDED: Final = 4410
    TOO_MANY: Final = 4429
