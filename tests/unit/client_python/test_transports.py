"""The Python client: backoff, frames, problems, server-sent events."""

import msgspec
import pytest

from parley.contracts import frames
from parley_client import Api
from parley_client.backoff import Backoff
from parley_client.errors import Problem
from parley_client.events_transport import EventsLine
from parley_client.state import decode

_CHAT = "0190a000-0000-7000-8000-00000000000c"


def test_the_bound_of_the_delay_doubles_up_to_a_cap() -> None:
    backoff = Backoff(base=0.5, cap=3, draw=lambda: 1.0)
    assert [backoff.next() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    backoff.reset()
    assert backoff.next() == 0.5


def test_delays_are_drawn_from_zero_on() -> None:
    assert Backoff(draw=lambda: 0.0).next() == 0.0


def test_a_frame_of_an_unknown_type_is_none() -> None:
    assert decode('{"type":"from the future","chat_id":"x"}') is None


@pytest.mark.parametrize(("status", "transient"), [(503, True), (429, True), (502, True), (404, False), (500, False)])
def test_only_some_problems_are_worth_another_try(status: int, transient: bool) -> None:
    assert Problem(status, "code", "detail").transient is transient


async def test_events_are_read_as_the_standard_says() -> None:
    seen: list[frames.ServerFrame] = []
    async with Api("http://127.0.0.1:1") as api:
        line = EventsLine(api, _CHAT, seen.append)
        frame = frames.Error(code="x", message="a\u2028b", chat_id=_CHAT)
        for text in (
            b": a comment",
            b"id: 7",
            b"data: " + msgspec.json.encode(frame),
            b"",
            b"retry: 5",
            b"data:" + msgspec.json.encode(frame),
            b"",
            b"",
        ):
            line._line(text)
        assert seen == [frame, frame]
        assert line.last_event_id == "7"
