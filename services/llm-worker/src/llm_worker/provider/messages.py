"""Writes messages in the shape of the chat completions API. No I/O."""

from collections.abc import Mapping
from typing import Any, Final

from parley.contracts.completion import ContentPart, ContextMessage, TextPart, ToolCall

OWN_MEMBERS: Final = frozenset({"model", "messages", "stream", "stream_options", "n"})
"""The members of a request that the worker sets itself, whatever a prompt's parameters say."""


def request_members(parameters: Mapping[str, Any], messages: list[ContextMessage]) -> dict[str, Any]:
    """Return the members of a request for the answer to ``messages``, but for those of its transport."""
    members = {name: value for name, value in parameters.items() if name not in OWN_MEMBERS}
    members["messages"] = [_message(message) for message in messages]
    return members


def _message(message: ContextMessage) -> dict[str, Any]:
    content: Any = [_part(part) for part in message.parts] or message.content
    found: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        found["content"] = content or None
        found["tool_calls"] = [_call(call) for call in message.tool_calls]
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


def _call(call: ToolCall) -> dict[str, Any]:
    # Servers that parse the arguments refuse empty ones.
    function = {"name": call.name, "arguments": call.arguments.strip() or "{}"}
    return {"id": call.id, "type": "function", "function": function}
