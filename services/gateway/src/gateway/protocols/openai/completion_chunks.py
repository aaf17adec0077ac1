"""The events of an answer as chunks of a chat completion, and a whole answer as one. No I/O."""

import math
from typing import Any, Final, Literal

import msgspec

from gateway.answers.events import (
    AnswerEvent,
    AttemptStarted,
    Ended,
    PartDelta,
    PartStarted,
    Requested,
)
from gateway.protocols.openai.errors import AnswerFailed, answer_failed
from parley.contracts.completion import ToolCall
from parley.contracts.resources import Message, Usage

DONE: Final = b"data: [DONE]\n\n"

_CUT_OFF: Final = (
    "The answer was cut off, and is generated again. "
    "The same request with the same Idempotency-Key returns the whole answer."
)
_FINISH_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter"})

_encode = msgspec.json.Encoder().encode


class Function(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    arguments: str


class FunctionToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call. ``extra_content`` is an extension of Google, whose models need it with the call's result."""

    id: str
    function: Function
    type: Literal["function"] = "function"
    extra_content: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class CompletionMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer. ``reasoning_content`` is an extension of DeepSeek, vLLM and others."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str | None = None
    tool_calls: list[FunctionToolCall] = []


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    message: CompletionMessage
    finish_reason: str
    logprobs: None = None


class CompletionUsage(msgspec.Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer.

    Attributes:
        created: Unix time in seconds.
    """

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage | None


def completion_id(answer_id: str) -> str:
    return f"chatcmpl-{answer_id.replace('-', '')}"


def completion_of(message: Message, model: str) -> ChatCompletion:
    """Return an answer that has ended. Raises AnswerFailed: it is not complete."""
    _require_complete(message)
    calls = [
        FunctionToolCall(
            id=call.id,
            function=Function(name=call.name, arguments=call.arguments),
            extra_content=msgspec.json.decode(call.extra_content) if call.extra_content else msgspec.UNSET,
        )
        for call in message.tool_calls
        if _is_clients(call)
    ]
    return ChatCompletion(
        id=completion_id(message.id),
        created=_created(message),
        model=message.model or model,
        choices=[
            Choice(
                index=0,
                message=CompletionMessage(
                    role="assistant",
                    content=message.content if message.content or not calls else None,
                    refusal=None,
                    reasoning_content=message.reasoning or None,
                    tool_calls=calls,
                ),
                finish_reason=_finish_reason(message),
            )
        ],
        usage=_usage(message.usage),
    )


class CompletionChunks:
    """Makes the chunks of one answer.

    Args:
        model: As requested.
        include_usage: Whether each chunk has a member ``usage``, and the last one the tokens.
    """

    def __init__(self, model: str, *, include_usage: bool) -> None:
        self._model = model
        self._include_usage = include_usage
        self._calls: dict[int, int] = {}  # the index of a call by that of its part
        self._has_begun = False
        self._head = b""
        self._tail = b""

    def encode(self, event: AnswerEvent) -> bytes:
        """Return the server-sent events for an event; empty if the protocol has none.

        Raises:
            AnswerFailed: the answer is not complete, or an attempt that was partly sent was dropped.
        """
        match event:
            case PartDelta(kind="tool"):
                if (index := self._calls.get(event.index)) is None:
                    return b""
                return self._delta({"tool_calls": [{"index": index, "function": {"arguments": event.text}}]})
            case PartDelta():
                name = b'{"content":' if event.kind == "text" else b'{"reasoning_content":'
                return self._chunk(name + _encode(event.text) + b"}")
            case PartStarted(call=ToolCall() as call) if _is_clients(call):
                index = self._calls[event.index] = len(self._calls)
                return self._begin(None) + self._delta({"tool_calls": [_begun(index, call)]})
            case PartStarted(call=None):
                return self._begin("" if event.kind == "text" else None)
            case Requested():
                self._set_message(event.message)
            case AttemptStarted() if self._has_begun:
                raise AnswerFailed(_CUT_OFF, status=503, code="attempt_dropped")
            case Ended():
                return self._end(event.message)
            case _:
                pass
        return b""

    def _set_message(self, message: Message) -> None:
        head = {
            "id": completion_id(message.id),
            "object": "chat.completion.chunk",
            "created": _created(message),
            "model": message.model or self._model,
        }
        self._head = b"data: " + _encode(head)[:-1]
        self._tail = (b',"usage":null}' if self._include_usage else b"}") + b"\n\n"

    def _begin(self, content: str | None) -> bytes:
        """Return the first chunk; ``content`` is null where the answer does not begin with text: clients take any other
        for the beginning of one."""
        if self._has_begun:
            return b""
        self._has_begun = True
        return self._delta({"role": "assistant", "content": content, "refusal": None})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self._chunk(_encode(delta))

    def _chunk(self, delta: bytes, finish_reason: bytes = b"null") -> bytes:
        return b'%b,"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]%b' % (
            self._head,
            delta,
            finish_reason,
            self._tail,
        )

    def _end(self, message: Message) -> bytes:
        _require_complete(message)
        last = self._chunk(b"{}", _encode(_finish_reason(message)))
        usage = b""
        if self._include_usage:
            usage = b'%b,"choices":[],"usage":%b}\n\n' % (self._head, _encode(_usage(message.usage)))
        return self._begin("") + last + usage + DONE


def _require_complete(message: Message) -> None:
    """Raises AnswerFailed. An answer that the provider's content rules cut off is complete, with that reason."""
    if message.status != "complete" and message.finish_reason != "content_filter":
        raise answer_failed(message)


def _is_clients(call: ToolCall) -> bool:
    # Parley runs the others itself: their results are in the answer.
    return call.server is None


def _begun(index: int, call: ToolCall) -> dict[str, Any]:
    found = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
    return found if call.extra_content is None else {**found, "extra_content": msgspec.json.decode(call.extra_content)}


def _created(message: Message) -> int:
    return math.floor(message.created_at.timestamp())


def _finish_reason(message: Message) -> str:
    """Return why the answer ended, as one of the API's values."""
    if message.finish_reason in _FINISH_REASONS and message.finish_reason is not None:
        return message.finish_reason
    return "tool_calls" if any(map(_is_clients, message.tool_calls)) else "stop"


def _usage(usage: Usage | None) -> CompletionUsage | None:
    if usage is None:
        return None
    return CompletionUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
    )
