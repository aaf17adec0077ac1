"""A chat completion's request is a turn; an answer's events are its chunks."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from openai.types.chat import completion_create_params as create_params

from gateway.answers import events as e
from gateway.errors import Invalid
from gateway.protocols.openai.completion_chunks import CompletionChunks, completion_of
from gateway.protocols.openai.completion_request import ChatCompletionRequest, new_turn
from gateway.protocols.openai.errors import AnswerFailed
from gateway.protocols.options import Options, TurnIds
from parley.contracts.completion import ContextMessage, ImagePart, TextPart, ToolCall
from parley.contracts.resources import Message, Usage

CREATE = (create_params.CompletionCreateParamsBase, create_params.CompletionCreateParamsNonStreaming)
"""OpenAI's parameters."""

IDS = TurnIds(chat_id="chat", message_id="prompt", answer_id="answer")


def answer(**fields: Any) -> Message:
    values: dict[str, Any] = {
        "id": "0199f3a3-0d52-7e10-b7aa-1f2e3d4c5b62",
        "chat_id": "chat",
        "parent_id": "prompt",
        "role": "assistant",
        "author_id": None,
        "content": "",
        "reasoning": "",
        "status": "complete",
        "model": "demo",
        "error": None,
        "usage": Usage(input_tokens=2, output_tokens=3),
        "created_at": datetime(2026, 11, 29, tzinfo=UTC),
        "version": 3,
        "attempt": 1,
    }
    return Message(**values | fields)


def turn(**request: Any) -> Any:
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]} | request
    return new_turn(msgspec.convert(body, ChatCompletionRequest), IDS, Options(metadata={"mine": "1"}))


def test_system_messages_are_instructions_and_the_last_message_is_the_prompt() -> None:
    made = turn(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": "First"},
            {"role": "system", "content": "Later."},
            {"role": "assistant", "content": None, "refusal": "No.", "reasoning_content": "Hm."},
            {"role": "user", "content": "Second"},
        ],
        temperature=0,
        user="somebody",
        service_tier="auto",
        n=1,
    )
    assert made.content == "Second"
    assert made.completion.instructions == "Be brief.\n\nBe kind."
    assert made.completion.context == [
        ContextMessage(role="user", content="First"),
        ContextMessage(role="system", content="Later."),
        ContextMessage(role="assistant", content="No."),
    ]
    assert made.completion.parameters == {"temperature": 0}
    assert made.completion.metadata == {"mine": "1"}
    assert (made.chat_id, made.message_id, made.answer_id) == ("chat", "prompt", "answer")


def test_names_of_participants_stay_with_their_messages() -> None:
    made = turn(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "system", "name": "host", "content": "Ann asks first."},
            {"role": "user", "name": "ann", "content": "First"},
            {"role": "assistant", "name": "bot", "content": "Yes."},
            {"role": "user", "name": "ben", "content": "Second"},
        ]
    )
    assert (made.content, made.completion.name) == ("Second", "ben")
    assert made.completion.instructions == "Be brief."
    assert made.completion.context == [
        ContextMessage(role="system", content="Ann asks first.", name="host"),
        ContextMessage(role="user", content="First", name="ann"),
        ContextMessage(role="assistant", content="Yes.", name="bot"),
    ]


def test_results_of_tools_at_the_end_are_what_is_answered() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    made = turn(
        messages=[
            {"role": "user", "content": "Look"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "a dot"}]},
        ]
    )
    assert made.content == ""
    assert made.completion.context[1].tool_calls == [ToolCall(id="a", name="look", arguments="{}")]
    assert made.completion.context[2] == ContextMessage(role="tool", content="a dot", tool_call_id="a")


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
def test_the_last_message_is_answered_whoever_wrote_it(role: str) -> None:
    last = {"role": role, "content": "Write a haiku."}
    shown = ContextMessage(role="assistant" if role == "assistant" else "system", content="Write a haiku.")
    alone = turn(messages=[last])
    assert (alone.content, alone.completion.instructions, alone.completion.context) == ("", None, [shown])
    behind = turn(messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, last])
    assert (behind.content, behind.completion.instructions) == ("", "Be brief.")
    assert behind.completion.context == [ContextMessage(role="user", content="Hi"), shown]
    with pytest.raises(Invalid):
        turn(messages=[])


def test_what_the_sdks_add_to_an_answer_is_not_sent() -> None:
    """Their helpers parse contents and arguments; the Agents SDK repeats a message's members in its text."""
    function = {"name": "look", "arguments": "{}", "parsed_arguments": {}}
    message: dict[str, Any] = {"role": "assistant", "refusal": None, "annotations": [], "reasoning_content": "Hm."}
    made = turn(
        messages=[
            {"role": "user", "content": "Hi"},
            {**message, "content": '{"a": 1}', "parsed": {"a": 1}},
            {**message, "content": [{"type": "text", "text": "So.", **message}]},
            {**message, "tool_calls": [{"id": "a", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": "a", "content": "a dot"},
        ]
    )
    assert made.completion.context[1:4] == [
        ContextMessage(role="assistant", content='{"a": 1}'),
        ContextMessage(role="assistant", content="So."),
        ContextMessage(role="assistant", content="", tool_calls=[ToolCall(id="a", name="look", arguments="{}")]),
    ]


def test_extra_content_of_a_call_goes_to_the_client_and_back() -> None:
    extra = {"google": {"thought_signature": "sig"}}
    call = ToolCall(id="a", name="look", arguments="{}", extra_content='{"google":{"thought_signature":"sig"}}')
    (begun,) = [
        entry
        for chunk in chunks_of([e.PartStarted(number=1, index=0, kind="tool", call=call)])
        for entry in chunk["choices"][0]["delta"].get("tool_calls", ())
    ]
    whole = msgspec.to_builtins(completion_of(answer(tool_calls=[call]), "demo"))["choices"][0]["message"]["tool_calls"]
    assert begun["extra_content"] == whole[0]["extra_content"] == extra
    made = turn(
        messages=[
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "tool_calls": whole},
            {"role": "tool", "tool_call_id": "a", "content": "a dot"},
        ]
    )
    assert made.completion.context[1].tool_calls == [call]


def test_every_parameter_may_be_null() -> None:
    names = {name for kind in CREATE for name in kind.__annotations__} - {"model", "messages"}
    assert {"store", "moderation", "prompt_cache_options"} < names
    made = turn(**dict.fromkeys(names))
    assert made.completion.parameters == {}


def test_only_a_prompt_with_images_has_parts() -> None:
    text = {"type": "text", "text": "This?"}
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert turn(messages=[{"role": "user", "content": [text, text]}]).completion.parts == []
    made = turn(messages=[{"role": "user", "content": [text, image]}])
    assert made.content == "This?"
    assert made.completion.parts == [TextPart(text="This?"), ImagePart(url="https://example.org/a.png")]
    image["image_url"] = {"url": "file:///etc/passwd"}
    with pytest.raises(Invalid) as error:
        turn(messages=[{"role": "user", "content": [text, image]}])
    assert error.value.field == "messages[0].content[1].image_url.url"


def test_options_are_strings_with_a_prefix_or_an_object() -> None:
    chat_id = "0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a11"
    named = Options.of({}, {"parley.chat_id": chat_id, "parley.detach": "true", "other": "x"})
    nested = Options.of({}, {"parley": {"chat_id": chat_id, "detach": True}, "other": "x"})
    assert named == nested == Options(chat_id=chat_id, detach=True, metadata={"other": "x"})
    assert Options.of({"parley-when-busy": "reject"}, None).when_busy == "reject"
    for wrong in ({"parley.chat_id": "x"}, {"parley.detach": "maybe"}, {"parley.when_busy": "later"}, {"other": 1}):
        with pytest.raises(Invalid):
            Options.of({}, wrong)


def test_an_idempotency_key_is_the_same_turn_for_one_user_and_another_for_the_next() -> None:
    headers = {"idempotency-key": "k"}
    assert TurnIds.of("ann", headers) == TurnIds.of("ann", headers)
    assert TurnIds.of("ann", headers) != TurnIds.of("bob", headers)
    assert TurnIds.of("ann", {}) != TurnIds.of("ann", {})
    with pytest.raises(Invalid):
        TurnIds.of("ann", {"idempotency-key": "k" * 256})


def chunks_of(events: list[e.AnswerEvent], *, include_usage: bool = False) -> list[Any]:
    chunks = CompletionChunks("demo", include_usage=include_usage)
    encoded = b"".join(chunks.encode(event) for event in [e.Requested(number=0, message=answer()), *events])
    return [json.loads(line[6:]) for line in encoded.decode().splitlines() if line.startswith("data: {")]


def test_calls_of_the_client_are_numbered_and_those_of_parley_are_not_shown() -> None:
    events: list[e.AnswerEvent] = [
        e.AttemptStarted(number=1, attempt=1),
        e.PartStarted(number=5, index=0, kind="tool", call=ToolCall(id="own", name="time", server="clock")),
        e.PartDelta(number=9, index=0, kind="tool", text="{}", call_id="own"),
        e.PartStarted(number=20, index=1, kind="tool", call=ToolCall(id="a", name="look")),
        e.PartDelta(number=25, index=1, kind="tool", text='{"x"', call_id="a"),
        e.PartStarted(number=30, index=2, kind="tool", call=ToolCall(id="b", name="look")),
        e.PartDelta(number=35, index=2, kind="tool", text="{}", call_id="b"),
    ]
    calls = [call for chunk in chunks_of(events) for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert [(call["index"], call.get("id"), call["function"]) for call in calls] == [
        (0, "a", {"name": "look", "arguments": ""}),
        (0, None, {"arguments": '{"x"'}),
        (1, "b", {"name": "look", "arguments": ""}),
        (1, None, {"arguments": "{}"}),
    ]


@pytest.mark.parametrize(
    ("part", "content"),
    [
        (e.PartStarted(number=10, index=0, kind="text"), ""),
        (e.PartStarted(number=10, index=0, kind="reasoning"), None),
        (e.PartStarted(number=10, index=0, kind="tool", call=ToolCall(id="a", name="look")), None),
    ],
)
def test_the_first_chunk_begins_a_text_only_where_there_is_one(part: e.PartStarted, content: str | None) -> None:
    first = chunks_of([part])[0]["choices"][0]["delta"]
    assert first == {"role": "assistant", "content": content, "refusal": None}


def test_another_attempt_is_an_error_only_when_something_of_the_one_before_was_sent() -> None:
    chunks = CompletionChunks("demo", include_usage=False)
    for event in (e.AttemptStarted(number=1, attempt=1), e.AttemptStarted(number=2, attempt=2)):
        assert chunks.encode(event) == b""
    chunks.encode(e.PartStarted(number=3, index=0, kind="text"))
    with pytest.raises(AnswerFailed) as dropped:
        chunks.encode(e.AttemptStarted(number=4, attempt=3))
    assert dropped.value.code == "attempt_dropped"


def test_the_last_chunks_have_the_reason_and_the_tokens() -> None:
    ended = e.Ended(number=9, message=answer(content="Hi", finish_reason="length"))
    first, last, usage = chunks_of([ended], include_usage=True)
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert (last["choices"][0]["finish_reason"], last["usage"]) == ("length", None)
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "stop"),
        ({"finish_reason": "eos_token"}, "stop"),
        ({"finish_reason": "length"}, "length"),
        ({"tool_calls": [ToolCall(id="a", name="look")]}, "tool_calls"),
        ({"tool_calls": [ToolCall(id="a", name="time", server="clock")]}, "stop"),
        ({"status": "failed", "finish_reason": "content_filter"}, "content_filter"),
    ],
)
def test_the_reason_of_the_end_is_one_that_the_sdks_know(fields: dict[str, Any], reason: str) -> None:
    assert completion_of(answer(**fields), "demo").choices[0].finish_reason == reason


def test_a_stopped_answer_is_no_completion() -> None:
    with pytest.raises(AnswerFailed) as stopped:
        completion_of(answer(status="stopped", content="Hal"), "demo")
    assert (stopped.value.status, stopped.value.code) == (409, "answer_stopped")
