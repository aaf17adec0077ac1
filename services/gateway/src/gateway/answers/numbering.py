"""Numbers the events of an answer, from push's frames as they come or from the stored message. No I/O.

One state machine walks the stored message, a snapshot or the deltas part by part, and derives an event's number from
the parts before it. So the numbers are the same however an answer is read, and what a reader already has is left out by
its number alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.answers.events import (
    CALL_ENDED,
    NUMBERS,
    REQUESTED,
    AnswerEvent,
    AttemptStarted,
    CallChanged,
    Ended,
    PartDelta,
    PartEnded,
    PartStarted,
    Requested,
    Retrying,
    ended,
    first_of,
)
from parley.contracts import frames
from parley.contracts.completion import PartKind, Span, ToolCall, ToolDelta
from parley.contracts.resources import Message

ANSWERED: Final = frozenset({"complete", "stopped", "failed"})
"""The states of an answer that has ended."""

UNANSWERED: Final = frozenset({"rejected", "deleted"})
"""The states of a prompt that gets no answer."""

_NONE: Final[Mapping[PartKind, int]] = {"text": 0, "reasoning": 0}


class Gap(Exception):
    """Chunks are missing: the running answer has to be read from its beginning."""


class AnswerNumbers:
    """Makes the events of one answer that a reader does not have.

    Args:
        message_id: The answer's id, or its prompt's while there is no answer yet.
        after: The number up to which the reader has everything; -1: nothing.
    """

    def __init__(self, message_id: str, after: int = -1) -> None:
        self._ended = False
        self._message_id = message_id
        self._generation_id: str | None = None
        self._last = after
        self._seq = 0
        self._parts = _Parts(0)
        self._open: PartEnded | None = None  # the end of the part whose start the reader was sent

    def has_ended(self) -> bool:
        """Whether :class:`Ended` was returned."""
        return self._ended

    def apply(self, frame: frames.ServerFrame) -> list[AnswerEvent]:
        """Return the events of a frame.

        Raises:
            Gap: a frame before this one is missing.
        """
        unsent: list[AnswerEvent] = []
        events: list[AnswerEvent] = []
        match frame:
            case frames.Delta():
                self._apply_delta(frame, events)
            case frames.MessageFrame():
                return self.stored(frame.message)
            case frames.Generation() if frame.message_id == self._message_id:
                self._generation_id = frame.generation_id
                self._begin(frame.attempt, events)
                if frame.status == "retrying" and frame.attempt == self._parts.attempt:
                    events.append(Retrying(number=max(self._last, REQUESTED), at=frame.retry_at))
            case frames.Snapshot():
                for message in frame.messages:
                    unsent += self.stored(message)
                if frame.generation is not None and frame.generation.message_id == self._message_id:
                    self._apply_running(frame.generation, events)
            case _:
                pass
        return unsent + self._unsent(events)

    def stored(self, message: Message) -> list[AnswerEvent]:
        """Return the events of a message as it is stored now; none of a message of another turn."""
        if self._ended:
            return []
        events: list[AnswerEvent] = []
        if message.role == "user":
            if message.id == self._message_id and message.status in UNANSWERED:
                self._ended = True
                events.append(Ended(number=ended(0), message=message))
            return events
        if self._message_id not in (message.id, message.parent_id):
            return events
        self._message_id = message.id
        events.append(Requested(number=REQUESTED, message=message))
        if message.status in ANSWERED:
            self._end(message, events)
        else:
            self._begin(message.attempt, events)
        return self._unsent(events)

    def _apply_delta(self, delta: frames.Delta, events: list[AnswerEvent]) -> None:
        if delta.generation_id != self._generation_id or delta.attempt < self._parts.attempt:
            return
        self._begin(delta.attempt, events)
        if delta.to <= self._seq:
            return
        if delta.from_ != self._seq + 1:
            raise Gap
        if delta.tool is not None:
            self._parts.apply(delta.tool, events)
        else:
            self._parts.append(delta.kind, delta.text, events)
        self._seq = delta.to

    def _apply_running(self, running: frames.RunningAnswer, events: list[AnswerEvent]) -> None:
        self._generation_id = running.generation_id
        if running.attempt < self._parts.attempt:
            return
        if running.after and (running.attempt, running.after) != (self._parts.attempt, self._seq):
            raise Gap
        known = self._parts.lengths if running.after else _NONE
        if running.after and not running.layout:
            self._parts.walk((), _Texts(running, _NONE), events)
        else:
            self._restart(running.attempt, events)
            self._parts.walk(running.layout, _Texts(running, known), events)
        self._seq = running.seq

    def _begin(self, attempt: int, events: list[AnswerEvent]) -> None:
        """Start ``attempt`` unless it runs already."""
        if attempt > self._parts.attempt:
            self._restart(attempt, events)

    def _restart(self, attempt: int, events: list[AnswerEvent]) -> None:
        """Start ``attempt`` from its beginning, with the events of those before it, which may have been missed."""
        self._parts = _Parts(attempt)
        self._seq = 0
        events += (AttemptStarted(number=first_of(each), attempt=each) for each in range(1, attempt + 1))

    def _end(self, message: Message, events: list[AnswerEvent]) -> None:
        self._ended = True
        # An answer that an earlier version stored has text, and the attempt 0.
        attempt = message.attempt or int(bool(message.content or message.reasoning))
        self._restart(max(attempt, self._parts.attempt), events)
        self._parts.walk(message.layout, _Texts(message, _NONE), events)
        self._parts.end(events)
        events.append(Ended(number=ended(self._parts.attempt), message=message))

    def _unsent(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        """Return those of ``events`` that the reader does not have, and record them as sent."""
        unsent: list[AnswerEvent] = []
        for event in events:
            match event:
                case PartDelta():
                    if event.number > self._last:
                        known = max(0, self._last - event.number + len(event.text))
                        unsent.append(replace(event, text=event.text[known:]) if known else event)
                        self._last = event.number
                    continue
                case Retrying():
                    unsent.append(event)
                    continue
                case CallChanged() if event.call.status not in CALL_ENDED:
                    unsent.append(event)
                    continue
                case Ended():
                    if self._open is not None:
                        # What is stored is shorter than what was sent.
                        unsent.append(replace(self._open, number=max(self._last + 1, self._open.number)))
                    unsent.append(event)
                    continue
                case _:
                    pass
            # A protocol may have sent only some of the events that it translates this one to.
            last = event.number + NUMBERS - 1
            if last <= self._last:
                continue
            self._last = last
            unsent.append(event)
            match event:
                case PartStarted():
                    call_id = None if event.call is None else event.call.id
                    self._open = PartEnded(number=0, index=event.index, kind=event.kind, call_id=call_id)
                case PartEnded() | AttemptStarted():
                    self._open = None
                case _:
                    pass
        return unsent


class _Texts:
    """Text, reasoning and calls of an answer, to be walked in the order of its layout.

    Args:
        known: How many characters of text and reasoning come before those of ``answer``.
    """

    def __init__(self, answer: Message | frames.RunningAnswer, known: Mapping[PartKind, int]) -> None:
        text = answer.content if isinstance(answer, Message) else answer.text
        self._texts: dict[PartKind, str] = {"text": text, "reasoning": answer.reasoning}
        self._known = known
        self._at: dict[PartKind, int] = dict(_NONE)
        self.calls = answer.tool_calls

    def take(self, kind: PartKind, length: int | None = None) -> tuple[int, str]:
        """Return the next characters: how many of them are known, and the others, which may be fewer than asked for."""
        at, known, text = self._at[kind], self._known[kind], self._texts[kind]
        end = known + len(text) if length is None else at + length
        self._at[kind] = min(end, known + len(text))
        return max(0, min(end, known) - at), text[max(0, at - known) : max(0, end - known)]


@dataclass(slots=True)
class _Call:
    """A call of a tool, as far as it is known.

    Attributes:
        known: How many characters of its arguments are known.
        unsent: Arguments that no event has yet.
        index: The part's; -1: it has not started.
    """

    call: ToolCall
    known: int = 0
    unsent: str = ""
    index: int = -1

    def update(self, delta: ToolDelta) -> None:
        more = delta.arguments
        if delta.call is not None:
            self.call = delta.call
            more = delta.call.arguments[self.known :] + more
        self.known += len(more)
        self.unsent += more

    @property
    def has_ended(self) -> bool:
        return self.call.status in CALL_ENDED

    def started(self) -> ToolCall:
        """Return the call as it was when it started, without arguments."""
        call = self.call
        return ToolCall(id=call.id, name=call.name, server=call.server, extra_content=call.extra_content)


class _Parts:
    """The parts of one attempt, and the number of what comes next.

    The result of a tool that Parley runs has numbers, too, and the next part starts after it: a stored answer does not
    record the order of results.
    """

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.lengths: dict[PartKind, int] = dict(_NONE)
        self._next = first_of(attempt) + NUMBERS
        self._index = -1
        self._kind: PartKind | None = None  # of the part that is open
        self._calls: list[_Call] = []
        self._started = 0  # how many of the calls have a part
        self._waiting: _Call | None = None  # for its result
        self._shown: ToolCall | None = None  # the waiting call as readers know it

    def walk(self, layout: Sequence[Span], texts: _Texts, events: list[AnswerEvent]) -> None:
        """Append ``texts`` in the order of the layout, and at the end what the layout does not name."""
        calls = 0
        for span in layout:
            if span.kind == "tool":
                if calls < len(texts.calls):
                    self.apply(ToolDelta(index=calls, call=texts.calls[calls]), events)
                    calls += 1
                continue
            known, text = texts.take(span.kind, span.length)
            self.append(span.kind, text, events, known=known)
            if known + len(text) < span.length:
                return  # a piece of a long answer: the deltas after it have the rest
        for kind in ("reasoning", "text"):
            known, text = texts.take(kind)
            self.append(kind, text, events, known=known)
        for index in range(calls, len(texts.calls)):
            self.apply(ToolDelta(index=index, call=texts.calls[index]), events)

    def append(self, kind: PartKind, text: str, events: list[AnswerEvent], *, known: int = 0) -> None:
        """Append text or reasoning; ``known`` characters, which every reader has, come before ``text``."""
        length = known + len(text)
        if not length:
            return
        self.lengths[kind] += length
        self._advance(events, force=True)
        if self._kind != kind:
            self._start(kind, events)
        self._next += known
        if text:
            self._next += len(text)
            events.append(PartDelta(number=self._next - 1, index=self._index, kind=kind, text=text))

    def apply(self, delta: ToolDelta, events: list[AnswerEvent]) -> None:
        """Apply a change of a call.

        Raises:
            Gap: the calls before it, or its beginning, are missing.
        """
        if delta.index == len(self._calls) and delta.call is not None:
            self._calls.append(_Call(delta.call))
        elif delta.index >= len(self._calls):
            raise Gap
        call = self._calls[delta.index]
        call.update(delta)
        if call.unsent and delta.index < self._started - 1:
            # From a provider that mixes the arguments of several calls. Only then do numbers differ between readers.
            self._send_arguments(call, events)
        self._advance(events)

    def end(self, events: list[AnswerEvent]) -> None:
        """End the last part: the answer has ended."""
        self._advance(events, force=True)
        self._end(events)

    def _advance(self, events: list[AnswerEvent], *, force: bool = False) -> None:
        """Make the events of calls, up to one that has no result yet.

        Args:
            force: Something follows the known calls, so that none of them waits for a result.
        """
        while True:
            if self._kind == "tool":
                call = self._calls[self._started - 1]
                self._send_arguments(call, events)
                is_last = self._started == len(self._calls)
                if is_last and not force and (call.call.server is None or call.call.status == "called"):
                    return
                self._end(events)
                if call.call.server is not None:
                    self._waiting, self._shown = call, call.call
                    self._show(call, events)
            if self._waiting is not None:
                if self._waiting.call != self._shown:
                    self._show(self._waiting, events)
                if not (self._waiting.has_ended or force):
                    return
                self._waiting = None
                self._next += NUMBERS
            if self._started == len(self._calls):
                return
            self._start("tool", events)

    def _show(self, call: _Call, events: list[AnswerEvent]) -> None:
        self._shown = call.call
        if call.call.status != "called":
            number = self._next if call.has_ended else self._next - NUMBERS
            events.append(CallChanged(number=number, index=call.index, call=call.call))

    def _start(self, kind: PartKind, events: list[AnswerEvent]) -> None:
        self._end(events)
        self._index += 1
        self._kind = kind
        call = None
        if kind == "tool":
            starting = self._calls[self._started]
            starting.index = self._index
            self._started += 1
            call = starting.started()
        events.append(PartStarted(number=self._next, index=self._index, kind=kind, call=call))
        self._next += NUMBERS

    def _send_arguments(self, call: _Call, events: list[AnswerEvent]) -> None:
        if call.unsent:
            self._next += len(call.unsent)
            number, known = self._next - 1, {"call_id": call.call.id, "server": call.call.server}
            events.append(PartDelta(number=number, index=call.index, kind="tool", text=call.unsent, **known))
            call.unsent = ""

    def _end(self, events: list[AnswerEvent]) -> None:
        if self._kind is None:
            return
        call_id = self._calls[self._started - 1].call.id if self._kind == "tool" else None
        events.append(PartEnded(number=self._next, index=self._index, kind=self._kind, call_id=call_id))
        self._kind = None
        self._next += NUMBERS
