"""The numbers of an answer's events are the same live, from a snapshot at any moment, and from the stored message."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.answers import events as e
from gateway.answers.numbering import AnswerNumbers, Gap
from parley.contracts import frames
from parley.contracts.completion import PartKind, Span, ToolCall, ToolDelta, ToolStatus
from parley.contracts.resources import Chat, Message, MessageError

CHAT, PROMPT, ANSWER, GENERATION = "chat", "prompt", "answer", "generation"
NOW = datetime(2026, 11, 29, tzinfo=UTC)
KINDS: list[PartKind] = ["text", "reasoning", "tool"]
RUNS: list[tuple[ToolStatus, ...]] = [(), ("running",), ("awaiting_approval", "running")]
RESULTS: tuple[ToolStatus, ...] = ("complete", "failed", "denied")

Chunk = tuple[frames.Kind, str] | ToolDelta
"""Text of a kind, or news of a call."""


@dataclass
class Room:
    """What push has of an attempt: the chunks so far."""

    attempt: int
    chunks: list[Chunk]
    text: dict[frames.Kind, str] = field(init=False)
    calls: list[ToolCall] = field(init=False)
    layout: list[Span] = field(init=False)

    def __post_init__(self) -> None:
        self.text, self.calls, self.layout = {"text": "", "reasoning": ""}, [], []
        for chunk in self.chunks:
            if isinstance(chunk, ToolDelta):
                if chunk.index == len(self.calls):
                    assert chunk.call is not None
                    self.calls.append(chunk.call)
                    self.layout.append(Span("tool"))
                call = chunk.call or self.calls[chunk.index]
                self.calls[chunk.index] = msgspec.structs.replace(call, arguments=call.arguments + chunk.arguments)
                continue
            kind, text = chunk
            self.text[kind] += text
            last = self.layout[-1] if self.layout else None
            if last is not None and last.kind == kind:
                self.layout[-1] = Span(last.kind, last.length + len(text))
            else:
                self.layout.append(Span(kind, len(text)))

    def snapshot(self, after: int = 0, *, upto: int | None = None, layout: bool = True) -> frames.Snapshot:
        """What a reader with the chunks up to ``after`` is sent; the text only up to the chunk ``upto``."""
        known, shown = Room(self.attempt, self.chunks[:after]), Room(self.attempt, self.chunks[:upto])
        running = frames.RunningAnswer(
            generation_id=GENERATION,
            message_id=ANSWER,
            attempt=self.attempt,
            status="running",
            seq=len(shown.chunks),
            after=after,
            text=shown.text["text"][len(known.text["text"]) :],
            reasoning=shown.text["reasoning"][len(known.text["reasoning"]) :],
            tool_calls=self.calls,
            layout=self.layout if layout else [],
        )
        return snapshot(running)

    def delta(self, seq: int) -> frames.Delta:
        """The chunk number ``seq``, from 1."""
        chunk = self.chunks[seq - 1]
        tool = chunk if isinstance(chunk, ToolDelta) else None
        kind: frames.Kind = "text" if isinstance(chunk, ToolDelta) else chunk[0]
        text = "" if isinstance(chunk, ToolDelta) else chunk[1]
        return frames.Delta(
            chat_id=CHAT,
            generation_id=GENERATION,
            attempt=self.attempt,
            from_=seq,
            to=seq,
            kind=kind,
            text=text,
            tool=tool,
        )

    @property
    def started(self) -> frames.Generation:
        return frames.Generation(
            chat_id=CHAT, generation_id=GENERATION, message_id=ANSWER, attempt=self.attempt, status="started"
        )

    def live(self) -> list[frames.ServerFrame]:
        return [self.started, *(self.delta(seq) for seq in range(1, len(self.chunks) + 1))]

    def stored(self) -> Message:
        return message(
            status="complete",
            content=self.text["text"],
            reasoning=self.text["reasoning"],
            attempt=self.attempt,
            tool_calls=self.calls,
            layout=self.layout,
        )


def message(**fields: Any) -> Message:
    values: dict[str, Any] = {
        "id": ANSWER,
        "chat_id": CHAT,
        "parent_id": PROMPT,
        "role": "assistant",
        "author_id": None,
        "content": "",
        "reasoning": "",
        "status": "pending",
        "model": None,
        "error": None,
        "usage": None,
        "created_at": NOW,
        "version": 2,
    }
    return Message(**values | fields)


def snapshot(running: frames.RunningAnswer | None = None, messages: tuple[Message, ...] = ()) -> frames.Snapshot:
    chat = Chat(
        id=CHAT,
        owner_id="user",
        title=None,
        model=None,
        system_prompt=None,
        tip_id=None,
        created_at=NOW,
        updated_at=NOW,
        version=2,
        running=True,
    )
    return frames.Snapshot(
        chat_id=CHAT, version=2, recovered=True, chat=chat, messages=list(messages), generation=running
    )


def in_message(stored: Message) -> frames.MessageFrame:
    return frames.MessageFrame(chat_id=CHAT, version=3, message=stored)


PENDING = in_message(message())


def tokens(events: list[e.AnswerEvent], after: int = -1) -> list[tuple[int, Any]]:
    """The events as a protocol sends them that makes four of each, and one of each character; without what is not
    replayed."""
    found: list[tuple[int, Any]] = []
    for event in events:
        match event:
            case e.Retrying():
                continue
            case e.CallChanged() if event.call.status not in RESULTS:
                continue
            case e.PartDelta():
                first = event.number - len(event.text) + 1
                found += ((first + at, (event.index, event.kind, char)) for at, char in enumerate(event.text))
            case _:
                assert not isinstance(event, e.PartStarted) or event.call is None or not event.call.arguments
                what: tuple[Any, ...] = (type(event), getattr(event, "index", None), getattr(event, "attempt", None))
                if isinstance(event, e.CallChanged):
                    what = (*what, event.call)
                found += ((event.number + at, (*what, at)) for at in range(e.NUMBERS))
    return [token for token in found if token[0] > after]


def read(frames_: Sequence[frames.ServerFrame], after: int = -1) -> list[e.AnswerEvent]:
    numbers = AnswerNumbers(ANSWER, after)
    return [event for frame in frames_ for event in numbers.apply(frame)]


def canonical(found: list[tuple[int, Any]], attempt: int) -> list[tuple[int, Any]]:
    """Without the parts of the attempts before ``attempt``."""
    return [
        (number, what) for number, what in found if e.attempt_of(number) in (0, attempt) or what[0] is e.AttemptStarted
    ]


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=4))) if text else []
    return [text[a:b] for a, b in pairwise([0, *places, len(text)]) if a < b]


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@st.composite
def rounds(draw: st.DrawFn, first: int) -> list[Chunk]:
    """Calls of tools that stand in one round: their arguments one after the other, then results in any order."""
    chunks: list[Chunk] = []
    results: list[tuple[int, ToolCall]] = []
    for index in range(first, first + draw(st.integers(1, 3))):
        server = draw(st.sampled_from([None, "time"]))
        arguments = draw(st.text("{}:1", max_size=8))
        pieces = draw(cut(arguments))
        call = ToolCall(id=f"call-{index}", name="clock", server=server)
        with_arguments = draw(st.booleans())
        begin = msgspec.structs.replace(call, arguments=pieces.pop(0)) if pieces and with_arguments else call
        chunks.append(ToolDelta(index=index, call=begin))
        chunks += (ToolDelta(index=index, arguments=piece) for piece in pieces)
        if server is not None:
            results.append((index, msgspec.structs.replace(call, arguments=arguments)))
    for index, call in draw(st.permutations(results)):
        for status in draw(st.sampled_from(RUNS)):
            chunks.append(ToolDelta(index=index, call=msgspec.structs.replace(call, status=status)))
        ended = msgspec.structs.replace(call, status=draw(st.sampled_from(RESULTS)), result="noon", seconds=0.5)
        chunks.append(ToolDelta(index=index, call=ended))
    return chunks


@st.composite
def attempts(draw: st.DrawFn, number: int) -> Room:
    chunks: list[Chunk] = []
    kinds: list[PartKind] = draw(st.lists(st.sampled_from(KINDS), max_size=6))
    for kind in kinds:
        if kind == "tool":
            calls = {chunk.index for chunk in chunks if isinstance(chunk, ToolDelta)}
            chunks += draw(rounds(len(calls)))
        else:
            chunks += ((kind, piece) for piece in draw(cut(draw(texts))))
    return Room(number, chunks)


@st.composite
def answers(draw: st.DrawFn) -> list[Room]:
    """The attempts of an answer; all but the last were cut off somewhere."""
    rooms = [draw(attempts(number)) for number in range(1, draw(st.integers(1, 3)) + 1)]
    for at, room in enumerate(rooms[:-1]):
        rooms[at] = Room(room.attempt, room.chunks[: draw(st.integers(0, len(room.chunks)))])
    return rooms


@given(answers())
def test_the_numbers_are_the_same_live_and_from_the_stored_message_and_increase(rooms: list[Room]) -> None:
    last = rooms[-1]
    live = tokens(read([PENDING, *(frame for room in rooms for frame in room.live()), in_message(last.stored())]))
    stored = tokens(read([in_message(last.stored())]))
    assert all(a[0] < b[0] for a, b in pairwise(live))
    assert canonical(live, last.attempt) == stored


@given(answers(), st.data())
def test_a_reader_who_joins_at_any_moment_gets_the_same_numbers(rooms: list[Room], data: st.DataObject) -> None:
    last = rooms[-1]
    stored = tokens(read([in_message(last.stored())]))
    at = data.draw(st.integers(0, len(last.chunks)))
    room = Room(last.attempt, last.chunks[:at])
    upto = data.draw(st.sampled_from([None, *range(at + 1)]))
    joined = room.snapshot(upto=upto)
    assert joined.generation is not None
    rest = [last.delta(seq) for seq in range(joined.generation.seq + 1, len(last.chunks) + 1)]
    if joined.generation.seq < at and any(isinstance(chunk, ToolDelta) for chunk in room.chunks):
        return  # push does not cut before calls
    assert tokens(read([PENDING, joined, *rest, in_message(last.stored())])) == stored


@given(answers(), st.data())
def test_a_stream_that_is_resumed_at_another_push_goes_on_where_it_was(rooms: list[Room], data: st.DataObject) -> None:
    last = rooms[-1]
    stored = tokens(read([in_message(last.stored())]))
    had = data.draw(st.integers(0, len(last.chunks)))
    now = data.draw(st.integers(0, len(last.chunks)))
    room = Room(last.attempt, last.chunks[:now])
    resumed = room.snapshot(had if had <= now and data.draw(st.booleans()) else 0)
    before = last.live()[: had + 1]
    rest = [last.delta(seq) for seq in range(now + 1, len(last.chunks) + 1)]
    assert tokens(read([PENDING, *before, resumed, *rest, in_message(last.stored())])) == stored


@given(answers(), st.data())
def test_for_every_number_what_came_up_to_it_and_a_read_after_it_make_the_whole(
    rooms: list[Room], data: st.DataObject
) -> None:
    last = rooms[-1]
    frames_ = [PENDING, *(frame for room in rooms for frame in room.live()), in_message(last.stored())]
    live = tokens(read(frames_))
    end = e.ended(last.attempt)
    after = data.draw(st.sampled_from([-1, *(number for number, _ in live)]))
    before = [token for token in live if token[0] <= after]
    at = data.draw(st.integers(0, len(last.chunks)))
    room = Room(last.attempt, last.chunks[:at])
    joined: list[frames.ServerFrame] = [
        room.snapshot(),
        *(last.delta(seq) for seq in range(at + 1, len(last.chunks) + 1)),
    ]
    ways: list[list[frames.ServerFrame]] = [
        [in_message(last.stored())],
        [PENDING, *joined, in_message(last.stored())],
        frames_,
    ]
    for resumed in ways:
        whole = before + tokens(read(resumed, after), after)
        assert all(a[0] < b[0] for a, b in pairwise(whole))
        if resumed is frames_:
            assert whole == live
        else:
            assert canonical(whole, last.attempt) == canonical(live, last.attempt)
        assert whole[-1][0] == end + e.NUMBERS - 1


@given(answers())
def test_a_snapshot_without_a_layout_is_reasoning_then_text_then_calls(rooms: list[Room]) -> None:
    last = rooms[-1]
    order = {"reasoning": 0, "text": 1}
    chunks = sorted(last.chunks, key=lambda chunk: 2 if isinstance(chunk, ToolDelta) else order[chunk[0]])
    room = Room(1, chunks)
    stored = msgspec.structs.replace(room.stored(), layout=[])
    assert tokens(read([in_message(stored)])) == tokens(read([in_message(room.stored())]))
    assert tokens(read([PENDING, room.snapshot(layout=False), in_message(stored)])) == tokens(
        read([in_message(stored)])
    )


@given(answers())
def test_a_snapshot_that_has_the_ended_answer_is_read_as_the_stored_answer_is(rooms: list[Room]) -> None:
    stored = rooms[-1].stored()
    assert tokens(read([snapshot(messages=(stored,))])) == tokens(read([in_message(stored)]))


def test_a_missing_chunk_is_a_gap_until_the_whole_comes() -> None:
    room = Room(1, [("text", "a"), ("text", "b"), ("text", "c")])
    numbers = AnswerNumbers(ANSWER)
    sent = [event for frame in (PENDING, room.started, room.delta(1)) for event in numbers.apply(frame)]
    with pytest.raises(Gap):
        numbers.apply(room.delta(3))
    for frame in (room.snapshot(), in_message(room.stored())):
        sent += numbers.apply(frame)
    assert tokens(sent) == tokens(read([in_message(room.stored())]))


def test_an_attempt_that_is_known_from_its_chunks_alone_has_its_event_after_a_gap() -> None:
    room = Room(2, [("text", "a"), ("text", "b")])
    numbers = AnswerNumbers(ANSWER)
    for frame in (PENDING, Room(1, [("text", "x")]).started):
        numbers.apply(frame)
    with pytest.raises(Gap):
        numbers.apply(room.delta(2))
    started = [event for event in numbers.apply(room.snapshot()) if isinstance(event, e.AttemptStarted)]
    assert [event.attempt for event in started] == [2]


def test_the_answer_of_a_queued_prompt_is_found_by_its_prompt() -> None:
    numbers = AnswerNumbers(PROMPT)
    other = message(id="other", parent_id="another prompt")
    assert numbers.apply(in_message(other)) == []
    assert numbers.apply(PENDING) == [e.Requested(number=0, message=message())]


@pytest.mark.parametrize("status", ["rejected", "deleted"])
def test_a_prompt_without_an_answer_ends(status: Any) -> None:
    error = MessageError(code="not_found", message="No such chat.", retryable=False)
    prompt = message(id=PROMPT, role="user", parent_id=None, status=status, error=error)
    numbers = AnswerNumbers(PROMPT)
    assert numbers.stored(prompt) == [e.Ended(number=e.ended(0), message=prompt)]
    assert numbers.has_ended()
    assert numbers.stored(prompt) == []


def test_a_part_of_which_less_is_stored_than_was_sent_still_ends() -> None:
    room = Room(1, [("text", "longer"), ("text", " than stored")])
    events = read([PENDING, *room.live(), in_message(Room(1, room.chunks[:1]).stored())])
    assert [type(event) for event in events[-2:]] == [e.PartEnded, e.Ended]
    assert events[-3].number < events[-2].number < events[-1].number


def test_a_call_of_parleys_is_shown_as_it_goes_and_the_next_one_waits_for_its_result() -> None:
    call = ToolCall(id="a", name="clock", server="time", arguments="{}")
    other = msgspec.structs.replace(call, id="b")
    done = msgspec.structs.replace(call, status="complete", result="noon")
    numbers = AnswerNumbers(ANSWER)
    chunks: list[Chunk] = [
        ToolDelta(index=0, call=call),
        ToolDelta(index=1, call=other),
        ToolDelta(index=0, call=msgspec.structs.replace(call, status="running")),
        ToolDelta(index=0, call=done),
    ]
    room = Room(1, chunks)
    kinds = [[type(event) for event in numbers.apply(frame)] for frame in (PENDING, *room.live())]
    assert kinds[2:] == [
        [e.PartStarted, e.PartDelta],
        [e.PartEnded],
        [e.CallChanged],
        [e.CallChanged, e.PartStarted, e.PartDelta],
    ]


def test_the_extra_content_of_a_call_begins_with_it() -> None:
    call = ToolCall(id="a", name="look", arguments="{}", extra_content='{"google":{}}')
    room = Room(1, [ToolDelta(index=0, call=call)])
    for sent in ([PENDING, *room.live()], [in_message(room.stored())]):
        (started,) = [event for event in read(sent) if isinstance(event, e.PartStarted)]
        assert started.call == msgspec.structs.replace(call, arguments="")


def test_waiting_for_the_provider_is_no_event_of_its_own_number() -> None:
    numbers = AnswerNumbers(ANSWER)
    numbers.apply(PENDING)
    frame = msgspec.structs.replace(Room(1, []).started, status="retrying", retry_at=NOW)
    started, retrying = numbers.apply(frame)
    assert started == e.AttemptStarted(number=e.first_of(1), attempt=1)
    assert isinstance(retrying, e.Retrying)
    assert retrying.at == NOW
