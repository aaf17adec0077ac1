"""A turn as the ``response`` object of OpenAI's Responses. No I/O."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from gateway.protocols.openai.response_items import Item, output_items
from gateway.protocols.openai.responses_ids import conversation_id, response_id
from parley.contracts import rpc
from parley.contracts.completion import CompletionRequest
from parley.contracts.resources import Message, MessageError

_STATUS: Final = {
    "queued": "queued",
    "pending": "queued",
    "sent": "queued",
    "streaming": "in_progress",
    "complete": "completed",
    "stopped": "cancelled",
    "deleted": "cancelled",
    "failed": "failed",
    "rejected": "failed",
}
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ERROR_CODES: Final = {"rate_limited": "rate_limit_exceeded", "too_many_prompts": "rate_limit_exceeded"}
"""The errors that OpenAI has a code for; any other is its ``server_error``."""


class ConversationOf(msgspec.Struct, frozen=True, kw_only=True):
    id: str


class ResponseObject(msgspec.Struct, frozen=True, kw_only=True):
    """A response, with every member that OpenAI's API and Open Responses require.

    Attributes:
        completed_at: When an answer ended is not stored.
        error: ``code``, ``message`` and ``type``, where ``status`` is ``failed``.
        output: Items; of a running response those of dropped attempts only.
        usage: Cached and reasoning tokens are not counted separately.
        truncation: A context that is too long is always cut, the oldest messages first.
    """

    id: str
    created_at: int
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
    model: str
    output: list[Item]
    background: bool
    store: bool
    instructions: str | None
    metadata: dict[str, str]
    previous_response_id: str | None
    conversation: ConversationOf | None
    error: dict[str, str] | None
    incomplete_details: dict[str, str] | None
    usage: Item | None
    temperature: float
    top_p: float
    max_output_tokens: int | None
    parallel_tool_calls: bool
    tools: list[Item]
    tool_choice: Any
    reasoning: Item
    text: Item
    service_tier: str
    safety_identifier: str | None
    prompt_cache_key: str | None
    user: str | None
    object: Literal["response"] = "response"
    completed_at: None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_logprobs: int = 0
    max_tool_calls: None = None
    truncation: Literal["auto"] = "auto"


def response_object(turn: rpc.TurnReply, answer_id: str, *, status: str | None = None) -> ResponseObject:
    """Return the response of a turn.

    Args:
        answer_id: The answer's, also while its prompt is queued.
        status: That of an earlier moment, before there was output; None: the stored one.
    """
    completion = turn.completion or CompletionRequest()
    answer = None if status else turn.answer
    message = turn.answer or turn.prompt
    echo = completion.echo
    reason = None if answer is None else _INCOMPLETE.get(answer.finish_reason or "")
    current: Any = status or _status(message)
    return ResponseObject(
        id=response_id(turn.prompt.chat_id, answer_id),
        created_at=int(turn.prompt.created_at.timestamp()),
        status=current,
        model=(answer and answer.model) or turn.prompt.model or "",
        output=output_items(answer),
        background=echo.get("background", False),
        store=echo.get("store", True),
        instructions=completion.instructions,
        metadata=completion.metadata,
        previous_response_id=echo.get("previous_response_id"),
        conversation=ConversationOf(id=conversation_id(turn.prompt.chat_id)) if "conversation" in echo else None,
        error=_error(message.error) if current == "failed" and message.error is not None else None,
        incomplete_details={"reason": reason} if reason and current == "incomplete" else None,
        usage=None if answer is None else _usage(answer),
        user=echo.get("user"),
        **_parameters(completion.parameters, echo.get("reasoning_summary")),
    )


def _status(message: Message) -> str:
    if message.status == "complete" and message.finish_reason in _INCOMPLETE:
        return "incomplete"
    return _STATUS[message.status]


def _parameters(parameters: Mapping[str, Any], summary: str | None) -> Item:
    """Return the parameters of the request in the form of Responses, with OpenAI's defaults for absent ones."""
    text: Item = {"format": _format(parameters.get("response_format"))}
    if "verbosity" in parameters:
        text["verbosity"] = parameters["verbosity"]
    return {
        "temperature": parameters.get("temperature", 1.0),
        "top_p": parameters.get("top_p", 1.0),
        "max_output_tokens": parameters.get("max_completion_tokens"),
        "parallel_tool_calls": parameters.get("parallel_tool_calls", True),
        "tools": [_tool(tool["function"]) for tool in parameters.get("tools", ())],
        "tool_choice": _tool_choice(parameters.get("tool_choice", "auto")),
        "reasoning": {"effort": parameters.get("reasoning_effort"), "summary": summary},
        "text": text,
        "service_tier": parameters.get("service_tier", "default"),
        "safety_identifier": parameters.get("safety_identifier"),
        "prompt_cache_key": parameters.get("prompt_cache_key"),
    }


def _format(response_format: Mapping[str, Any] | None) -> Item:
    if response_format is None:
        return {"type": "text"}
    schema = response_format.get("json_schema", {})
    nothing = {"description": None, "strict": False} if schema else {}
    return {"type": response_format["type"], **nothing, **schema}


def _tool(function: Mapping[str, Any]) -> Item:
    return {"type": "function", "description": None, "parameters": None, "strict": None, **function}


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return choice
    if choice["type"] == "function":
        return {"type": "function", **choice["function"]}
    allowed = choice["allowed_tools"]
    return {
        "type": "allowed_tools",
        "mode": allowed["mode"],
        "tools": [_tool_choice(tool) for tool in allowed["tools"]],
    }


def _usage(answer: Message) -> Item | None:
    usage = answer.usage
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _error(error: MessageError) -> dict[str, str]:
    code = _ERROR_CODES.get(error.code, "server_error")
    # The AI SDK reads no error without a type.
    return {"code": code, "message": error.message, "type": code}
