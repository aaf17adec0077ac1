"""A provider's tool calls are decoded, whatever it leaves out, repeats or puts together."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_worker.generation.content import AttemptContent
from llm_worker.provider.completion import CompletionDecoder
from llm_worker.provider.tool_calls import ToolCallDecoder
from parley.contracts.completion import ToolCall
from tests.unit.llm_worker.test_completion import DONE, chunk, event

Called = tuple[str, str, str]
MADE = "made"


def read(*reads: bytes, **options: Any) -> AttemptContent:
    decoder, content = CompletionDecoder(**options), AttemptContent()
    for part in reads:
        content.add(decoder.feed(part))
    content.add(decoder.close())
    return content


def calls_of(content: AttemptContent) -> list[Called]:
    """Id, name and arguments of each call; of an id that was made only that."""
    return [
        (MADE if call.id.startswith("call_") else call.id, call.name, call.arguments) for call in content.tool_calls
    ]


def decoded(*deltas: list[Any] | dict[str, Any], lenient: bool = False) -> list[Called]:
    """The calls of a stream in which each chunk has these entries, or this delta."""
    members = [delta if isinstance(delta, dict) else {"tool_calls": delta} for delta in deltas]
    # Content that is a number is decoded leniently.
    sent = b"".join(chunk(**delta, **({"content": 7} if lenient else {})) for delta in members)
    whole = sent + chunk("tool_calls") + DONE
    content = read(whole)
    assert calls_of(content) == calls_of(read(*(whole[i : i + 1] for i in range(len(whole)))))
    ids = [call.id for call in content.tool_calls]
    assert len(set(ids)) == len(ids)
    return calls_of(content)


def entry(index: Any = 0, id: Any = None, name: Any = None, arguments: Any = None) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    found = {"index": index, "id": id, "function": {key: value for key, value in function.items() if value is not None}}
    return {key: value for key, value in found.items() if value is not None}


FRAGMENTS = (
    [entry(0, "a", "clock", "")],
    [entry(0, arguments='{"zo')],
    [entry(0, arguments='ne":"UTC"}')],
)
CLOCK = ("a", "clock", '{"zone":"UTC"}')
UTC = '{"zone":"UTC"}'
CET = '{"zone":"CET"}'


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("deltas", "wanted"),
    [
        pytest.param(FRAGMENTS, [CLOCK], id="as documented"),
        pytest.param(
            [
                *FRAGMENTS,
                [entry(1, "b", "dice", "{")],
                [entry(1, arguments="}")],
            ],
            [CLOCK, ("b", "dice", "{}")],
            id="one after the other",
        ),
        pytest.param(
            [
                [entry(0, "a", "clock", "{"), entry(1, "b", "dice", "{")],
                [entry(1, arguments="}"), entry(0, arguments="}")],
            ],
            [("a", "clock", "{}"), ("b", "dice", "{}")],
            id="in turn",
        ),
        pytest.param([[entry(0, "a", "clock", UTC)]], [CLOCK], id="a whole call"),
        pytest.param(
            [[entry(0, "a", "clock", UTC), entry(0, "b", "clock", UTC)]],
            [CLOCK, ("b", "clock", UTC)],
            id="whole calls with one index",
        ),
        pytest.param(
            [[entry(0, None, "clock", UTC)], [entry(0, "", "clock", CET)], [entry(0, "null", "dice", "{}")]],
            [(MADE, "clock", UTC), (MADE, "clock", CET), (MADE, "dice", "{}")],
            id="whole calls with one index and no ids",
        ),
        pytest.param(
            [[entry(None, "a", "clock", UTC), entry(None, "b", "dice", "{}")]],
            [CLOCK, ("b", "dice", "{}")],
            id="whole calls without an index",
        ),
        pytest.param(
            [
                [entry(None, None, "clock", '{"zo')],
                [entry(None, arguments='ne":"UTC"}')],
                [entry(None, None, "dice", "{}")],
            ],
            [(MADE, "clock", UTC), (MADE, "dice", "{}")],
            id="neither an index nor an id",
        ),
        pytest.param(
            [[entry(0, "a", "clock", '{"zo')], [entry(0, "a", "clock", 'ne":"UTC"}')]],
            [CLOCK],
            id="the id and the name in each chunk",
        ),
        pytest.param(
            [[entry(0, "a", "clock", '{"zo')], [entry(0, "", "clock", 'ne":"UTC"}')]],
            [CLOCK],
            id="the name in each chunk, and an empty id",
        ),
        pytest.param(
            [*FRAGMENTS, [entry(0, "a", "clock", UTC)]],
            [CLOCK],
            id="the whole call again at its end",
        ),
        pytest.param(
            [*FRAGMENTS, [entry(0, arguments=UTC)]],
            [CLOCK],
            id="the whole arguments again at their end",
        ),
        pytest.param(
            [[entry(0, "a", "clock", "")], [entry(0, "b", "", '{"zo')], [entry(0, "c", arguments='ne":"UTC"}')]],
            [CLOCK],
            id="an id of its own in each chunk",
        ),
        pytest.param(
            [
                [entry(0, "a", "clock", ""), entry(0, "b", "dice", "")],
                [entry(0, "a", arguments=UTC)],
                [entry(0, "b", arguments="{}")],
            ],
            [CLOCK, ("b", "dice", "{}")],
            id="one index, in turn by their ids",
        ),
        pytest.param(
            [[entry(0, "x" * 2000, "clock", UTC)]], [("x" * 2000, "clock", UTC)], id="an id with a thought signature"
        ),
        pytest.param([[entry(0, "a", "clock", {"zone": "UTC"})]], [CLOCK], id="an object"),
        pytest.param(
            [[entry(0, "a", "clock", {"zone": "UTC"})], [entry(0, "a", "clock", {"zone": "UTC"})]],
            [CLOCK],
            id="an object again",
        ),
        pytest.param(
            [[entry(0, "a", "dice", {})], [entry(1, "b", "dice")]],
            [("a", "dice", "{}"), ("b", "dice", "{}")],
            id="no arguments",
        ),
        pytest.param(
            [[entry(0, "a")], [entry(0, arguments="{")], [entry(0, name="dice", arguments="}")]],
            [("a", "dice", "{}")],
            id="the name later",
        ),
        pytest.param(
            [[entry("0", 7, "dice", "{}")]], [("7", "dice", "{}")], id="an index that is text, an id that is a number"
        ),
        pytest.param(
            [[entry(1, "a", "clock", UTC)], [entry(3, "b", "dice", "{}")]],
            [CLOCK, ("b", "dice", "{}")],
            id="indexes with gaps",
        ),
        pytest.param(
            [[entry(0, "a", "dice", "{}")], [entry(1, "a", "dice", "{}")]],
            [("a", "dice", "{}"), (MADE, "dice", "{}")],
            id="one id for all",
        ),
        pytest.param(
            [{"function_call": {"name": "clock", "arguments": ""}}, {"function_call": {"arguments": UTC}}],
            [(MADE, "clock", UTC)],
            id="the older function_call",
        ),
        pytest.param([{"tool_calls": entry(0, "a", "clock", UTC)}], [CLOCK], id="an entry and no list"),
        pytest.param([[{"id": "a", "name": "clock", "arguments": UTC}]], [CLOCK], id="no function in the entry"),
        pytest.param(
            [[{"id": "a", "type": "custom", "custom": {"name": "shell", "input": "ls"}}]],
            [("a", "shell", "ls")],
            id="a custom tool",
        ),
        pytest.param([[7, None, "x", [], entry(0, "a", "clock", UTC)]], [CLOCK], id="entries that are none"),
        pytest.param([[entry(0, arguments="{}")], [{}]], [], id="no name"),
    ],
)
def test_calls_are_decoded(deltas: Any, wanted: list[Called], lenient: bool) -> None:
    assert decoded(*deltas, lenient=lenient) == wanted


def test_what_is_new_of_one_call_comes_before_the_next_one_and_before_text() -> None:
    begun = [entry(0, "a", "clock", "{"), entry(1, "b", "dice", ""), entry(2, "c", "dice", "")]
    content = AttemptContent()
    decoder = CompletionDecoder()
    sent = [chunk(tool_calls=begun), chunk(tool_calls=[entry(1, arguments="{}"), entry(0, arguments="}")])]
    last = [chunk(content="La"), chunk(tool_calls=[entry(2, arguments="{}")]), chunk(content="te.")]
    runs = [run for part in [*sent, *last] for run in content.add(decoder.feed(part))]
    news = [(run.tool.index, bool(run.tool.call)) if run.tool else run.text for run in runs]
    assert news == [(0, True), (0, False), (1, True), (2, True), (2, False), "La", "te."]
    assert [call.arguments for call in content.tool_calls] == ["{}", "{}", "{}"]


def test_text_after_a_call_without_arguments_comes_with_the_end() -> None:
    sent = chunk(tool_calls=[entry(0, "a", "dice", "")]) + chunk(content="Late.")
    content = read(sent + chunk("tool_calls"))
    assert (calls_of(content), content.text) == ([("a", "dice", "{}")], "Late.")
    assert [span.kind for span in content.layout] == ["tool", "text"]


def test_text_does_not_wait_forever_for_arguments() -> None:
    decoder = CompletionDecoder()
    decoder.feed(chunk(tool_calls=[entry(0, "a", "dice", "{")]))
    pieces = [piece for _ in range(20) for piece in decoder.feed(chunk(content="x" * 10_000))]
    assert "".join(piece.text for piece in pieces) == "x" * 200_000


def test_a_body_in_place_of_a_stream_has_calls_too() -> None:
    message = {"content": "One moment.", "tool_calls": [{"id": "a", "function": {"name": "clock", "arguments": UTC}}]}
    content = read(json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]}).encode())
    assert (content.text, calls_of(content)) == ("One moment.", [CLOCK])


def test_ids_of_earlier_calls_are_not_given_again() -> None:
    sent = chunk(tool_calls=[entry(0, "a", "clock", UTC)]) + chunk("tool_calls")
    calls = ToolCallDecoder(first_index=2, taken_ids=["a", "b"], server_of={"clock": "time"}.get)
    decoder = CompletionDecoder(calls=calls)
    (piece,) = [piece for piece in decoder.feed(sent) if piece.kind == "tool"]
    assert piece.tool is not None
    assert piece.tool.index == 2
    assert piece.tool.call is not None
    assert piece.tool.call.id.startswith("call_")
    assert piece.tool.call.server == "time"


def test_a_call_that_is_cut_off_keeps_what_came() -> None:
    assert calls_of(read(*(chunk(tool_calls=part) for part in FRAGMENTS[:2]))) == [("a", "clock", '{"zo')]
    assert calls_of(read(chunk(tool_calls=FRAGMENTS[0]))) == [("a", "clock", "")], (
        "an empty object only at a regular end"
    )


@pytest.mark.parametrize("ids", [{}, {"id": "other"}], ids=["one id", "another id in each chunk"])
def test_arguments_are_not_joined_at_each_fragment(ids: dict[str, str]) -> None:
    decoder = ToolCallDecoder()
    decoder.feed([entry(0, "a", "f", '{"code":"')])
    for _ in range(100):
        decoder.feed([entry(0, arguments="x = {1}; ") | ids])
    (call,) = decoder._calls
    assert len(call.arguments) == 101


def test_the_extra_content_of_a_call_comes_with_it() -> None:
    extra = {"google": {"thought_signature": "sig\0"}}
    sent = [chunk(tool_calls=[{**entry(0, "a", "clock", UTC), "extra_content": extra}]), chunk("tool_calls")]
    (call,) = read(*sent).tool_calls
    assert call.extra_content is not None
    assert json.loads(call.extra_content) == extra
    for odd in ({}, "sig", None, {"google": "x" * 100_000}):
        (call,) = read(chunk(tool_calls=[{**entry(0, "a", "clock", UTC), "extra_content": odd}])).tool_calls
        assert call.extra_content is None


@pytest.mark.parametrize("order", ["together", "before", "after"])
def test_encrypted_reasoning_belongs_to_the_call_with_its_id(order: str) -> None:
    signature = {"type": "reasoning.encrypted", "data": "sig", "id": "a", "format": "google-gemini-v1", "index": 0}
    details = [{"type": "reasoning.text", "text": "Hm."}, {**signature, "id": "rs_1"}, signature]
    calls = [entry(0, "a", "clock", UTC), entry(1, "b", "dice", "{}")]
    parts: list[dict[str, Any]] = [{"tool_calls": calls}, {"reasoning_details": details}]
    if order == "before":
        parts.reverse()
    elif order == "together":
        parts = [parts[0] | parts[1]]
    content = read(*(chunk(**part) for part in parts), chunk("tool_calls"))
    assert calls_of(content) == [CLOCK, ("b", "dice", "{}")]
    assert [json.loads(call.extra_content or "null") for call in content.tool_calls] == [
        {"reasoning_details": [signature]},
        None,
    ]


def test_halves_of_a_character_in_arguments_are_joined_and_nul_is_replaced() -> None:
    def say(arguments: bytes) -> bytes:
        call = b'{"index":0,"id":"a","function":{"name":"f","arguments":"%b"}}' % arguments
        return b'data: {"choices":[{"delta":{"tool_calls":[%b]}}]}\n\n' % call

    assert calls_of(read(say(rb"\ud83d"), say(rb"\ude00\u0000"), say(rb"\ud83d") + chunk("stop"))) == [
        ("a", "f", "\U0001f600\ufffd\ufffd")
    ]


def test_text_that_waits_for_a_tag_goes_before_a_call() -> None:
    content = read(chunk(content="<thi") + chunk(tool_calls=[entry(0, "a", "f", "{}")]) + chunk(content="nk>", index=0))
    assert content.text == "<think>"
    assert [span.kind for span in content.layout] == ["text", "tool", "text"]


NAMES = st.sampled_from(["clock", "dice", "shell"])
VALUES = st.dictionaries(st.text(max_size=3), st.text(max_size=4) | st.integers(), max_size=2)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], str, list[ToolCall]]:
    """A stream with calls as the API documents them, cut into reads; its text, and the calls."""
    calls = [
        ToolCall(id=f"id{number}", name=draw(NAMES), arguments=json.dumps(draw(VALUES)))
        for number in range(draw(st.integers(0, 3)))
    ]
    text = draw(st.text(max_size=5)).replace("<", "")
    sent = [chunk(content=text)] if text else []
    for number, call in enumerate(calls):
        sent.append(chunk(tool_calls=[entry(number, call.id, call.name, "")]))
        bounds = sorted(draw(st.lists(st.integers(0, len(call.arguments)), max_size=4)))
        for start, end in itertools.pairwise([0, *bounds, len(call.arguments)]):
            sent.append(chunk(tool_calls=[entry(number, arguments=call.arguments[start:end])]))
    whole = b"".join([*sent, chunk("tool_calls"), event(b"[DONE]")])
    cuts = [0, *sorted(draw(st.lists(st.integers(0, len(whole)), max_size=6))), len(whole)]
    return [whole[a:b] for a, b in itertools.pairwise(cuts)], text.replace("\x00", "\ufffd"), calls


@given(streams())
def test_any_legal_stream_gives_its_calls(stream: tuple[list[bytes], str, list[ToolCall]]) -> None:
    reads, text, calls = stream
    content = read(*reads)
    assert (content.text, content.tool_calls, content.layout) == (text, calls, [])


@given(
    st.lists(
        st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "index": st.none() | st.integers(-1, 2) | st.text(max_size=1),
                    "id": st.none() | st.sampled_from(["", "a", "b"]) | st.integers(0, 1),
                    "name": st.text(max_size=2),
                    "function": st.none()
                    | st.fixed_dictionaries(
                        {},
                        optional={
                            "name": st.none() | st.sampled_from(["", "f", "g"]) | st.integers(),
                            "arguments": st.none() | st.sampled_from(["", "{", "}", "{}"]) | VALUES | st.integers(),
                        },
                    ),
                },
            ),
            max_size=3,
        ),
        max_size=4,
    )
)
def test_whatever_the_entries_hold_calls_have_a_name_and_an_id_of_their_own(chunks: list[list[Any]]) -> None:
    content = read(*(chunk(tool_calls=entries) for entries in chunks), chunk("tool_calls"))
    assert all(call.name and call.id for call in content.tool_calls)
    assert len({call.id for call in content.tool_calls}) == len(content.tool_calls)
