"""An answer as a sequence of numbered events, from which each protocol's own events are made. No I/O.

The number of an event follows from the attempt and from what the attempt holds before it, in the order in which the
model wrote. So every gateway gives it the same number, live, after a crash, and from the stored answer
(``docs/decisions/0067``). Numbers increase, with gaps, and stay below 2**53, which JavaScript can hold.
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
"""How many numbers each event has that is no :class:`PartDelta`: a protocol may make several events of it, numbered
from the event's own. An event is read again by a reader who has only some of them."""
_ATTEMPT: Final = 1 << 32
_DROPPED: Final = 0xC000_0000
_ENDED: Final = 0xE000_0000


def first_of(attempt: int) -> int:
    """Return the number of :class:`AttemptStarted`."""
    return attempt * _ATTEMPT


def attempt_of(number: int) -> int:
    """Return the attempt to which the event with this number belongs; 0: it comes before all."""
    return number // _ATTEMPT


def dropped(attempt: int) -> int:
    """Return the first number for the parts of an attempt that was given up: those that a reader has seen of it end
    here, before the next attempt starts."""
    return attempt * _ATTEMPT + _DROPPED


def ended(attempt: int) -> int:
    """Return the first number for the end of the answer; there are as many as the parts of an answer need."""
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
    """An attempt starts, which is not the first when its worker went away. The parts of those before it are void.

    Each attempt has this event, also one that no reader saw anything of.
    """

    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrying(AnswerEvent):
    """The worker waits before it asks the provider again. Not replayed: it has the number of the event before."""

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

    A status before the last one is not replayed as it was: it has the number of the event before.

    Attributes:
        index: The part's.
    """

    index: int
    call: ToolCall


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended(AnswerEvent):
    """The answer has ended, and is stored; or its prompt was rejected or deleted, and there is no answer.

    Read by every reader, whatever number it has.

    Attributes:
        message: The answer; the prompt, when there is none.
    """

    message: Message
