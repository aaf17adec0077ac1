"""Any legal stream, cut anywhere and with anything in it that we do not read, gives the same answer."""

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llm_worker.provider.completion import CompletionDecoder

TEXT = st.text(min_size=1, max_size=6)
COUNT = st.integers(0, 10**6)

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
"""Any JSON, and what Python's writer makes of infinities and NaN."""

IN_CHUNK = (
    "id",
    "object",
    "created",
    "model",
    "system_fingerprint",
    "service_tier",
    "provider",
    "x_groq",
    "obfuscation",
)
IN_CHOICE = ("logprobs", "native_finish_reason", "content_filter_results", "stop_reason", "token_ids", "matched_stop")
IN_DELTA = ("role", "annotations", "audio", "provider_metadata", "name", "channel", "provider_specific_fields")
IN_USAGE = ("total_tokens", "prompt_tokens_details", "completion_tokens_details", "cost", "queue_time")
_NO_CHOICES: tuple[Any, ...] = ({}, None, 7, [], [None], [{"delta": 7}])
_NO_ERRORS: tuple[Any, ...] = (None, "", {})
_NO_CHUNKS: tuple[Any, ...] = ({"object": 7}, {"type": "ping"}, [], 7, None)
SAYS_NOTHING: st.SearchStrategy[Any] = st.sampled_from(
    [
        *({"choices": choices} for choices in _NO_CHOICES),
        *({"error": error} for error in _NO_ERRORS),
        *_NO_CHUNKS,
        {"choices": [], "usage": 7},
        {"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": []}},
        {"choices": [{"index": 1, "delta": {"content": "another choice"}, "finish_reason": "stop"}]},
        {"choices": [{"delta": {"content": None, "reasoning": [], "refusal": False}, "finish_reason": ""}]},
    ]
)


@st.composite
def extra(draw: st.DrawFn, names: tuple[str, ...]) -> dict[str, Any]:
    """Fields that are not read."""
    chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    # "object" and "type" say what a chunk is when they are the word "error".
    return {name: draw(ANYTHING.filter(lambda value: value != "error")) for name in chosen}


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The chunks of a legal stream, and its content."""
    said = draw(
        st.lists(st.tuples(st.sampled_from(["content", "reasoning_content", "reasoning", "refusal"]), TEXT), max_size=5)
    )
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]}]
    chunks += [{"choices": [{"index": 0, "delta": {name: text}, "finish_reason": None}]} for name, text in said]
    reason = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    usage = draw(st.none() | st.tuples(COUNT, COUNT))
    if usage is not None:
        chunks.append({"choices": [], "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1]}})

    def joined(*names: str) -> str:
        return "".join(text for name, text in said if name in names).replace("\x00", "\ufffd")

    wanted = {
        "text": joined("content", "refusal"),
        "reasoning": joined("reasoning_content", "reasoning"),
        "finish_reason": reason,
        "usage": usage or (None, None),
        "done": True,
        "code": None,
    }
    return chunks, wanted


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], dict[str, Any]]:
    """A legal stream, cut into reads, and its content."""
    chunks, wanted = draw(answers())
    ascii = draw(st.booleans())
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    lines = [draw(st.sampled_from(["", ": ping" + end * 2]))]
    for chunk in chunks:
        odd = draw(st.none() | SAYS_NOTHING | extra(IN_CHUNK))
        if odd is not None:
            lines.append(f"data: {json.dumps(odd)}{end}{end}")
        decorated = chunk | draw(extra(IN_CHUNK))
        for choice in decorated["choices"]:
            choice |= draw(extra(IN_CHOICE))
            choice["delta"] |= draw(extra(IN_DELTA))
        if "usage" in decorated:
            decorated["usage"] |= draw(extra(IN_USAGE))
        lines.append(draw(st.sampled_from(["", ": ping" + end, "id: 7" + end])))
        lines.append(f"data:{draw(st.sampled_from(['', ' ']))}{json.dumps(decorated, ensure_ascii=ascii)}{end}{end}")
    lines.append(f"data: [DONE]{end}{draw(st.sampled_from(['', end]))}")
    stream = "".join(lines).encode(errors="surrogatepass")
    bounds = [0, *sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8))), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(bounds)], wanted


def understood(reads: list[bytes]) -> dict[str, Any]:
    stream = CompletionDecoder()
    pieces = [piece for read in reads for piece in stream.feed(read)] + stream.close()
    return {
        "text": "".join(piece.text for piece in pieces if piece.kind == "text"),
        "reasoning": "".join(piece.text for piece in pieces if piece.kind == "reasoning"),
        "finish_reason": stream.finish_reason,
        "usage": (stream.input_tokens, stream.output_tokens),
        "done": stream.done,
        "code": stream.error and stream.error.code,
    }


@given(streams())
def test_any_legal_stream_gives_the_same_answer(stream: tuple[list[bytes], dict[str, Any]]) -> None:
    reads, wanted = stream
    assert understood(reads) == wanted
    whole = b"".join(reads)
    assert understood([whole[i : i + 1] for i in range(len(whole))]) == wanted


@given(
    st.lists(
        st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b'{"choices":[{"delta":', b"event: error\n"])
    )
)
def test_no_bytes_raise(reads: list[bytes]) -> None:
    understood(reads)
    assert understood([b"".join(reads)]) == understood(reads)
