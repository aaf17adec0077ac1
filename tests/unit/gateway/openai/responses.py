"""Turns for the tests of OpenAI's Responses, and what checks objects against the descriptions of both sides."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import openresponses_types.types as described
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from gateway.answers.events import AnswerEvent
from gateway.answers.numbering import AnswerNumbers
from gateway.protocols.openai.responses_events import ResponseEvents
from gateway.protocols.openai.responses_object import response_object
from parley.contracts import frames, rpc
from parley.contracts.completion import CompletionRequest
from parley.contracts.resources import Message

CHAT = "0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a11"
PROMPT = "0199f3a3-0d41-7c55-a2f0-8e6b1c2d3e41"
ANSWER = "0199f3a3-0d52-7e10-b7aa-1f2e3d4c5b62"
GENERATION = "0199f3a3-0d53-7a44-9c01-6a5b4c3d2e1f"
NOW = datetime(2026, 11, 29, tzinfo=UTC)

Event = dict[str, Any]

_response: TypeAdapter[Any] = TypeAdapter(Response)
_event: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_described: dict[str, type[BaseModel]] = {}
for _name in dir(described):
    if _name.endswith("StreamingEvent"):
        _type = getattr(described, _name)
        _described[next(iter(_type.model_fields["type"].annotation)).value] = _type

_EXTENSIONS = ("response.mcp_call", "response.mcp_call_arguments")
"""Events for tools that Parley runs: OpenAI's, which Open Responses does not describe."""


def prompt(**fields: Any) -> Message:
    return (
        _message(id=PROMPT, role="user", author_id="user", status="sent", model="demo")
        if not fields
        else (msgspec.structs.replace(prompt(), **fields))
    )


def answer(**fields: Any) -> Message:
    return _message(**{"id": ANSWER, "role": "assistant", "parent_id": PROMPT, "status": "complete", **fields})


def _message(**fields: Any) -> Message:
    defaults: dict[str, Any] = dict.fromkeys(("parent_id", "author_id", "model", "error", "usage"))
    defaults |= {"chat_id": CHAT, "content": "", "reasoning": "", "created_at": NOW, "version": 1}
    return Message(**{**defaults, **fields})


def turn(stored: Message | None = None, completion: CompletionRequest | None = None, **fields: Any) -> rpc.TurnReply:
    return rpc.TurnReply(prompt=prompt(**fields), answer=stored, completion=completion, chat_version=1)


def as_dict(stored: rpc.TurnReply) -> Event:
    """Return the response of a turn."""
    response: Event = msgspec.to_builtins(response_object(stored, ANSWER))
    return response


def check_response(response: Event) -> None:
    """Check a response by OpenAI's own types, and by the description of Open Responses."""
    _response.validate_python(response, strict=False)
    described.ResponseResource.model_validate(_describable(response))


def as_sdk_event(event: Event) -> Any:
    """Return an event as OpenAI's SDK has it."""
    return _event.validate_python(event, strict=False)


def check_event(event: Event) -> None:
    """Likewise an event."""
    as_sdk_event(event)
    item = event.get("item") or {}
    if event["type"].startswith(_EXTENSIONS) or item.get("type") == "mcp_call":
        return
    if "response" in event:
        event = {**event, "response": _describable(event["response"])}
    _described[event["type"]].model_validate(event)


def _describable(response: Event) -> Event:
    """Return a response without what ``openresponses-types`` has no type for: calls by Parley, and schemas of JSON."""
    output = [item for item in response["output"] if item["type"] != "mcp_call"]
    text = {**response["text"], "format": {**response["text"]["format"]}}
    if "schema" in text["format"]:
        text["format"]["schema"] = None
    return {**response, "output": output, "text": text}


def read(
    messages: Sequence[frames.ServerFrame | Message],
    *,
    after: int = -1,
    completion: CompletionRequest | None = None,
    check: bool = True,
) -> list[Event]:
    """Return the events that a reader gets of frames, or of a stored answer, behind the number ``after``."""
    numbers = AnswerNumbers(ANSWER, after)
    events = ResponseEvents(turn(None, completion), ANSWER, after)
    received: list[Event] = msgspec.to_builtins(list(events.begin()))
    for message in messages:
        made: list[AnswerEvent] = numbers.stored(message) if isinstance(message, Message) else numbers.apply(message)
        for event in made:
            received += msgspec.to_builtins(list(events.translate(event)))
    for one in received if check else ():
        check_event(one)
    return received
