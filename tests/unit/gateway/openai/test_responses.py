"""Responses as objects and as events: by both descriptions, and the same from wherever they are read."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState

from gateway.answers.reader import AnswerRef
from gateway.errors import NotFound
from gateway.protocols.openai import responses_ids as ids
from gateway.protocols.openai.response_items import input_items, item_of
from gateway.protocols.openai.responses_request import NewResponse
from parley.contracts import frames
from parley.contracts.completion import CompletionRequest, Span, ToolCall, ToolDelta
from parley.contracts.resources import Message, MessageError, Usage
from tests.unit.gateway.openai.responses import (
    ANSWER,
    CHAT,
    GENERATION,
    PROMPT,
    Event,
    answer,
    as_dict,
    as_sdk_event,
    check_response,
    read,
    turn,
)

Frames = list[frames.ServerFrame | Message]


# --- objects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "prompt", "status"),
    [
        (None, {"status": "queued"}, "queued"),
        (answer(status="pending"), {}, "queued"),
        (answer(status="streaming", attempt=1), {}, "in_progress"),
        (answer(content="Hi", attempt=1, finish_reason="stop"), {}, "completed"),
        (answer(content="Hi", attempt=1, finish_reason="length"), {}, "incomplete"),
        (answer(content="Hi", attempt=1, finish_reason="content_filter"), {}, "incomplete"),
        (answer(content="Hi", attempt=1, status="stopped"), {}, "cancelled"),
        (
            answer(
                content="Hi", attempt=3, status="failed", error=MessageError(code="x", message="No.", retryable=True)
            ),
            {},
            "failed",
        ),
        (
            None,
            {"status": "rejected", "error": MessageError(code="rate_limited", message="No.", retryable=True)},
            "failed",
        ),
        (None, {"status": "deleted"}, "cancelled"),
    ],
)
def test_a_response_has_the_status_of_its_turn(stored: Message | None, prompt: dict[str, Any], status: str) -> None:
    response = as_dict(turn(stored, **prompt))
    check_response(response)
    assert response["status"] == status
    assert (response["error"] is not None) == (status == "failed")
    assert (response["incomplete_details"] is not None) == (status == "incomplete")


def test_a_response_repeats_what_was_asked_for() -> None:
    body = {
        "input": "Hi",
        "instructions": "Be short.",
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "top_p": 0.25,
        "max_output_tokens": 9,
        "parallel_tool_calls": False,
        "background": True,
        "previous_response_id": "resp_1",
        "reasoning": {"effort": "low", "summary": "auto"},
        "tools": [{"type": "function", "name": "f", "description": "F.", "parameters": {}, "strict": True}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        "text": {
            "verbosity": "low",
            "format": {
                "type": "json_schema",
                "name": "n",
                "schema": {"type": "object"},
                "description": "d",
                "strict": True,
            },
        },
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "service_tier": "flex",
        "user": "ann",
    }
    _, completion = msgspec.convert(body, NewResponse).prompt_and_completion({"a": "b"})
    response = as_dict(turn(answer(content="Hi", attempt=1), completion))
    check_response(response)
    assert {name: response[name] for name in body if name != "input"} == {
        name: value for name, value in body.items() if name != "input"
    }


def test_a_response_of_a_conversation_names_it() -> None:
    completion = CompletionRequest(echo={"conversation": ids.conversation_id(CHAT)})
    response = as_dict(turn(answer(), completion))
    check_response(response)
    assert response["conversation"] == {"id": ids.conversation_id(CHAT)}


def test_a_response_has_items_in_the_order_in_which_the_model_wrote() -> None:
    stored = answer(
        content="One.Two.",
        reasoning="Hm.",
        attempt=2,
        finish_reason="tool_calls",
        usage=Usage(input_tokens=3, output_tokens=4),
        tool_calls=[
            ToolCall(id="m", name="time", arguments="{}", server="clock", status="complete", result="Noon"),
            ToolCall(id="d", name="time", arguments="{}", server="clock", status="denied", result="No."),
            ToolCall(id="c", name="weather", arguments='{"at":"Rome"}'),
        ],
        layout=[Span("reasoning", 3), Span("text", 4), *[Span("tool")] * 2, Span("text", 4), Span("tool")],
    )
    response = as_dict(turn(stored))
    check_response(response)
    dropped, reasoning, one, called, denied, two, call = response["output"]
    assert (dropped["status"], dropped["content"]) == ("incomplete", [])
    assert reasoning["summary"] == [{"type": "summary_text", "text": "Hm."}]
    assert (one["content"][0]["text"], two["content"][0]["text"]) == ("One.", "Two.")
    assert (called["output"], called["error"], called["status"]) == ("Noon", None, "completed")
    assert (denied["output"], denied["error"]["content"], denied["status"]) == (None, "No.", "failed")
    assert (call["call_id"], call["name"], call["arguments"]) == ("c", "weather", '{"at":"Rome"}')
    assert response["usage"]["total_tokens"] == 7
    assert len({item["id"] for item in response["output"]}) == 7


def test_an_item_of_a_turn_is_found_by_its_id() -> None:
    stored = turn(answer(content="Hi", reasoning="Hm", attempt=1))
    for item in [*input_items(stored.prompt, stored.completion), *as_dict(stored)["output"]]:
        assert item_of(stored, item["id"]) == item
    with pytest.raises(NotFound):
        item_of(stored, "msg_1")


def test_the_last_item_of_an_answer_that_was_cut_off_is_incomplete() -> None:
    stored = answer(content="Hi", reasoning="Hm", status="stopped", attempt=1)
    assert [item["status"] for item in as_dict(turn(stored))["output"]] == ["completed", "incomplete"]


# --- ids ------------------------------------------------------------------------------------------------------------


def test_ids_lead_back_to_what_they_name() -> None:
    ref = ids.answer_of(ids.response_id(CHAT, ANSWER))
    assert (ref.chat_id, ref.message_id) == (CHAT, ANSWER)
    assert ids.chat_of(ids.conversation_id(CHAT)) == CHAT
    prompt = AnswerRef(chat_id=CHAT, message_id=PROMPT)
    assert ids.message_of(ids.item_id("msg", prompt, 3, 4)) == prompt
    assert ids.item_id("msg", prompt, 3, 4) != ids.item_id("msg", prompt, 4, 3)


@pytest.mark.parametrize(
    "text", ["", "resp_", "resp_é", "conv_AAAA", "resp_" + "A" * 43, "resp_a/b", "msg_1", "conv_" + "_" * 22]
)
def test_any_other_id_names_nothing(text: str) -> None:
    for find in (ids.answer_of, ids.chat_of, ids.message_of):
        with pytest.raises(NotFound):
            find(text)


# --- events ---------------------------------------------------------------------------------------------------------


def started(attempt: int) -> frames.Generation:
    return frames.Generation(
        chat_id=CHAT, generation_id=GENERATION, message_id=ANSWER, attempt=attempt, status="started"
    )


class Attempt:
    """The chunks of an attempt as deltas, and the answer that they add up to."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.frames: Frames = [started(number)]
        self.texts = {"text": "", "reasoning": ""}
        self.calls: list[ToolCall] = []
        self.layout: list[Span] = []

    def say(self, kind: frames.Kind, text: str) -> "Attempt":
        self.texts[kind] += text
        last = self.layout[-1] if self.layout else Span("tool")
        if last.kind == kind:
            self.layout[-1] = Span(kind, last.length + len(text))
        else:
            self.layout.append(Span(kind, len(text)))
        return self._delta(kind=kind, text=text)

    def call(self, call: ToolCall, *arguments: str) -> "Attempt":
        index = len(self.calls)
        self._delta(kind="text", text="", tool=ToolDelta(index=index, call=msgspec.structs.replace(call, arguments="")))
        for more in arguments:
            self._delta(kind="text", text="", tool=ToolDelta(index=index, arguments=more))
        self.calls.append(msgspec.structs.replace(call, arguments="".join(arguments)))
        self.layout.append(Span("tool"))
        return self

    def result(self, index: int, **fields: Any) -> "Attempt":
        self.calls[index] = msgspec.structs.replace(self.calls[index], **fields)
        return self._delta(kind="text", text="", tool=ToolDelta(index=index, call=self.calls[index]))

    def stored(self, **fields: Any) -> Message:
        return answer(
            content=self.texts["text"],
            reasoning=self.texts["reasoning"],
            tool_calls=self.calls,
            layout=self.layout,
            attempt=self.number,
            **fields,
        )

    def _delta(self, **fields: Any) -> "Attempt":
        seq = len(self.frames)
        delta = frames.Delta(chat_id=CHAT, generation_id=GENERATION, attempt=self.number, from_=seq, to=seq, **fields)
        self.frames.append(delta)
        return self


def example(number: int = 1) -> Attempt:
    attempt = Attempt(number).say("reasoning", "Hm").say("reasoning", "m.").say("text", "One ").say("text", "moment.")
    attempt.call(ToolCall(id="m", name="time", server="clock"), '{"at":', "1}")
    attempt.result(0, status="running").result(0, status="complete", result="Noon", seconds=0.5)
    attempt.say("text", "It is ").say("text", "noon.")
    return attempt.call(ToolCall(id=f"c{number}", name="weather"), '{"at":', '"Rome"}')


def pending() -> Message:
    return answer(status="pending")


def texts(events: list[Event]) -> dict[str, str]:
    """What each item adds up to."""
    summed: dict[str, str] = {}
    for event in events:
        if event["type"].endswith(".delta"):
            summed[event["item_id"]] = summed.get(event["item_id"], "") + event["delta"]
    return summed


def assert_increasing(events: list[Event]) -> None:
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(set(numbers))
    assert all(number < 2**53 for number in numbers)


def accumulate(events: list[Event]) -> Any:
    """Read the events as the SDK's own helper does, which checks their order."""
    state: Any = ResponseStreamState(input_tools=[], text_format=omit)
    for event in events:
        state.handle_event(as_sdk_event(event))
    return state


def test_a_live_answer_has_the_standard_events() -> None:
    attempt = example()
    events = read([pending(), *attempt.frames, attempt.stored(finish_reason="tool_calls")])
    assert_increasing(events)
    check_response(events[-1]["response"])
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        *["reasoning_summary_text.delta"] * 2,
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 2,
        "output_item.added",
        "mcp_call.in_progress",
        *["mcp_call_arguments.delta"] * 2,
        "mcp_call.completed",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 2,
        "output_item.added",
        *["function_call_arguments.delta"] * 2,
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "mcp_call_arguments.done",
        "output_item.done",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    state = accumulate(events)
    assert state._completed_response.output_text == "One moment.It is noon."


def test_a_replay_is_the_same_with_larger_deltas() -> None:
    attempt = example()
    stored = attempt.stored(finish_reason="tool_calls")
    live, replayed = read([pending(), *attempt.frames, stored]), read([stored])
    assert_increasing(replayed)
    assert texts(replayed) == texts(live)
    accumulate(replayed)

    def others(events: list[Event]) -> list[Event]:
        return [event for event in events if not event["type"].endswith(".delta")]

    assert others(replayed) == others(live)


@pytest.mark.parametrize("attempts", [1, 2, 3])
@pytest.mark.parametrize("later", ["live", "stored"])
def test_what_came_before_any_number_and_what_comes_after_it_is_the_whole(attempts: int, later: str) -> None:
    sequence: Frames = [pending()]
    for number in range(1, attempts + 1):
        attempt = example(number)
        sequence += attempt.frames
    stored = attempt.stored(finish_reason="tool_calls")
    whole = read([*sequence, stored])
    assert_increasing(whole)
    last = attempts << 32
    for index, event in enumerate(whole):
        number = event["sequence_number"]
        rest = read([*sequence, stored] if later == "live" else [stored], after=number, check=False)
        joined = [*whole[: index + 1], *rest]
        assert_increasing(joined)
        if number >= last or (later == "live" and attempts == 1):
            assert texts(joined) == texts(whole)
            assert [other["type"] for other in rest if ".delta" not in other["type"]] == [
                other["type"] for other in whole[index + 1 :] if ".delta" not in other["type"]
            ]
        final = {item["id"] for item in joined[-1]["response"]["output"] if item["status"] != "incomplete"}
        mine, all_texts = texts(joined), texts(whole)
        assert {key: mine[key] for key in mine if key in final} == {
            key: all_texts[key] for key in all_texts if key in final
        }


def test_items_of_an_attempt_that_was_dropped_end_as_incomplete() -> None:
    first = Attempt(1).say("text", "Wrong").call(ToolCall(id="c", name="f"), "{")
    second = Attempt(2).say("text", "Right")
    events = read([pending(), *first.frames, *second.frames, second.stored(finish_reason="stop")])
    assert_increasing(events)
    ends = [event for event in events if event["type"] == "response.output_item.done"]
    assert [(end["output_index"], end["item"]["status"]) for end in ends] == [
        (0, "incomplete"),
        (1, "incomplete"),
        (2, "completed"),
    ]
    assert ends[0]["item"]["content"] == []
    assert accumulate(events)._completed_response.output_text == "Right"


def test_a_replay_has_one_empty_item_for_each_attempt_that_was_dropped() -> None:
    stored = Attempt(3).say("text", "Right").stored(finish_reason="stop")
    events = read([stored])
    assert_increasing(events)
    added = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
    assert added == [item["id"] for item in events[-1]["response"]["output"]]
    assert [event["output_index"] for event in events if event["type"] == "response.output_item.done"] == [0, 1, 2]
    assert accumulate(events)._completed_response.output_text == "Right"


@pytest.mark.parametrize(
    ("stored", "kind", "status"),
    [
        (answer(content="Hi", attempt=1, status="stopped"), "response.incomplete", "cancelled"),
        (answer(content="Hi", attempt=1, finish_reason="length"), "response.incomplete", "incomplete"),
        (
            answer(status="failed", attempt=1, error=MessageError(code="x", message="No.", retryable=False)),
            "response.failed",
            "failed",
        ),
        (answer(status="stopped"), "response.incomplete", "cancelled"),
    ],
)
def test_an_answer_that_is_not_complete_does_not_look_like_one(stored: Message, kind: str, status: str) -> None:
    events = read([stored])
    assert_increasing(events)
    assert (events[-1]["type"], events[-1]["response"]["status"]) == (kind, status)


def test_what_was_seen_and_is_not_stored_ends_as_incomplete() -> None:
    attempt = Attempt(1).say("reasoning", "Hm").say("text", "Lost")
    stored = answer(
        reasoning="Hm", attempt=1, status="failed", error=MessageError(code="x", message="", retryable=True)
    )
    events = read([pending(), *attempt.frames, stored])
    assert_increasing(events)
    assert [event["item"]["status"] for event in events if event["type"] == "response.output_item.done"] == [
        "incomplete",
        "incomplete",
    ]


def test_a_response_in_the_background_is_queued_first() -> None:
    completion = CompletionRequest(echo={"background": True})
    events = read([pending(), *example().frames], completion=completion)
    assert [event["type"] for event in events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert [event["response"]["status"] for event in events[:3]] == ["queued", "queued", "in_progress"]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.sampled_from(["text", "reasoning", "call", "mcp"]), st.text(min_size=1, max_size=4)), max_size=6
    ),
    st.data(),
)
def test_a_reader_who_comes_back_at_any_number_has_every_character_once(
    chunks: list[tuple[str, str]], data: st.DataObject
) -> None:
    attempt = Attempt(1)
    for index, (kind, text) in enumerate(chunks):
        if kind == "text" or kind == "reasoning":
            attempt.say("text" if kind == "text" else "reasoning", text)
        elif kind == "call":
            attempt.call(ToolCall(id=f"c{index}", name="f"), text)
        else:
            attempt.call(ToolCall(id=f"m{index}", name="f", server="s"), text)
            attempt.result(len(attempt.calls) - 1, status="complete", result=text)
    stored = attempt.stored(finish_reason="stop")
    whole = read([pending(), *attempt.frames, stored])
    assert_increasing(whole)
    at = data.draw(st.integers(0, len(whole) - 1))
    rest = read([stored], after=whole[at]["sequence_number"], check=False)
    assert_increasing([*whole[: at + 1], *rest])
    assert texts([*whole[: at + 1], *rest]) == texts(whole)
    accumulate(read([stored]))
