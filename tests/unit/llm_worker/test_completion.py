"""A provider's stream is decoded, whatever its dialect."""

import json
import time
from typing import Any

import msgspec
import pytest

from llm_worker.provider import finish_reason
from llm_worker.provider.completion import CompletionDecoder, Piece


def event(body: Any) -> bytes:
    return b"data: " + (body if isinstance(body, bytes) else msgspec.json.encode(body)) + b"\n\n"


def chunk(finish_reason: Any = None, **delta: Any) -> bytes:
    return event({"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


DONE = event(b"[DONE]")


class Read:
    """A stream, read to its end."""

    def __init__(self, *reads: bytes, **options: Any) -> None:
        self.stream = CompletionDecoder(**options)
        pieces = [piece for read in reads for piece in self.stream.feed(read)] + self.stream.close()
        self.text = "".join(piece.text for piece in pieces if piece.kind == "text")
        self.reasoning = "".join(piece.text for piece in pieces if piece.kind == "reasoning")

    @property
    def code(self) -> str | None:
        return self.stream.error.code if self.stream.error else None

    @property
    def usage(self) -> tuple[int | None, int | None]:
        return self.stream.input_tokens, self.stream.output_tokens


def test_text_comes_out_chunk_by_chunk() -> None:
    stream = CompletionDecoder()
    assert stream.feed(chunk(role="assistant", content="") + chunk(content="Hel") + chunk(content="lo")) == [
        Piece("text", "Hel"),
        Piece("text", "lo"),
    ]
    assert not stream.ended
    assert stream.feed(chunk("stop") + DONE) == []
    assert stream.finish_reason == "stop"
    assert stream.done
    assert stream.ended


def test_text_that_cannot_be_stored_is_replaced() -> None:
    read = Read(chunk(content="a\x00b", reasoning="\x00") + chunk(content="\\u0000"))
    assert (read.text, read.reasoning) == ("a\ufffdb\\u0000", "\ufffd"), "a backslash is no NUL"


# --- where text and reasoning are ------------------------------------------------------------------------------------

MISTRAL = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "So"}]
DETAILS = [{"type": "reasoning.text", "text": "h"}, {"type": "reasoning.summary", "summary": "m"}]


@pytest.mark.parametrize(
    ("delta", "text", "reasoning"),
    [
        ({"content": None, "reasoning_content": "hm"}, "", "hm"),
        ({"content": None, "reasoning": "hm"}, "", "hm"),
        ({"content": "So", "reasoning": "hm", "reasoning_content": "hm"}, "So", "hm"),
        ({"content": "So", "reasoning": {"text": "hm"}}, "So", "hm"),
        ({"content": MISTRAL}, "So", "hm"),
        ({"content": ["So", {"type": "text", "text": " it is"}, 6, {"type": "image"}, None]}, "So it is6", ""),
        ({"content": {"type": "text", "text": "So"}}, "So", ""),
        ({"content": "", "reasoning_details": DETAILS}, "", "hm"),
        ({"content": "So", "reasoning": "hm", "reasoning_details": DETAILS}, "So", "hm"),
        ({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}], "content": "So"}, "So", ""),
        ({"content": 6}, "6", ""),
        ({"content": 0.005}, "0.005", ""),
        ({"content": True, "reasoning": False, "refusal": False}, "", ""),
        ({"refusal": "I'd rather not."}, "I'd rather not.", ""),
        ("So", "So", ""),
        ("", "", ""),
        (None, "", ""),
        ([], "", ""),
    ],
)
def test_text_and_reasoning_are_found_in_each_of_their_places(delta: Any, text: str, reasoning: str) -> None:
    read = Read(event({"choices": [{"index": 0, "delta": delta}]}) + DONE)
    assert (read.text, read.reasoning, read.code) == (text, reasoning, None)


def test_a_chunk_with_both_kinds_gives_reasoning_first() -> None:
    assert CompletionDecoder().feed(chunk(content="So", reasoning="hm")) == [
        Piece("reasoning", "hm"),
        Piece("text", "So"),
    ]


def test_the_text_of_the_older_completions_api_is_read() -> None:
    read = Read(event({"choices": [{"text": "So", "index": 0}]}) + event({"choices": [{"text": " it is"}]}) + DONE)
    assert read.text == "So it is"


def test_a_message_that_repeats_the_deltas_is_not_read() -> None:
    assert Read(event({"choices": [{"delta": {"content": "b"}, "message": {"content": "ab"}}]})).text == "b"


def test_only_the_first_choice_is_read() -> None:
    other = {"index": 1, "delta": {"content": "no"}, "finish_reason": "stop"}
    read = Read(
        event({"choices": [other, {"index": 0, "delta": {"content": "So"}}]}),
        event({"choices": [other]}),
        event({"choices": [{"index": "1", "delta": {"content": "no"}}]}),
        event({"choices": [{"index": "0", "delta": {"content": " it"}}]}),
        event({"choices": [{"index": None, "delta": {"content": " is"}}]}),
    )
    assert (read.text, read.stream.ended) == ("So it is", False)


def test_a_leading_think_tag_is_reasoning_unless_the_model_means_it() -> None:
    sent = chunk(content="<thi") + chunk(content="nk>hm</think>\n\nSo") + DONE
    assert (Read(sent).text, Read(sent).reasoning) == ("So", "hm")
    assert (Read(sent, think_tag=False).text, Read(sent, think_tag=False).reasoning) == ("<think>hm</think>\n\nSo", "")


def test_a_tag_is_text_where_reasoning_comes_apart() -> None:
    read = Read(chunk(reasoning="hm") + chunk(content="<think>a</think>") + DONE)
    assert (read.text, read.reasoning) == ("<think>a</think>", "hm")


def test_buffered_text_is_returned_at_the_end() -> None:
    assert Read(chunk(content="<thi")).text == "<thi"
    assert Read(chunk(content="<think>hm </thi")).reasoning == "hm </thi"
    assert Read(rb'data: {"choices":[{"delta":{"content":"a\ud83d"}}]}' + b"\n\n").text == "a\ufffd"


# --- characters -------------------------------------------------------------------------------------------------------


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert Read(b'data: {"choices":[{"delta":{"content":"a\xffb"}}]}\n\n').text == "a\ufffdb"


def test_half_a_character_is_replaced() -> None:
    assert Read(rb'data: {"choices":[{"delta":{"content":"a\ud83d \ude00 \ud83d\ude00"}}]}' + b"\n\n").text == (
        "a\ufffd \ufffd \U0001f600"
    )


def test_halves_of_a_character_in_two_chunks_are_one() -> None:
    def say(name: str, text: bytes) -> bytes:
        return b'data: {"choices":[{"delta":{"%b":"%b"}}]}\n\n' % (name.encode(), text)

    read = Read(
        say("content", rb"a\ud83d"), say("reasoning", rb"\ud83d"), say("content", rb"\ude00b"), say("reasoning", b"c")
    )
    assert (read.text, read.reasoning) == ("a\U0001f600b", "\ufffdc")


# --- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usages", "wanted"),
    [
        ([{"prompt_tokens": 3, "completion_tokens": 1}, {"prompt_tokens": 3, "completion_tokens": 9}, None], (3, 9)),
        ([{"prompt_tokens": "7", "completion_tokens": 3.0}], (7, 3)),
        ([{"input_tokens": 7, "output_tokens": 3}], (7, 3)),
        ([{"prompt_tokens": 26, "completion_tokens": None}, {"prompt_tokens": None, "completion_tokens": 5}], (26, 5)),
        ([{"prompt_tokens": 10**30, "completion_tokens": 2**62}], (None, None)),
        ([{"prompt_tokens": 7, "completion_tokens": 3}, {"prompt_tokens": -1, "completion_tokens": "many"}], (7, 3)),
        ([{"prompt_tokens": True, "completion_tokens": [3]}, "", [], 7, {}], (None, None)),
        ([{"prompt_tokens_details": {"cached_tokens": 0}}], (None, None)),
    ],
)
def test_the_newest_good_counts_are_the_usage(usages: list[Any], wanted: tuple[int | None, int | None]) -> None:
    sent = b"".join(event({"choices": [], "usage": usage}) for usage in usages)
    with_text = b"".join(event({"choices": [{"delta": {"content": "a"}}], "usage": usage}) for usage in usages)
    assert Read(sent).usage == wanted
    assert (Read(with_text).usage, Read(with_text).text) == (wanted, "a" * len(usages))


def test_a_number_with_thousands_of_digits_costs_no_text() -> None:
    digits = b"9" * 10_000
    assert Read(b'data: {"x":%b,"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":%b}}\n\n' % (
        digits,
        digits,
    )).text == "a"  # fmt: skip


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_stream_without_done_ends_with_its_finish_reason() -> None:
    stream = Read(chunk(content="a") + chunk("length")).stream
    assert (stream.ended, stream.done, stream.finish_reason) == (True, False, finish_reason.LENGTH)


@pytest.mark.parametrize("reason", ["", " ", None, {}, [], 7, {"matched": 2}])
def test_an_empty_reason_is_no_end(reason: Any) -> None:
    assert not Read(chunk(content="a") + chunk(reason)).stream.ended


def test_a_reason_within_an_object_is_read() -> None:
    assert Read(chunk({"type": "stop", "matched": 2})).stream.finish_reason == finish_reason.STOP


def test_text_after_a_finish_reason_counts() -> None:
    read = Read(chunk("stop", reasoning_content="hm") + chunk(content="So") + chunk("stop") + DONE)
    assert (read.text, read.reasoning) == ("So", "hm")


@pytest.mark.parametrize(
    "end", [b"data: [DONE]", b"data: [DONE] \n\n", b"data:[DONE]\r\n\r\n", b"event: x\ndata: [DONE]\n\n"]
)
def test_done_is_done_in_each_of_its_spellings(end: bytes) -> None:
    assert Read(chunk(content="a") + end).stream.done


def test_nothing_counts_after_done() -> None:
    read = Read(DONE + chunk(content="late") + event(b"garbage"))
    assert (read.text, read.code) == ("", None)


def test_the_last_event_needs_no_empty_line_but_must_be_whole() -> None:
    last = b'data: {"choices":[{"delta":{"content":"So"}}]}'
    assert Read(last).text == "So"
    assert Read(last[:-3]).text == ""
    assert Read(last[:-3]).code is None


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (event({"error": {"message": "overloaded", "type": "server_error", "code": None}}), "provider_unavailable"),
        (event({"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}), "rate_limited"),
        (event({"error": {"message": "bad gateway", "code": 502}, "choices": []}), "provider_unavailable"),
        (event({"error": {"message": "no", "code": 401}}), "provider_auth"),
        (event({"error": {"message": "no", "status_code": "401"}}), "provider_auth"),
        (event({"error": "no", "status_code": 401}), "provider_auth"),
        (event({"error": "out of memory"}), "provider_unavailable"),
        (event({"object": "error", "message": "worker died", "code": 503}), "provider_unavailable"),
        (event({"type": "error", "error": {"type": "overloaded_error"}}), "provider_unavailable"),
        (event({"code": "InvalidApiKey", "message": "Invalid API-key provided."}), "provider_auth"),
        (event({"detail": "Unauthorized"}), "provider_auth"),
        (event({"choices": [{"delta": {}, "error": {"message": "gone", "code": 502}}]}), "provider_unavailable"),
        (event({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}), "provider_auth"),
        (event({"choices": [{"delta": {}}], "x_groq": {"id": "x", "error": "over_capacity"}}), "provider_unavailable"),
        (event([{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]), "rate_limited"),
        (b'event: error\ndata: {"message": "went away"}\n\n', "provider_unavailable"),
        (b"event: error\ndata: went away\n\n", "provider_unavailable"),
        (b"event: error\ndata: {}\n\n", "provider_unavailable"),
        (b'{"error": {"message": "no data field", "code": 503}}\n\n', "provider_unavailable"),
        (event(b"<html>"), "provider_error"),
        (event(b'{"id":}]}'), "provider_error"),
    ],
)
def test_an_error_in_mid_stream_loses_no_text(sent: bytes, code: str) -> None:
    before = chunk(content="a") + chunk(reasoning="hm")
    for read in (
        Read(before + sent + DONE),
        Read(before, sent),
        Read(*((before + sent)[i : i + 1] for i in range(999))),
    ):
        assert (read.text, read.reasoning, read.code) == ("a", "hm", code)


def test_what_stands_in_the_chunk_of_an_error_is_read_too() -> None:
    read = Read(
        event({"error": {"code": 502}, "choices": [{"delta": {"content": "a"}}], "usage": {"prompt_tokens": 7}})
    )
    assert (read.text, read.usage, read.code) == ("a", (7, None), "provider_unavailable")


@pytest.mark.parametrize(
    "said",
    [
        {"error": None},
        {"error": ""},
        {"error": {}},
        {"error": []},
        {"error": False},
        {"error": {"message": "", "code": 0}},
        {"base_resp": {"status_code": 0, "status_msg": ""}},
        {"message": "queued"},
        {"type": "ping"},
        {"code": 0, "message": "ok"},
        {"status": 200, "message": "ok"},
    ],
)
def test_an_error_without_content_is_ignored(said: dict[str, Any]) -> None:
    read = Read(event(said) + event({**said, "choices": [{"delta": {"content": "a"}}]}) + DONE)
    assert (read.text, read.code) == ("a", None)


@pytest.mark.parametrize(
    "odd", [b"null", b"7", b'"a"', b"[]", b"[7]", b"{}", b'{"choices":{}}', b'{"choices":[7]}', b""]
)
def test_json_that_is_no_chunk_is_passed_over(odd: bytes) -> None:
    read = Read(chunk(content="a") + event(odd) + chunk(content="b") + DONE)
    assert (read.text, read.code) == ("ab", None)


def test_events_without_empty_lines_between_them_are_read() -> None:
    sent = chunk(content="a").strip() + b"\n" + chunk(content="b").strip() + b"\n" + DONE
    assert (Read(sent).text, Read(sent).stream.done) == ("ab", True)


def test_a_line_over_the_limit_ends_the_answer_with_what_came_before() -> None:
    whole = chunk(content="So") + b"data: " + b"x" * (5 << 20) + b"\n\n" + chunk(content="late")
    for reads in ([whole], [whole[i : i + 65_536] for i in range(0, len(whole), 65_536)]):
        read = Read(*reads)
        assert (read.text, read.code) == ("So", "provider_error")
        assert read.stream.error is not None
        assert "limit" in read.stream.error.message
        assert not read.stream.error.transient


# --- a body that is no stream -----------------------------------------------------------------------------------------


def test_a_whole_completion_in_place_of_a_stream_is_an_answer() -> None:
    body = json.dumps(
        {
            "choices": [{"message": {"content": "So", "reasoning_content": "hm"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        },
        indent=1,
    ).encode()
    for reads in ([body], [body[i : i + 1] for i in range(len(body))], [b"\n ", body, b"\n"]):
        read = Read(*reads)
        assert (read.text, read.reasoning, read.usage, read.code) == ("So", "hm", (7, 3), None)
        assert read.stream.ended


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"message": "Upstream error", "code": 502}}', "provider_unavailable"),
        (b'[{"error": {"code": 400, "message": "API key not valid."}}]', "provider_auth"),
        (b'{"choices": null, "base_resp": {"status_code": 1004, "status_msg": "login fail"}}', "provider_auth"),
        (b'{"object": "list", "data": []}', "provider_error"),
        (b"<!DOCTYPE html><html></html>", "provider_error"),
        (b'{"error": {"mess', "provider_error"),
        (b"[" * 100_000, "provider_error"),
    ],
)
def test_a_body_that_is_no_stream_is_an_error_of_its_kind(body: bytes, code: str) -> None:
    for reads in ([body], [body[i : i + 99] for i in range(0, len(body), 99)]):
        assert Read(*reads).code == code


def test_a_stream_may_begin_with_a_line_of_json() -> None:
    read = Read(b'{"queue": 3}\n\n' + chunk(content="a") + DONE)
    assert (read.text, read.code, read.stream.done) == ("a", None, True)


def test_an_empty_stream_has_neither_ended_nor_failed() -> None:
    for sent in (b"", b": ping\n\n" * 9, b"\n\n", b"upstream error: reset\n"):
        stream = Read(sent).stream
        assert (stream.ended, stream.error, stream.progress) == (False, None, 0)


def test_the_usual_chunk_stays_cheap() -> None:
    stream, read = CompletionDecoder(), chunk(content=" word")
    stream.feed(read)
    best = 1.0
    for _ in range(5):
        began = time.process_time()
        for _ in range(1000):
            stream.feed(read)
        best = min(best, (time.process_time() - began) / 1000)
    assert best < 100e-6, "measured: 8 µs"
