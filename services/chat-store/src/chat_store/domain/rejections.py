"""Prompts that were accepted (202) and are rejected: their errors, and their form for readers. No I/O."""

from datetime import datetime
from typing import Final

import msgspec

from parley.contracts.events import PromptSubmitted
from parley.contracts.limits import TOO_MANY_PROMPTS
from parley.contracts.live import PromptRejected
from parley.contracts.resources import Message, MessageError

CHAT_NOT_FOUND: Final = "chat_not_found"
CHAT_BUSY: Final = "chat_busy"
NOT_STORED: Final = "not_stored"

_ERRORS: Final = {
    error.code: error
    for error in (
        MessageError(code=CHAT_NOT_FOUND, message="The chat does not exist any more.", retryable=False),
        MessageError(code="not_a_member", message="You may not write to this chat any more.", retryable=False),
        MessageError(code="read_only", message="You may read this chat, and not write to it.", retryable=False),
        MessageError(
            code="id_taken", message="Another message has this id. Send this one with a new id.", retryable=False
        ),
        MessageError(
            code=TOO_MANY_PROMPTS, message="You sent too many messages in a minute. Send it again.", retryable=True
        ),
        MessageError(code="empty", message="The message is empty.", retryable=False),
        MessageError(
            code=CHAT_BUSY,
            message="An answer is running in this chat. Send the message again when the answer has ended.",
            retryable=True,
        ),
    )
}
_NOT_STORED: Final = MessageError(
    code=NOT_STORED, message="The message could not be stored. Send it again with a new id.", retryable=True
)


def code_of(result: str | None) -> str | None:
    """Return why a prompt was not stored; None: it was.

    Args:
        result: What :func:`chat_store.domain.prompts.submit` returned; None: there is no such chat.
    """
    if result is None:
        return CHAT_NOT_FOUND
    return result if result in _ERRORS else None


def error_of(code: str) -> MessageError:
    """Return the error for the author. An unknown code is one of a newer version."""
    return _ERRORS.get(code, _NOT_STORED)


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt that was not stored."""

    prompt: PromptSubmitted
    code: str

    def live(self) -> PromptRejected:
        prompt = self.prompt
        return PromptRejected(
            chat_id=prompt.chat_id,
            message_id=prompt.message_id,
            user_id=prompt.user_id,
            error=error_of(self.code),
        )


def rejected_message(*, chat_id: str, message_id: str, user_id: str, code: str, rejected_at: datetime) -> Message:
    """Return the state of a rejected prompt as its author sees it."""
    return Message(
        id=message_id,
        chat_id=chat_id,
        parent_id=None,
        role="user",
        author_id=user_id,
        content="",
        reasoning="",
        status="rejected",
        model=None,
        error=error_of(code),
        usage=None,
        created_at=rejected_at,
        version=0,
    )
