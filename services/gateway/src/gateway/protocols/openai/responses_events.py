"""The events of an answer as those of OpenAI's Responses, live and replayed alike (docs/decisions/0071). No I/O."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gateway.answers.events import (
    NUMBERS,
    REQUESTED,
    AnswerEvent,
    AttemptStarted,
    CallChanged,
    Ended,
    PartDelta,
    PartStarted,
    attempt_of,
    dropped,
    ended,
    first_of,
)
from gateway.answers.reader import AnswerRef
from gateway.errors import GatewayError
from gateway.protocols.openai import errors
from gateway.protocols.openai.response_items import (
    Item,
    Part,
    dropped_item,
    output_text,
    part_item,
    parts_of,
    prefix_of,
)
from gateway.protocols.openai.responses_ids import item_id
from gateway.protocols.openai.responses_object import response_object
from parley.contracts import rpc
from parley.contracts.completion import ToolCall

_DELTAS: Final = {
    "msg": "response.output_text.delta",
    "rs": "response.reasoning_summary_text.delta",
    "fc": "response.function_call_arguments.delta",
    "mcp": "response.mcp_call_arguments.delta",
}
_PLACES: Final[dict[str, Item]] = {"msg": {"content_index": 0}, "rs": {"summary_index": 0}, "fc": {}, "mcp": {}}
_CALL_ENDED: Final = {
    "complete": "response.mcp_call.completed",
    "failed": "response.mcp_call.failed",
    "denied": "response.mcp_call.failed",
}
_ENDS: Final = {"completed": "response.completed", "failed": "response.failed"}


class ResponseEvents:
    """Makes the events of one response for one reader.

    Args:
        turn: As it was when the reading began.
        after: The number of the last event that the reader has; -1: none.
    """

    def __init__(self, turn: rpc.TurnReply, answer_id: str, after: int = -1) -> None:
        self._turn = turn
        self._answer_id = answer_id
        self._ref = AnswerRef(chat_id=turn.prompt.chat_id, message_id=answer_id)
        self._after = self._last = after
        self._attempt = 0
        self._first_index = 0
        """``output_index`` of the attempt's first part, which is the number of items before it."""
        self._parts: dict[int, Part] = {}
        """The attempt's parts of which this reader was sent anything, without their text."""

    def begin(self) -> Iterator[Item]:
        """Return the events before the answer's own."""
        background = self._turn.completion is not None and self._turn.completion.echo.get("background", False)
        status = "queued" if background else "in_progress"
        yield from self._lifecycle("response.created", REQUESTED, status)
        if background:
            yield from self._lifecycle("response.queued", REQUESTED + 1, status)

    def translate(self, event: AnswerEvent) -> Iterator[Item]:
        """Return the events for an event of the answer, without those that the reader has."""
        match event:
            case AttemptStarted():
                yield from self._start(event)
            case PartStarted():
                self._enter(event)
                part = self._parts[event.index] = Part(kind=event.kind, call=event.call)
                yield from self._part_started(event.number, event.index, part)
            case PartDelta():
                self._enter(event)
                part = self._parts.get(event.index) or self._known(event)
                prefix = prefix_of(part.kind, part.call)
                more: Item = {"delta": event.text} | ({"logprobs": []} if prefix == "msg" else {})
                yield from self._of_part(_DELTAS[prefix], event.number, event.index, part, **_PLACES[prefix], **more)
            case CallChanged() if event.call.status in _CALL_ENDED:
                self._enter(event)
                part = self._parts.setdefault(event.index, Part(kind="tool", call=event.call))
                yield from self._of_part(_CALL_ENDED[event.call.status], event.number, event.index, part)
            case Ended():
                self._enter(event)
                yield from self._end(event)
            case _:
                pass

    def _enter(self, event: AnswerEvent) -> None:
        """Record the attempt when the reader has its beginning already."""
        attempt = attempt_of(event.number)
        if attempt > self._attempt:
            self._attempt, self._first_index, self._parts = attempt, max(0, attempt - 1), {}

    def _known(self, event: PartDelta) -> Part:
        """Record a part whose start the reader has already."""
        call = ToolCall(id=event.call_id, name="", server=event.server) if event.call_id is not None else None
        part = self._parts[event.index] = Part(kind=event.kind, call=call)
        return part

    def _start(self, event: AttemptStarted) -> Iterator[Item]:
        if event.attempt == 1:
            yield from self._lifecycle("response.in_progress", event.number, "in_progress")
        else:
            self._attempt = max(self._attempt, event.attempt - 1)
            yield from self._drop(event.attempt - 1)
        self._attempt, self._parts = event.attempt, {}

    def _drop(self, attempt: int) -> Iterator[Item]:
        """End the items of an attempt. One of which the reader was sent nothing is a single, empty item."""
        if self._parts:
            for index, part in sorted(self._parts.items()):
                item = part_item(part, self._ref, attempt, index, "incomplete") | _without_content(part)
                yield from self._item("done", dropped(attempt) + index, self._first_index + index, item)
            self._first_index += max(self._parts) + 1
            return
        # Numbered directly after the attempt's start: a reader who has a part of it has this event, too.
        self._first_index = max(self._first_index, attempt - 1)
        item = dropped_item(self._ref, attempt)
        yield from self._item("added", first_of(attempt) + 1, self._first_index, item | {"status": "in_progress"})
        yield from self._item("done", dropped(attempt), self._first_index, item)
        self._first_index += 1

    def _part_started(self, number: int, index: int, part: Part) -> Iterator[Item]:
        item = part_item(part, self._ref, self._attempt, index, "in_progress")
        yield from self._item("added", number, self._first_index + index, item)
        if part.kind == "text":
            kind = "response.content_part.added"
            yield from self._of_part(kind, number + 1, index, part, content_index=0, part=output_text(""))
        elif part.kind == "reasoning":
            summary = {"type": "summary_text", "text": ""}
            kind = "response.reasoning_summary_part.added"
            yield from self._of_part(kind, number + 1, index, part, summary_index=0, part=summary)
        elif part.call is not None and part.call.server is not None:
            yield from self._of_part("response.mcp_call.in_progress", number + 1, index, part)

    def _end(self, event: Ended) -> Iterator[Item]:
        """End all items of the attempt, from the stored answer: done means stored. Then the response."""
        answer = event.message if event.message.role == "assistant" else None
        parts = [] if answer is None else parts_of(answer)[1]
        turn = msgspec.structs.replace(
            self._turn, **({"prompt": event.message} if answer is None else {"answer": answer})
        )
        response = response_object(turn, self._answer_id)
        stored = response.output[len(response.output) - len(parts) :]
        for index, part in enumerate(parts):
            yield from self._part_ended(ended(self._attempt) + NUMBERS * index, index, part, stored[index])
        for index, part in sorted(self._parts.items()):
            if index >= len(parts):  # less is stored than was seen
                item = part_item(part, self._ref, self._attempt, index, "incomplete") | _without_content(part)
                number = ended(self._attempt) + NUMBERS * index
                yield from self._item("done", number, self._first_index + index, item)
        kind = _ENDS.get(response.status, "response.incomplete")
        yield from self._event(kind, first_of(self._attempt + 1) - 1, response=response)

    def _part_ended(self, number: int, index: int, part: Part, item: Item) -> Iterator[Item]:
        match prefix_of(part.kind, part.call):
            case "msg":
                place, content = {"content_index": 0}, item["content"][0]
                text = {"text": part.text, "logprobs": []}
                yield from self._of_part("response.output_text.done", number, index, part, **place, **text)
                yield from self._of_part("response.content_part.done", number + 1, index, part, **place, part=content)
            case "rs":
                place, summary = {"summary_index": 0}, item["summary"][0]
                kind = "response.reasoning_summary_text.done"
                yield from self._of_part(kind, number, index, part, **place, text=part.text)
                kind = "response.reasoning_summary_part.done"
                yield from self._of_part(kind, number + 1, index, part, **place, part=summary)
            case prefix:
                kind = "response.function_call_arguments.done" if prefix == "fc" else "response.mcp_call_arguments.done"
                yield from self._of_part(kind, number, index, part, arguments=item["arguments"])
        yield from self._item("done", number + 2, self._first_index + index, item)

    def _lifecycle(self, kind: str, number: int, status: str) -> Iterator[Item]:
        if number > self._after:
            response = response_object(self._turn, self._answer_id, status=status)
            yield from self._event(kind, number, response=response)

    def _item(self, what: str, number: int, output_index: int, item: Item) -> Iterator[Item]:
        return self._event(f"response.output_item.{what}", number, output_index=output_index, item=item)

    def _of_part(self, kind: str, number: int, index: int, part: Part, /, **members: Any) -> Iterator[Item]:
        identifier = item_id(prefix_of(part.kind, part.call), self._ref, self._attempt, index)
        return self._event(kind, number, item_id=identifier, output_index=self._first_index + index, **members)

    def _event(self, kind: str, number: int, **members: Any) -> Iterator[Item]:
        if number > self._after:
            self._last = number
            yield {"type": kind, "sequence_number": number, **members}

    def error_event(self, error: GatewayError) -> bytes:
        """Encode an error that ends the stream early: it is no event of the response and repeats the last number."""
        body = errors.body(error)
        return b'event: error\ndata: {"type":"error","sequence_number":%d,%b\n\n' % (max(self._last, 0), body[1:])


def encode(event: Item) -> bytes:
    """Encode an event as a server-sent event."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), msgspec.json.encode(event))


def _without_content(part: Part) -> Item:
    """Return the members that take the place of a dropped item's content."""
    match part.kind:
        case "text":
            return {"content": []}
        case "reasoning":
            return {"summary": []}
        case _:
            return {"status": "incomplete"}
