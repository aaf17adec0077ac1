"""Items of OpenAI's Responses: the input as messages for the provider, and prompts and answers as items. No I/O."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from gateway.answers.events import AttemptStarted, PartDelta, PartStarted
from gateway.answers.numbering import ANSWERED, AnswerNumbers
from gateway.answers.reader import AnswerRef
from gateway.errors import Invalid, NotFound
from gateway.http.requests import invalid
from gateway.protocols.openai.completion_request import image
from gateway.protocols.openai.responses_ids import ItemPrefix, item_id
from parley.contracts import rpc
from parley.contracts.completion import (
    CompletionRequest,
    ContentPart,
    ContextMessage,
    PartKind,
    TextPart,
    ToolCall,
)
from parley.contracts.resources import Message

Item = dict[str, Any]

_MCP_STATUS: Final = {
    "called": "in_progress",
    "awaiting_approval": "in_progress",
    "running": "calling",
    "complete": "completed",
    "failed": "failed",
    "denied": "failed",
}


# --- input ----------------------------------------------------------------------------------------------------------


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An object without unknown members: they are refused, not ignored."""


class InputText(Strict, frozen=True, kw_only=True, tag_field="type", tag="input_text"):
    text: str


class InputImage(Strict, frozen=True, kw_only=True, tag_field="type", tag="input_image"):
    image_url: str
    detail: Literal["low", "high", "auto", "original"] | None = None
    file_id: None = None


class OutputText(Strict, frozen=True, kw_only=True, tag_field="type", tag="output_text"):
    """Attributes:
    parsed: The SDKs' reading of ``text``, which their helpers add.
    """

    text: str
    parsed: Any = None
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class Refusal(Strict, frozen=True, kw_only=True, tag_field="type", tag="refusal"):
    refusal: str


InputPart = InputText | InputImage | OutputText | Refusal


class _Item(Strict, frozen=True, kw_only=True, tag_field="type"):
    """Members of earlier output that clients send back; not sent to the provider."""

    id: str | None = None
    status: str | None = None


class InputMessage(_Item, frozen=True, kw_only=True, tag="message"):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[InputPart]
    phase: str | None = None


class FunctionCall(_Item, frozen=True, kw_only=True, tag="function_call"):
    """Attributes:
    parsed_arguments: The SDKs' reading of ``arguments``, which their helpers add.
    """

    call_id: str
    name: str
    arguments: str
    parsed_arguments: Any = None


class FunctionCallOutput(_Item, frozen=True, kw_only=True, tag="function_call_output"):
    call_id: str
    output: str | list[InputText]


class McpCall(_Item, frozen=True, kw_only=True, tag="mcp_call"):
    """A call that Parley made, as an earlier response has it."""

    name: str
    server_label: str
    arguments: str
    output: str | None = None
    error: Any = None
    approval_request_id: None = None


class ReasoningItem(_Item, frozen=True, kw_only=True, tag="reasoning"):
    """Left out: providers of chat completions take no reasoning back (docs/open-protocols.md)."""

    summary: list[Any]
    content: list[Any] | None = None
    encrypted_content: str | None = None


InputItem = InputMessage | FunctionCall | FunctionCallOutput | McpCall | ReasoningItem

_ITEMS: Final[Any] = list[InputItem]


def parse_input(value: str | list[dict[str, Any]]) -> tuple[str, list[ContentPart], list[ContextMessage]]:
    """Read ``input``, in which references are items already.

    Returns:
        The text and parts of the last item if that is a user's message, otherwise empty; and the items before it.

    Raises:
        Invalid: an item cannot be sent to a provider.
    """
    if isinstance(value, str):
        return value, [], []
    try:
        items: list[InputItem] = msgspec.convert([_without_nulls(item) for item in value], _ITEMS)
    except msgspec.ValidationError as error:
        raise invalid(str(error), "input") from None
    messages: list[ContextMessage] = []
    for item in items:
        _append(messages, item)
    if not messages:
        raise Invalid("There is nothing to answer.", field="input")
    if messages[-1].role != "user":
        return "", [], messages
    prompt = messages.pop()
    return prompt.content, prompt.parts, messages


def references(items: Iterable[Item]) -> Iterator[tuple[int, str]]:
    """Yield the places in ``input`` that name an item of an earlier response, with its id."""
    for index, item in enumerate(items):
        kind = item.get("type") or ("message" if "role" in item else "item_reference")
        if kind == "item_reference" and isinstance(identifier := item.get("id"), str):
            yield index, identifier


def _without_nulls(item: Item) -> Item:
    """Return an item, a message unless it says what it is, without its nulls: the SDKs' dumps have all members."""
    return {"type": "message"} | {name: value for name, value in item.items() if value is not None}


def _append(messages: list[ContextMessage], item: InputItem) -> None:
    match item:
        case InputMessage():
            messages.append(_message(item))
        case FunctionCall():
            _append_call(messages, ToolCall(id=item.call_id, name=item.name, arguments=item.arguments))
        case FunctionCallOutput():
            output = item.output if isinstance(item.output, str) else _joined(item.output)
            messages.append(ContextMessage(role="tool", content=output, tool_call_id=item.call_id))
        case McpCall():
            call = ToolCall(id=item.id or item.name, name=item.name, arguments=item.arguments)
            _append_call(messages, call)
            result = item.output if item.output is not None else msgspec.json.encode(item.error).decode()
            messages.append(ContextMessage(role="tool", content=result, tool_call_id=call.id))
        case ReasoningItem():
            pass


def _append_call(messages: list[ContextMessage], call: ToolCall) -> None:
    """Append a call. The text and calls of one answer are one message, as providers require."""
    answer = ContextMessage(role="assistant", content="")
    if messages and messages[-1].role == "assistant":
        answer = messages.pop()
    messages.append(msgspec.structs.replace(answer, tool_calls=[*answer.tool_calls, call]))


def _message(item: InputMessage) -> ContextMessage:
    parts = [InputText(text=item.content)] if isinstance(item.content, str) else item.content
    text = _joined(parts)
    role: Literal["system", "user", "assistant"] = "system" if item.role == "developer" else item.role
    if role == "user" and (len(parts) > 1 or any(isinstance(part, InputImage) for part in parts)):
        content: list[ContentPart] = [
            image(part.image_url, part.detail, "input") if isinstance(part, InputImage) else TextPart(text=_text(part))
            for part in parts
        ]
        return ContextMessage(role=role, content=text, parts=content)
    if any(isinstance(part, InputImage) for part in parts):
        raise Invalid("Only a user's message may have images.", field="input")
    return ContextMessage(role=role, content=text)


def _joined(parts: Iterable[InputPart]) -> str:
    return "\n".join(_text(part) for part in parts if not isinstance(part, InputImage))


def _text(part: InputText | OutputText | Refusal) -> str:
    return part.refusal if isinstance(part, Refusal) else part.text


def input_items(prompt: Message, completion: CompletionRequest | None) -> list[Item]:
    """Return the input of a turn as items, the oldest first."""
    completion = completion or CompletionRequest()
    messages = list(completion.context)
    ref = AnswerRef(chat_id=prompt.chat_id, message_id=prompt.id)
    if prompt.content or completion.parts or not messages:
        messages.append(ContextMessage(role="user", content=prompt.content, parts=completion.parts))
    items: list[Item] = []
    for message in messages:
        if message.role == "tool":
            output = {"call_id": message.tool_call_id, "output": message.content, "status": "completed"}
            items.append({"id": item_id("fco", ref, 0, len(items)), "type": "function_call_output", **output})
            continue
        if message.content or message.parts or not message.tool_calls:
            message_id = item_id("msg", ref, 0, len(items))
            body: Item = {"type": "message", "role": message.role, "content": _input_content(message)}
            items.append({"id": message_id, **body, "status": "completed"})
        for call in message.tool_calls:
            items.append(_call_item(call, item_id("fc", ref, 0, len(items)), "completed"))
    return items


def _input_content(message: ContextMessage) -> list[Item]:
    if message.role == "assistant":
        return [output_text(message.content)]
    return [
        {"type": "input_text", "text": part.text}
        if isinstance(part, TextPart)
        else {"type": "input_image", "image_url": part.url, "detail": part.detail or "auto"}
        for part in message.parts or [TextPart(text=message.content)]
    ]


# --- output ---------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Part:
    """A part of an answer that has ended."""

    kind: PartKind
    text: str = ""
    call: ToolCall | None = None


def parts_of(answer: Message) -> tuple[int, list[Part]]:
    """Return an answer's attempt and its parts, numbered as in its events; no parts while it runs."""
    attempt, parts = 0, list[Part]()
    calls = {call.id: call for call in answer.tool_calls}
    for event in AnswerNumbers(answer.id).stored(answer):
        match event:
            case AttemptStarted():
                attempt = event.attempt
            case PartStarted():
                call = event.call and calls.get(event.call.id, event.call)
                parts.append(Part(kind=event.kind, call=call))
            case PartDelta():
                parts[event.index].text += event.text
            case _:
                pass
    return attempt, parts


def output_items(answer: Message | None) -> list[Item]:
    """Return an answer as items: one for each dropped attempt, then its parts when they are stored."""
    if answer is None:
        return []
    current, parts = parts_of(answer)
    ref = AnswerRef(chat_id=answer.chat_id, message_id=answer.id)
    items = [dropped_item(ref, attempt) for attempt in range(1, current)]
    whole = answer.status == "complete" and answer.finish_reason not in ("length", "content_filter")
    last = len(parts) - 1
    for index, part in enumerate(parts):
        status = "completed" if whole or index < last or answer.status not in ANSWERED else "incomplete"
        items.append(part_item(part, ref, current, index, status))
    return items


def item_of(turn: rpc.TurnReply, identifier: str) -> Item:
    """Return an item of a turn. Raises NotFound."""
    for item in [*input_items(turn.prompt, turn.completion), *output_items(turn.answer)]:
        if item["id"] == identifier:
            return item
    raise NotFound(f"There is no item {identifier!r}.")


def dropped_item(answer: AnswerRef, attempt: int) -> Item:
    """Return the item that stands for an attempt that was dropped."""
    return _message_item(item_id("msg", answer, attempt, 0), "incomplete", [])


def prefix_of(kind: PartKind, call: ToolCall | None) -> ItemPrefix:
    if kind == "tool":
        return "fc" if call is None or call.server is None else "mcp"
    return "rs" if kind == "reasoning" else "msg"


def part_item(part: Part, answer: AnswerRef, attempt: int, index: int, status: str) -> Item:
    """Return a part as an item.

    Args:
        status: With ``in_progress`` it has no content yet.
    """
    identifier = item_id(prefix_of(part.kind, part.call), answer, attempt, index)
    started = status == "in_progress"
    if part.kind == "reasoning":
        summary = [] if started else [{"type": "summary_text", "text": part.text}]
        return {"id": identifier, "type": "reasoning", "summary": summary, "status": status}
    if part.call is None:
        return _message_item(identifier, status, [] if started else [output_text(part.text)])
    if part.call.server is None:
        return _call_item(part.call, identifier, status)
    return _mcp_item(part.call, identifier)


def _message_item(identifier: str, status: str, content: list[Item]) -> Item:
    return {"id": identifier, "type": "message", "role": "assistant", "status": status, "content": content}


def output_text(text: str) -> Item:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call_item(call: ToolCall, identifier: str, status: str) -> Item:
    body = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
    return {"id": identifier, "type": "function_call", **body, "status": status}


def _mcp_item(call: ToolCall, identifier: str) -> Item:
    failed = call.status in ("failed", "denied")
    return {
        "id": identifier,
        "type": "mcp_call",
        "server_label": call.server,
        "name": call.name,
        "arguments": call.arguments,
        "output": None if failed else call.result,
        "error": {"type": "mcp_tool_execution_error", "content": call.result} if failed else None,
        "status": _MCP_STATUS[call.status],
    }
