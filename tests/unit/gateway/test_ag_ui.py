"""AG-UI's events and input, without servers; each event is valid for the protocol's own package."""

import json
from typing import Any

import pytest
from ag_ui.core import Event
from msgspec import UNSET
from pydantic import TypeAdapter

from gateway.answers.events import AnswerEvent, first_of
from gateway.errors import GatewayError, Invalid, Unavailable
from gateway.protocols.ag_ui.events import RunEvents, error_event
from gateway.protocols.ag_ui.request import (
    ContextEntry,
    ForwardedProps,
    InputMessage,
    RunInput,
    Tool,
    answer_id_of,
    given_of,
    new_prompt,
    new_results,
)
from gateway.protocols.branch import Branch
from gateway.protocols.options import Options
from parley.contracts.completion import ContextMessage
from parley.contracts.resources import Message
from tests.unit.gateway.answer_events import (
    ANSWER,
    CHAT,
    CLIENTS_CALL,
    answer,
    failed,
    live,
    prompt,
    stored,
    with_everything,
)

NO_OPTIONS = Options(metadata={})
EVENTS: TypeAdapter[Any] = TypeAdapter(Event)


def decode(data: bytes) -> list[tuple[int | None, dict[str, Any]]]:
    events = []
    for block in data.split(b"\n\n")[:-1]:
        *numbers, line = block.decode().split("\n")
        event = json.loads(line.removeprefix("data: "))
        EVENTS.validate_python(event)
        events.append((int(numbers[0].removeprefix("id: ")) if numbers else None, event))
    return events


def run(events: list[AnswerEvent], after: int = -1) -> list[tuple[int | None, dict[str, Any]]]:
    encoder = RunEvents(thread_id="t", run_id="r", answer_id=ANSWER, after=after)
    return decode(b"".join(encoder.encode(event) for event in events))


def of(message: Message) -> list[dict[str, Any]]:
    return [event for _, event in run(stored(message))]


# --- the run ---------------------------------------------------------------------------------------------------------


def test_an_answer_is_a_run_with_a_text_message() -> None:
    message_id = f"{ANSWER}-1-0"
    assert of(answer()) == [
        {"type": "RUN_STARTED", "threadId": "t", "runId": "r"},
        {"type": "TEXT_MESSAGE_START", "messageId": message_id, "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": "Noon."},
        {"type": "TEXT_MESSAGE_END", "messageId": message_id},
        {"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "outcome": {"type": "success"}},
    ]


def test_reasoning_text_and_calls_come_in_the_order_in_which_the_model_wrote() -> None:
    events = of(with_everything())
    assert [event["type"] for event in events] == [
        "RUN_STARTED",
        *("REASONING_START", "REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT"),
        *("REASONING_MESSAGE_END", "REASONING_END"),
        *("TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"),
        *("TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT"),
        *("TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"),
        *("TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"),
        "RUN_FINISHED",
    ]
    assert events[-1]["outcome"] == {"type": "success"}, "earlier clients refuse pendingToolCallIds"


def test_numbers_increase_and_are_the_same_for_everybody() -> None:
    numbers = [number for number, _ in run(stored(with_everything())) if number is not None]
    assert numbers == sorted(set(numbers))
    assert next(number for number, _ in run(live("Noon."))) == numbers[0] == 0


def test_for_every_event_what_came_up_to_it_and_what_comes_after_it_make_the_whole() -> None:
    message = with_everything()
    whole = run(stored(message))
    for index, (number, _) in enumerate(whole):
        assert number is not None
        assert run(stored(message, number), number) == whole[index + 1 :]


def test_a_client_from_before_the_outcome_cancelled_gets_success() -> None:
    encoder = RunEvents(thread_id="t", run_id="r", answer_id=ANSWER, has_cancelled=False)
    events = decode(b"".join(encoder.encode(event) for event in stored(answer(status="stopped"))))
    assert events[-1][1]["outcome"] == {"type": "success"}


def test_an_answer_that_was_stopped_is_cancelled_and_one_that_failed_an_error() -> None:
    assert of(answer(status="stopped"))[-1]["outcome"] == {"type": "cancelled"}
    assert of(failed("Later."))[-1] == {"type": "RUN_ERROR", "message": "Later.", "code": "provider_error"}
    assert of(prompt(status="deleted")) == [
        {"type": "RUN_ERROR", "message": "The message was deleted.", "code": "deleted"}
    ]


def test_an_attempt_that_is_given_up_after_its_first_words_is_an_error() -> None:
    events = live("Noo", "No")
    second = next(index for index, event in enumerate(events) if event.number == first_of(2))
    encoder = RunEvents(thread_id="t", run_id="r", answer_id=ANSWER)
    for event in events[:second]:
        encoder.encode(event)
    with pytest.raises(GatewayError) as raised:
        encoder.encode(events[second])
    assert raised.value.code == "attempt_dropped"
    assert decode(error_event(raised.value))[0][0] is None, "the reader's number stays"


def test_a_reader_of_a_dropped_attempt_is_told_when_it_reads_on() -> None:
    events = run(stored(answer(attempt=2), first_of(1) + 6), first_of(1) + 6)
    assert [event["type"] for _, event in events][:2] == ["CUSTOM", "TEXT_MESSAGE_START"]
    assert events[0][1]["value"] == {"attempt": 2}
    assert events[1][1]["messageId"] == f"{ANSWER}-2-0"


def test_every_error_is_an_event() -> None:
    assert decode(error_event(Unavailable("Come again."))) == [
        (None, {"type": "RUN_ERROR", "message": "Come again.", "code": "unavailable"})
    ]


# --- the input -------------------------------------------------------------------------------------------------------


def user(content: Any, id_: str = "u1") -> InputMessage:
    return InputMessage(id=id_, role="user", content=content)


def test_a_run_is_a_turn_with_its_tools_and_instructions() -> None:
    input_ = RunInput(
        thread_id="t",
        run_id="r",
        messages=[InputMessage(id="s", role="system", content="Be brief."), user("When?")],
        tools=[Tool(name="clock", description="The time", parameters={"type": "object"})],
        context=[ContextEntry(description="Place", value="Vienna")],
        forwarded_props=ForwardedProps(model="m", parameters={"temperature": 0}),
    )
    turn = new_prompt(input_, "ann", CHAT, NO_OPTIONS, UNSET)
    assert (turn.content, turn.model, turn.answer_id) == ("When?", "m", answer_id_of("ann", CHAT, "r"))
    assert turn.completion is not None
    assert turn.completion.instructions == "Be brief.\n\nPlace\nVienna"
    assert turn.completion.parameters["temperature"] == 0
    assert turn.completion.parameters["tools"][0]["function"]["name"] == "clock"


@pytest.mark.parametrize(
    "image",
    [
        {"type": "image", "source": {"type": "data", "value": "aGk=", "mimeType": "image/png"}},
        {"type": "binary", "mimeType": "image/png", "data": "aGk="},
        {"type": "binary", "mimeType": "image/png", "url": "https://example.org/a.png"},
    ],
)
def test_images_are_taken_and_other_parts_refused(image: dict[str, Any]) -> None:
    turn = new_prompt(
        RunInput(thread_id="t", run_id="r", messages=[user([{"type": "text", "text": "What?"}, image])]),
        *("ann", CHAT, NO_OPTIONS, UNSET),
    )
    assert turn.completion is not None
    assert len(turn.completion.parts) == 2
    for sound in (
        {"type": "audio", "source": {"type": "url", "value": "https://example.org/a.mp3"}},
        {"type": "binary", "mimeType": "audio/mpeg", "url": "https://example.org/a.mp3"},
    ):
        with pytest.raises(Invalid):
            new_prompt(RunInput(thread_id="t", run_id="r", messages=[user([sound])]), "ann", CHAT, NO_OPTIONS, UNSET)


def test_the_messages_of_an_answer_are_one() -> None:
    messages = [
        user("When?"),
        InputMessage(id=f"{ANSWER}-1-0", role="reasoning"),
        InputMessage(id=f"{ANSWER}-1-1", role="assistant"),
        InputMessage(id="t", role="tool", tool_call_id="call_1", content="12:00"),
    ]
    assert [each.ids for each in given_of("ann", CHAT, messages)][1:] == [(ANSWER,)]


def test_results_of_tools_are_a_turn_behind_the_answer_that_called_them() -> None:
    called = answer(tool_calls=[CLIENTS_CALL], finish_reason="tool_calls")
    result = InputMessage(id="t", role="tool", tool_call_id="call_1", content="12:00")
    input_ = RunInput(thread_id="t", run_id="r2", messages=[user("When?"), result])
    turn = new_results(input_, "ann", Branch(messages=[prompt(), called]), called, NO_OPTIONS)
    assert (turn.content, turn.parent_id) == ("", ANSWER)
    assert turn.completion is not None
    assert turn.completion.context == [ContextMessage(role="tool", tool_call_id="call_1", content="12:00")]
