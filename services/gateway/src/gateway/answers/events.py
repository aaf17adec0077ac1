"""An answer as a sequence of numbered events, from which each protocol's own events are made. No I/O.

The number of an event is derived from the attempt and from the content of the attempt before it, so every gateway gives
it the same number: live, after a crash, and from the stored answer (``docs/decisions/0067``). Numbers increase, with
gaps, and stay below 2**53, the largest integer that JavaScript represents exactly.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from parley.contracts.completion import PartKind, ToolCall
from parley.contracts.resources import Message

REQUESTED: Final = 0
"""The number of :class:`Requested`."""

LAST: Final = (1 << 53) - 1
"""A reader who has everything up to this number gets no event but the end."""

NUMBERS: Final = 4
"""How many numbers an event other than :class:`PartDelta` has: a protocol may translate it to several events, numbered
from the event's own number. A reader who has only some of these is given the event again."""
CALL_ENDED: Final = frozenset({"complete", "failed", "denied"})
"""The states of a call that has a result."""

_ATTEMPT: Final = 1 << 32
_DROPPED: Final = 0xC000_0000
_ENDED: Final = 0xE000_0000


def result_text(call: ToolCall) -> str:
    """Return the result of a call that has ended."""
    return "The call was denied." if call.status == "denied" else call.result or ""


def first_of(attempt: int) -> int:
    """Return the number of :class:`AttemptStarted`."""
    return attempt * _ATTEMPT


def attempt_of(number: int) -> int:
    """Return the attempt of the event with this number; 0: it comes before all attempts."""
    return number // _ATTEMPT


def dropped(attempt: int) -> int:
    """Return the first number for the ends of the parts of a dropped attempt, which come before the next attempt."""
    return attempt * _ATTEMPT + _DROPPED


def ended(attempt: int) -> int:
    """Return the first number for the end of the answer, which has as many numbers as it can have parts."""
    return attempt * _ATTEMPT + _ENDED


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerEvent:
    """Attributes:
    number: A reader who has everything up to this number continues with the events after it.
    """

    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Requested(AnswerEvent):
    """The answer was requested: the first event, once."""

    message: Message


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptStarted(AnswerEvent):
    """An attempt starts: the first, or another one after a worker was lost. The parts of those before it are void.

    Each attempt has this event, even if no reader was sent anything of it.
    """

    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrying(AnswerEvent):
    """The worker waits before it asks the provider again. Not replayed: it has the number of the event before it."""

    at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PartStarted(AnswerEvent):
    """A part starts: a run of text or reasoning, or a call of a tool.

    Attributes:
        index: Counts the parts of the attempt, from 0.
        call: Of a tool: its id, name and server; its arguments follow.
    """

    index: int
    kind: PartKind
    call: ToolCall | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PartDelta(AnswerEvent):
    """More text, reasoning or arguments of a part; of text that is replayed, one large event.

    ``number`` is that of its last character, so that a reader's number can also lie within a larger event.

    Attributes:
        call_id, server: Of a tool: the call's.
    """

    index: int
    kind: PartKind
    text: str
    call_id: str | None = None
    server: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PartEnded(AnswerEvent):
    """The part is complete; its text is in the events before it, and in the stored message.

    The parts of an attempt that was dropped have none. The last part's comes with the end of the answer.
    """

    index: int
    kind: PartKind
    call_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CallChanged(AnswerEvent):
    """A tool that Parley runs has another status, or a result.

    Only the last status is replayed: an earlier one has the number of the event before it.

    Attributes:
        index: The part's.
    """

    index: int
    call: ToolCall


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended(AnswerEvent):
    """The answer has ended, and is stored; or its prompt was rejected or deleted, and there is no answer.

    Sent to every reader, whatever number it has.

    Attributes:
        message: The answer; the prompt, when there is none.
    """

    message: Message
