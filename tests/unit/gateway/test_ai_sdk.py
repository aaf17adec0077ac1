"""The AI SDK's stream and requests, without servers."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.answers.events import CallChanged, first_of
from gateway.errors import Conflict, GatewayError, Invalid
from gateway.protocols.ai_sdk.chunks import UIMessageChunks
from gateway.protocols.ai_sdk.request import ChatRequest, UIMessage, chat_id_of, given_of, new_prompt, new_results
from gateway.protocols.branch import Branch
from gateway.protocols.options import Options
from parley.contracts.completion import ContextMessage, ToolCall
from parley.contracts.resources import Message
from tests.unit.gateway.answer_events import (
    ANSWER,
    CHAT,
    CLIENTS_CALL,
    PARLEYS_CALL,
    answer,
    failed,
    live,
    prompt,
    stored,
    with_everything,
)

SECOND = "0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a14"
NO_OPTIONS = Options(metadata={})


DONE = {"type": "[DONE]"}


def decode(data: bytes) -> list[Any]:
    chunks = []
    for event in data.split(b"\n\n")[:-1]:
        assert event.startswith(b"data: ")
        text = event.removeprefix(b"data: ").decode()
        chunks.append(DONE if text == "[DONE]" else json.loads(text))
    return chunks


def chunks_of(message: Message) -> list[Any]:
    chunks = UIMessageChunks()
    return decode(b"".join(chunks.encode(event) for event in stored(message)))


def text(content: str, id_: str = "m1") -> UIMessage:
    return UIMessage(id=id_, role="user", parts=[{"type": "text", "text": content}])


# --- the stream ------------------------------------------------------------------------------------------------------


def test_an_answer_is_a_step_with_text_and_a_finish() -> None:
    part = f"{ANSWER}-0"
    assert chunks_of(answer()) == [
        {"type": "start", "messageId": ANSWER},
        {"type": "start-step"},
        {"type": "text-start", "id": part},
        {"type": "text-delta", "id": part, "delta": "Noon."},
        {"type": "text-end", "id": part},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
        DONE,
    ]


def test_reasoning_text_and_calls_come_in_the_order_in_which_the_model_wrote() -> None:
    chunks = chunks_of(with_everything())
    assert [chunk["type"] for chunk in chunks] == [
        *("start", "start-step"),
        *("reasoning-start", "reasoning-delta", "reasoning-end"),
        *("text-start", "text-delta", "text-end"),
        *("tool-input-start", "tool-input-delta", "tool-input-available", "tool-output-available"),
        *("text-start", "text-delta", "text-end"),
        *("tool-input-start", "tool-input-delta", "tool-input-available"),
        *("finish-step", "finish", "[DONE]"),
    ]


def test_a_tool_of_parleys_is_dynamic_and_its_result_comes_with_it() -> None:
    chunks = [chunk for chunk in chunks_of(with_everything()) if "toolCallId" in chunk]
    ours = [chunk for chunk in chunks if chunk["toolCallId"] == PARLEYS_CALL.id]
    assert all(chunk["dynamic"] and chunk["providerExecuted"] for chunk in ours if chunk["type"] != "tool-input-delta")
    assert [chunk.get("input", chunk.get("output")) for chunk in ours[-2:]] == [{"q": 1}, {"hits": 3}]


def test_a_call_that_waits_is_reported_and_one_that_was_denied_is_an_error() -> None:
    chunks = UIMessageChunks()
    waiting = CallChanged(number=9, index=1, call=replace(PARLEYS_CALL, status="awaiting_approval", result=None))
    denied = CallChanged(number=9, index=1, call=replace(PARLEYS_CALL, status="denied", result=None))
    available, status = decode(chunks.encode(waiting))
    assert available["type"] == "tool-input-available"
    assert status == {
        "type": "data-parley-tool-call",
        "data": {"toolCallId": PARLEYS_CALL.id, "status": "awaiting_approval"},
        "transient": True,
    }
    (error,) = decode(chunks.encode(denied))
    assert (error["type"], error["errorText"]) == ("tool-output-error", "The call was denied.")


def test_a_tool_of_the_client_is_its_to_run_once_the_answer_is_stored() -> None:
    *_, available, _, finish, _ = chunks_of(with_everything())
    assert available == {
        "type": "tool-input-available",
        "toolCallId": CLIENTS_CALL.id,
        "toolName": "clock",
        "input": {"zone": "UTC"},
    }
    assert finish["finishReason"] == "tool-calls"


def test_arguments_that_are_not_json_are_an_error_of_the_call() -> None:
    broken = answer(tool_calls=[ToolCall(id="call_3", name="clock", arguments='{"zone"')])
    (error,) = [chunk for chunk in chunks_of(broken) if chunk["type"] == "tool-input-error"]
    assert error["input"] == '{"zone"'


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("length", "length"), ("content_filter", "content-filter"), (None, "stop"), ("eos", "other")],
)
def test_the_end_has_its_reason(reason: str | None, finish: str) -> None:
    assert chunks_of(answer(finish_reason=reason))[-2] == {"type": "finish", "finishReason": finish}


def test_an_answer_that_was_stopped_is_aborted() -> None:
    assert chunks_of(answer(status="stopped"))[-2:] == [{"type": "abort"}, DONE], "6.0.0 refuses a reason"


def test_an_answer_that_failed_has_no_finish() -> None:
    chunks = UIMessageChunks()
    *events, end = stored(failed("Try again later."))
    sent = decode(b"".join(chunks.encode(event) for event in events))
    assert not {"finish", "abort", "[DONE]"} & {chunk["type"] for chunk in sent}
    with pytest.raises(GatewayError, match=r"Try again later\."):
        chunks.encode(end)


def test_a_prompt_that_was_rejected_is_an_error() -> None:
    (event,) = stored(prompt(status="deleted"))
    with pytest.raises(GatewayError, match="deleted"):
        UIMessageChunks().encode(event)


def test_an_attempt_that_is_given_up_after_its_first_words_is_an_error() -> None:
    chunks = UIMessageChunks()
    events = live("Noo", "No")
    second = next(index for index, event in enumerate(events) if event.number == first_of(2))
    for event in events[:second]:
        chunks.encode(event)
    with pytest.raises(GatewayError, match="written again"):
        chunks.encode(events[second])


def test_an_attempt_of_which_nothing_was_sent_is_not_noticed() -> None:
    chunks = UIMessageChunks()
    sent = decode(b"".join(chunks.encode(event) for event in live("", "No")))
    assert [chunk["type"] for chunk in sent] == ["start", "start-step", "text-start", "text-delta", "text-delta"]


def test_a_message_of_several_answers_has_one_start_and_one_finish() -> None:
    first, second = answer(tool_calls=[CLIENTS_CALL]), answer(id=SECOND, content="It is noon.")
    chunks = UIMessageChunks()
    data = b"".join(chunks.encode(event, is_last=False) for event in stored(first))
    data += chunks.results([ContextMessage(role="tool", tool_call_id="call_1", content='{"time": 12}')])
    data += b"".join(chunks.encode(event) for event in stored(second))
    sent = decode(data)
    assert [chunk["messageId"] for chunk in sent if chunk["type"] == "start"] == [ANSWER]
    assert [chunk["output"] for chunk in sent if chunk["type"] == "tool-output-available"] == [{"time": 12}]
    assert [chunk["type"] for chunk in sent].count("start-step") == 2
    assert [chunk["type"] for chunk in sent].count("finish") == 1


# --- the request -----------------------------------------------------------------------------------------------------


def test_a_chats_id_is_the_same_for_the_same_text_of_a_user() -> None:
    assert chat_id_of("ann", "x") == chat_id_of("ann", "x") != chat_id_of("ben", "x")
    assert chat_id_of("ann", CHAT) == CHAT


def test_a_message_is_the_same_turn_until_its_content_changes() -> None:
    def turn(content: str, id_: str = "m1") -> str:
        return new_prompt(ChatRequest(id="c", messages=[text(content, id_)]), "ann", CHAT, NO_OPTIONS).message_id

    assert turn("Hi") == turn("Hi")
    sorted_ = UIMessage(id="m1", role="user", parts=[{"text": "Hi", "type": "text"}])
    again = new_prompt(ChatRequest(id="c", messages=[sorted_]), "ann", CHAT, NO_OPTIONS)
    assert again.message_id == turn("Hi"), "a page's database may have sorted the members"
    assert len({turn("Hi"), turn("Ho"), turn("Hi", "m2")}) == 3


def test_the_newest_message_becomes_the_prompt_with_its_images_and_parameters() -> None:
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "What is it?"},
        {"type": "file", "mediaType": "image/png", "url": "https://example.org/a.png"},
        {"type": "data-place", "data": 1},
    ]
    request = ChatRequest(
        id="c", messages=[UIMessage(id="m", role="user", parts=parts)], model="m", parameters={"temperature": 0}
    )
    turn = new_prompt(request, "ann", CHAT, NO_OPTIONS)
    assert (turn.content, turn.model, turn.chat_id) == ("What is it?", "m", CHAT)
    assert turn.completion is not None
    assert turn.completion.parameters == {"temperature": 0}
    assert len(turn.completion.parts) == 2


def test_messages_of_the_system_are_instructions_of_the_answer() -> None:
    system = UIMessage(
        id="s", role="system", parts=[{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]
    )
    request = ChatRequest(id="c", messages=[system, text("Hi")])
    turn = new_prompt(request, "ann", CHAT, NO_OPTIONS)
    assert turn.content == "Hi"
    assert turn.completion is not None
    assert turn.completion.instructions == "Be brief."
    assert [given.role for given in given_of("ann", CHAT, request.messages)] == ["user"]


def test_a_message_of_the_system_has_text_only() -> None:
    system = UIMessage(id="s", role="system", parts=[{"type": "file", "mediaType": "image/png", "url": "data:,"}])
    with pytest.raises(Invalid, match=r"messages\[0\]"):
        new_prompt(ChatRequest(id="c", messages=[system, text("Hi")]), "ann", CHAT, NO_OPTIONS)


@pytest.mark.parametrize(
    ("part", "parameters"),
    [
        ({"type": "file", "mediaType": "application/pdf", "url": "https://example.org/a.pdf"}, {}),
        ({"type": "text"}, {}),
        ({"type": "text", "text": "x"}, {"colour": "red"}),
        ({"type": "text", "text": "x"}, {"n": 2}),
    ],
)
def test_what_cannot_be_done_is_refused(part: dict[str, Any], parameters: dict[str, Any]) -> None:
    request = ChatRequest(id="c", messages=[UIMessage(id="m", role="user", parts=[part])], parameters=parameters)
    with pytest.raises(Invalid):
        new_prompt(request, "ann", CHAT, NO_OPTIONS)


def results(*parts: dict[str, Any]) -> ChatRequest:
    return ChatRequest(id="c", messages=[text("When?"), UIMessage(id=ANSWER, role="assistant", parts=list(parts))])


def test_results_of_tools_are_a_turn_behind_the_answer_that_called_them() -> None:
    called = answer(tool_calls=[CLIENTS_CALL], finish_reason="tool_calls")
    branch = Branch(messages=[prompt(), called])
    output = {"type": "tool-clock", "toolCallId": "call_1", "state": "output-available", "output": {"time": 12}}
    turn = new_results(results(output), "ann", branch, called, NO_OPTIONS)
    assert (turn.content, turn.parent_id) == ("", ANSWER)
    assert turn.completion is not None
    assert turn.completion.context == [ContextMessage(role="tool", tool_call_id="call_1", content='{"time":12}')]
    again = new_results(results(output), "ann", branch, called, NO_OPTIONS)
    assert again.message_id == turn.message_id


def test_a_prompt_may_bring_the_results_of_the_calls_before_it() -> None:
    result = {"role": "tool", "tool_call_id": "call_1", "content": "12:00"}
    request = ChatRequest(id="c", messages=[text("And now?")])
    turn = new_prompt(request, "ann", CHAT, NO_OPTIONS, ANSWER, [result])
    assert turn.content == "And now?"
    assert turn.completion is not None
    assert turn.completion.context == [ContextMessage(role="tool", tool_call_id="call_1", content="12:00")]


def test_an_answer_that_waits_for_no_result_takes_none() -> None:
    called = answer(tool_calls=[CLIENTS_CALL])
    unfinished = {"type": "tool-clock", "toolCallId": "call_1", "state": "input-available", "input": {}}
    for message, part in ((called, unfinished), (answer(), {"type": "text", "text": "Noon."})):
        with pytest.raises(Conflict):
            new_results(results(part), "ann", Branch(messages=[prompt(), message]), message, NO_OPTIONS)


def test_the_clients_messages_are_given_with_the_ids_that_they_are_stored_under() -> None:
    request = ChatRequest(id="c", messages=[text("When?"), UIMessage(id=ANSWER, role="assistant", parts=[])])
    user, assistant = given_of("ann", CHAT, request.messages)
    sent = new_prompt(ChatRequest(id="c", messages=[text("When?")]), "ann", CHAT, NO_OPTIONS)
    assert user.ids == (sent.message_id, "m1")
    assert assistant.ids == (ANSWER,)
