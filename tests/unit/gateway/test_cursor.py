"""The event id of a stream: the cursor of a reader to whom every new frame was passed on."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.http.event_cursor import Follower, Verdict, parse_event_id
from parley.contracts.frames import Cursor

CASES = json.loads((Path(__file__).parents[2] / "cases" / "frames.json").read_text())["cases"]


def frames_of_other_chats(case: dict[str, Any]) -> bool:
    # A bridge watches one chat on its socket.
    return any(step["frame"].get("chat_id", case["chat_id"]) != case["chat_id"] for step in case["steps"])


@pytest.mark.parametrize(
    "case", [case for case in CASES if not frames_of_other_chats(case)], ids=lambda case: case["name"]
)
def test_it_follows_frames_by_the_rules_of_the_clients(case: dict[str, Any]) -> None:
    follower = Follower()
    for step in case["steps"]:
        verdict = follower.follow(msgspec.json.encode(step["frame"]))
        if step["outcome"] == "gap":
            assert verdict is Verdict.GAP
        elif step["outcome"] == "applied":
            assert verdict is Verdict.NEW
        elif step["frame"]["type"] == "delta":
            # Of messages and chats a bridge keeps nothing: it passes on what a client then ignores.
            assert verdict is Verdict.OLD
    if "cursor" in case["expect"]:
        cursor = follower.cursor
        expected = case["expect"]["cursor"]
        assert (None if cursor is None else msgspec.to_builtins(cursor)) == (
            None if expected is None else msgspec.to_builtins(msgspec.convert(expected, Cursor))
        )


CHAT = "0190a000-0000-7000-8000-000000000001"
GENERATION = "0190a000-0000-7000-8000-000000000002"


def delta(first: int, last: int) -> bytes:
    frame = {"type": "delta", "chat_id": CHAT, "generation_id": GENERATION, "attempt": 1, "from": first, "to": last}
    return json.dumps(frame | {"kind": "text", "text": "x"}).encode()


def snapshot(seq: int, *, after: int = 0) -> bytes:
    running = {
        "generation_id": GENERATION,
        "message_id": CHAT,
        "attempt": 1,
        "status": "running",
        "seq": seq,
        "after": after,
        "text": "",
        "reasoning": "",
    }
    frame = {"type": "snapshot", "chat_id": CHAT, "version": 3, "recovered": after > 0, "messages": []}
    return json.dumps(frame | {"generation": running}).encode()


def test_an_event_id_comes_back_as_the_cursor_it_was() -> None:
    follower = Follower()
    follower.follow(snapshot(4))
    follower.follow(delta(5, 7))
    cursor = parse_event_id(follower.event_id)
    assert cursor == Cursor(version=3, generation_id=GENERATION, attempt=1, seq=7)


def test_a_reader_that_comes_back_goes_on_where_it_was() -> None:
    follower = Follower(Cursor(version=3, generation_id=GENERATION, attempt=1, seq=7))
    assert follower.follow(delta(8, 8)) is Verdict.OLD, "nothing counts before the snapshot"
    assert follower.follow(snapshot(8, after=7)) is Verdict.NEW
    assert follower.follow(delta(9, 9)) is Verdict.NEW


def test_after_watching_again_nothing_counts_before_the_snapshot() -> None:
    follower = Follower()
    follower.follow(snapshot(1))
    assert follower.follow(delta(3, 3)) is Verdict.GAP
    follower.watch_again()
    assert follower.follow(delta(4, 4)) is Verdict.OLD
    assert follower.cursor == Cursor(version=3, generation_id=GENERATION, attempt=1, seq=1)


@pytest.mark.parametrize("code", ["not_found", "forbidden"])
def test_it_is_over_when_the_chat_is_not_this_readers(code: str) -> None:
    follower = Follower()
    assert follower.follow(json.dumps({"type": "error", "code": code, "message": "", "chat_id": CHAT}).encode())
    assert follower.over


def test_it_is_not_over_when_something_is_not_available_for_a_while() -> None:
    follower = Follower()
    frame = json.dumps({"type": "error", "code": "unavailable", "message": ""}).encode()
    assert follower.follow(frame) is Verdict.NEW
    assert not follower.over


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x",
        "[]",
        "{}",
        '{"version":"1"}',
        "\ud800",
        "12",
        '{"version":1,"x":' + "[" * 1_000_000 + "]" * 1_000_000 + "}",
    ],
)
def test_an_event_id_that_cannot_be_read_asks_for_everything(text: str | None) -> None:
    assert parse_event_id(text) is None
