"""Writes messages in the shape of the chat completions API. No I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from parley.contracts.completion import ContentPart, ContextMessage, TextPart, ToolCall

OWN_MEMBERS: Final = frozenset({"model", "messages", "stream", "stream_options", "n"})
"""The members of a request that the worker sets itself, whatever a prompt's parameters say."""

_REASONING: Final = "reasoning_content"
_EXTRA: Final = "extra_content"
_LATER_SYSTEM: Final = b"System message must be at the beginning"
_DETAILS: Final = "reasoning_details"
"""OpenRouter's place of the extra content: the message, and not its calls."""


class Calling(ContextMessage, frozen=True, kw_only=True):
    """An answer so far, with its calls of tools; ``reasoning`` is sent to the models that require it."""

    reasoning: str = ""


@dataclass(frozen=True)
class RequestShape:
    """How a request differs from the documented one, because a model's server refuses that.

    Attributes:
        has_usage: It has ``stream_options``, which older servers do not know.
        has_reasoning: Its answers have ``reasoning_content``: DeepSeek and Moonshot refuse a call of a tool without the
            reasoning before it. Other servers refuse the member.
        has_extra_content: Its calls have the ``extra_content`` that came with them, or its answers their encrypted
            ``reasoning_details``; from another server if the chat has changed its model.
        has_later_system: Its messages of the system are where they were written. The templates of Qwen's models accept
            one, at the beginning.
    """

    has_usage: bool = True
    has_reasoning: bool = False
    has_extra_content: bool = True
    has_later_system: bool = True

    def apply(self, members: Mapping[str, Any]) -> dict[str, Any]:
        """Return the members of a request in this shape."""
        messages = [self._answer(one) if one["role"] == "assistant" else one for one in members["messages"]]
        system = [one["content"] for one in messages if one["role"] == "system"]
        if system and not self.has_later_system:
            text = "\n\n".join(system)
            messages = [{"role": "system", "content": text}, *(one for one in messages if one["role"] != "system")]
        usage = {"stream_options": {"include_usage": True}} if self.has_usage else {}
        return {**members, "messages": messages, **usage}

    def instead(self, status: int, body: bytes) -> "RequestShape":
        """Return the shape to try after an error; itself if the error is not about the shape."""
        if _LATER_SYSTEM in body:  # llama.cpp's status is 500
            return replace(self, has_later_system=False)
        if status not in (400, 422):
            return self
        if self.has_usage and b"stream_options" in body:
            return replace(self, has_usage=False)
        if _REASONING.encode() in body:
            return replace(self, has_reasoning=not self.has_reasoning)
        if self.has_extra_content and (_EXTRA.encode() in body or _DETAILS.encode() in body):
            return replace(self, has_extra_content=False)
        return self

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        if not self.has_extra_content and "tool_calls" in message:
            calls = [_without(call, _EXTRA) for call in message["tool_calls"]]
            message = {**_without(message, _DETAILS), "tool_calls": calls}
        if self.has_reasoning:
            # A blank is the least that all of them accept where there was no reasoning, or it is not known any more.
            return {_REASONING: " ", **message}
        return _without(message, _REASONING)


def _without(members: dict[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in members.items() if each != name}


def request_members(parameters: Mapping[str, Any], messages: list[ContextMessage]) -> dict[str, Any]:
    """Return the members of a request for the answer to ``messages``, but for those of its transport."""
    members = {name: value for name, value in parameters.items() if name not in OWN_MEMBERS}
    members["messages"] = [_message(message) for message in messages]
    return members


def _message(message: ContextMessage) -> dict[str, Any]:
    content: Any = [_part(part) for part in message.parts] or message.content
    found: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        # Amazon's and Anthropic's servers refuse a blank text.
        found["content"] = content if message.parts or message.content.strip() else None
        extras = [json.loads(call.extra_content or "{}") for call in message.tool_calls]
        if details := [entry for extra in extras for entry in extra.pop(_DETAILS, ())]:
            found[_DETAILS] = details
        found["tool_calls"] = [_call(call, extra) for call, extra in zip(message.tool_calls, extras, strict=True)]
    if isinstance(message, Calling) and message.reasoning:
        found[_REASONING] = message.reasoning
    if message.name is not None:
        found["name"] = message.name
    if message.tool_call_id is not None:
        found["tool_call_id"] = message.tool_call_id
    return found


def _part(part: ContentPart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    image = {"url": part.url}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _call(call: ToolCall, extra: dict[str, Any]) -> dict[str, Any]:
    # Servers that parse the arguments refuse empty ones.
    function = {"name": call.name, "arguments": call.arguments.strip() or "{}"}
    found = {"id": call.id, "type": "function", "function": function}
    return {**found, _EXTRA: extra} if extra else found
