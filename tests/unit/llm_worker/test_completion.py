"""What a provider's stream says, whatever its dialect."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_worker.provider.completion import CompletionStream, Piece
from llm_worker.errors import ProviderFailure
from parley.contracts.resources import Usage
from parley.contracts.text import storable


def event(body: Any) -> bytes:
    return b"data: " + (body if isinstance(body, bytes) else msgspec.json.encode(body)) + b"\n\n"


def chunk(finish_reason: str | None = None, **delta: Any) -> bytes:
    return event({"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


DONE = event(b"[DONE]")


def test_text_comes_out_chunk_by_chunk() -> None:
    stream = CompletionStream()
    assert stream.feed(chunk(role="assistant", content="") + chunk(content="Hel") + chunk(content="lo")) == [
        Piece("text", "Hel"),
        Piece("text", "lo"),
    ]
    assert not stream.ended
    assert stream.feed(chunk("stop") + DONE) == []
    assert stream.finish_reason == "stop"
    assert stream.done
    assert stream.ended


def test_what_no_database_keeps_is_replaced_before_anybody_reads_it() -> None:
    stream = CompletionStream()
    assert stream.feed(chunk(content="a\x00b", reasoning="\x00")) == [
        Piece("reasoning", "\ufffd"),
        Piece("text", "a\ufffdb"),
    ]
    assert stream.feed(chunk(content="\\u0000")) == [Piece("text", "\\u0000")], "a backslash, and no NUL"


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_a_kind_of_its_own_in_both_spellings(name: str) -> None:
    assert CompletionStream().feed(chunk(**{name: "hm", "content": None})) == [Piece("reasoning", "hm")]


def test_a_chunk_with_both_kinds_gives_reasoning_first() -> None:
    assert CompletionStream().feed(chunk(content="So", reasoning="hm")) == [
        Piece("reasoning", "hm"),
        Piece("text", "So"),
    ]


def test_a_refusal_is_what_the_reader_is_told() -> None:
    assert CompletionStream().feed(chunk(refusal="I'd rather not.")) == [Piece("text", "I'd rather not.")]


def test_the_last_usage_counts() -> None:
    stream = CompletionStream()
    stream.feed(event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}))
    stream.feed(event({"choices": None, "usage": {"prompt_tokens": 3, "completion_tokens": 9}}))
    stream.feed(event({"choices": [], "usage": None}))
    assert stream.usage == Usage(input_tokens=3, output_tokens=9)


def test_a_stream_without_done_ends_with_its_finish_reason() -> None:
    stream = CompletionStream()
    stream.feed(chunk(content="a") + chunk("length"))
    assert stream.ended
    assert not stream.done


def test_nothing_counts_after_done() -> None:
    stream = CompletionStream()
    assert stream.feed(DONE + chunk(content="late") + event(b"garbage")) == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (event({"error": {"message": "overloaded", "type": "server_error", "code": None}}), "provider_unavailable"),
        (event({"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}), "rate_limited"),
        (event({"error": {"message": "bad gateway", "code": 502}, "choices": []}), "provider_unavailable"),
        (event({"error": {"message": "no", "code": 401}}), "provider_auth"),
        (event({"error": "out of memory"}), "provider_unavailable"),
        (b'event: error\ndata: {"message": "went away"}\n\n', "provider_unavailable"),
        (event(b"<html>"), "provider_error"),
        (event({"choices": [{"delta": {"content": 5}}]}), "provider_error"),
    ],
)
def test_trouble_in_mid_stream_is_a_failure(sent: bytes, code: str) -> None:
    stream = CompletionStream()
    stream.feed(chunk(content="a"))
    with pytest.raises(ProviderFailure) as caught:
        stream.feed(sent)
    assert caught.value.code == code


def test_an_error_that_is_null_is_none() -> None:
    assert CompletionStream().feed(event({"error": None, "choices": [{"delta": {"content": "a"}}]})) == [
        Piece("text", "a")
    ]


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    broken = b'data: {"choices":[{"delta":{"content":"a\xffb"}}]}\n\n'
    assert CompletionStream().feed(broken) == [Piece("text", "a\ufffdb")]


def test_half_a_character_is_replaced() -> None:
    broken = rb'data: {"choices":[{"delta":{"content":"a\ud83d \ude00 \ud83d\ude00"}}]}' + b"\n\n"
    assert CompletionStream().feed(broken) == [Piece("text", "a\ufffd \ufffd \U0001f600")]


def test_an_endless_event_is_not_understood() -> None:
    stream = CompletionStream()
    stream.feed(b"x" * (3 << 20))
    with pytest.raises(ProviderFailure) as caught:
        stream.feed(b"x" * (3 << 20))
    assert caught.value.code == "provider_error"


TEXT = st.text(min_size=1, max_size=8)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["content", "reasoning_content"]), TEXT), max_size=6))
def test_a_stream_cut_at_every_byte_says_the_same(pieces: list[tuple[str, str]]) -> None:
    sent = b"".join(chunk(**{name: text}) for name, text in pieces) + chunk("stop") + DONE
    wanted = [Piece("text" if name == "content" else "reasoning", storable(text)) for name, text in pieces]
    for cut in range(len(sent) + 1):
        stream = CompletionStream()
        assert stream.feed(sent[:cut]) + stream.feed(sent[cut:]) == wanted
        assert stream.done
