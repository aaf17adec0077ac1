"""The Python client passes the table of cases that every client passes."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from parley_client.state import ChatState, Outcome, decode

_TABLE = json.loads((Path(__file__).parents[2] / "cases" / "frames.json").read_text())


def _seen(state: ChatState) -> dict[str, Any]:
    generation = state.generation
    return {
        "version": state.version,
        "cursor": msgspec.to_builtins(state.cursor),
        "chat": msgspec.to_builtins(state.chat),
        "deleted": state.deleted,
        "messages": msgspec.to_builtins(state.messages),
        "next": state.next,
        "generation": None
        if generation is None
        else {
            "generation_id": generation.generation_id,
            "message_id": generation.message_id,
            "attempt": generation.attempt,
            "status": generation.status,
            "seq": generation.seq,
            "text": generation.text,
            "reasoning": generation.reasoning,
            "tool_calls": msgspec.to_builtins(generation.tool_calls),
            "layout": msgspec.to_builtins(generation.layout),
            "retry_at": msgspec.to_builtins(generation.retry_at),
        },
    }


def _compare(expected: Any, seen: Any, where: str) -> None:
    if isinstance(expected, dict) and isinstance(seen, dict):
        for name, value in expected.items():
            _compare(value, seen.get(name), f"{where}.{name}")
    elif isinstance(expected, list) and isinstance(seen, list):
        assert len(expected) == len(seen), where
        for number, value in enumerate(expected):
            _compare(value, seen[number], f"{where}[{number}]")
    else:
        assert seen == expected, where


def test_the_table_is_of_a_version_that_this_test_reads() -> None:
    assert _TABLE["version"] == 1


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in _TABLE["cases"]])
def test_frames_are_merged_as_the_table_says(case: dict[str, Any]) -> None:
    state = ChatState(case["chat_id"])
    for number, step in enumerate(case["steps"]):
        frame = decode(json.dumps(step["frame"]))
        outcome = Outcome.IGNORED if frame is None else state.merge(frame)
        assert outcome.value == step["outcome"], f"step {number}"
    _compare(case["expect"], _seen(state), "state")
