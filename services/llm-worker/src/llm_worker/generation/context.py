"""Fitting a conversation into the model's budget. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from parley.contracts.completion import ContentPart, TextPart, ToolCall
from parley.contracts.rpc import ContextMessage

_BYTES_PER_TOKEN: Final = 4
_TOKENS_PER_MESSAGE: Final = 4
"""Tokens of a message in addition to its text: its role and the delimiters."""

_TOKENS_PER_CALL: Final = 8
_TOKENS_PER_IMAGE: Final = 1000
_TOKENS_PER_SMALL_IMAGE: Final = 85
"""With ``detail: low``; about what OpenAI's models count."""

_encode = msgspec.json.Encoder().encode


def tokens_in(text: str) -> int:
    """Estimate a text's tokens: four bytes of UTF-8 are about one, which also holds for scripts other than Latin."""
    return -(-len(text.encode(errors="replace")) // _BYTES_PER_TOKEN)


def tokens_of(message: ContextMessage) -> int:
    """Estimate a message's tokens."""
    content = sum(map(_tokens_of_part, message.parts)) if message.parts else tokens_in(message.content)
    return content + sum(map(_tokens_of_call, message.tool_calls)) + _TOKENS_PER_MESSAGE


def _tokens_of_call(call: ToolCall) -> int:
    """Estimate the tokens of a call, as the model writes it: without its result."""
    return tokens_in(call.name) + tokens_in(call.arguments) + _TOKENS_PER_CALL


def tokens_written(text: str, reasoning: str, calls: Iterable[ToolCall]) -> int:
    """Estimate the tokens of what a model wrote."""
    return tokens_in(text) + tokens_in(reasoning) + sum(map(_tokens_of_call, calls))


def tokens_of_parameters(parameters: Mapping[str, Any]) -> int:
    """Estimate the tokens of what a request's parameters add to its messages: the tools."""
    tools = parameters.get("tools")
    return -(-len(_encode(tools)) // _BYTES_PER_TOKEN) if tools else 0


def _tokens_of_part(part: ContentPart) -> int:
    if isinstance(part, TextPart):
        return tokens_in(part.text)
    return _TOKENS_PER_SMALL_IMAGE if part.detail == "low" else _TOKENS_PER_IMAGE


def prepare(context: Sequence[ContextMessage], budget: int) -> list[ContextMessage]:
    """Return the conversation that the model gets: within the budget, and no two neighbours of one role."""
    return merge_roles(trim(context, budget))


def trim(context: Sequence[ContextMessage], budget: int) -> list[ContextMessage]:
    """Drop the oldest messages until the rest is at most ``budget`` tokens.

    The system prompt and the last message always stay; where that is the result of a tool, all from the last prompt on.
    An answer is dropped with the prompt before it, and so are the results of its calls.
    """
    system = list(context[:1]) if context and context[0].role == "system" else []
    rest = context[len(system) :]
    last = _start_of_last_turn(rest)
    remaining = budget - sum(map(tokens_of, system)) - sum(map(tokens_of, rest[last:]))
    first = last
    while first > 0:
        remaining -= tokens_of(rest[first - 1])
        if remaining < 0:
            break
        first -= 1
    # Where nothing is dropped, the conversation begins as its sender wrote it.
    while 0 < first < last and rest[first].role in ("assistant", "tool"):
        first += 1
    return system + list(rest[first:])


def _start_of_last_turn(context: Sequence[ContextMessage]) -> int:
    """The index of the message from which on all stays."""
    last = max(len(context) - 1, 0)
    if context and context[last].role == "tool":
        last = next((index for index in range(last, -1, -1) if context[index].role == "user"), 0)
    return last


def merge_roles(context: Sequence[ContextMessage]) -> list[ContextMessage]:
    """Drop messages without content, and merge neighbours of one role, which a model's template may refuse.

    The last message stays, even without text. Results of tools, and the calls before them, stay as they are.
    """
    result: list[ContextMessage] = []
    for position, message in enumerate(context):
        if _is_empty(message) and position < len(context) - 1:
            continue
        if result and _are_mergeable(result[-1], message):
            message = _merged(result.pop(), message)
        result.append(message)
    return result


def _is_empty(message: ContextMessage) -> bool:
    return not (message.content.strip() or message.parts or message.tool_calls) and message.role != "tool"


def _are_mergeable(before: ContextMessage, message: ContextMessage) -> bool:
    # The results of its calls follow a message; text of the same role goes before calls, not after them.
    return before.role == message.role != "tool" and before.name == message.name and not before.tool_calls


def _merged(before: ContextMessage, message: ContextMessage) -> ContextMessage:
    parts: list[ContentPart] = []
    if before.parts or message.parts:
        parts = [*_parts_of(before), *_parts_of(message)]
    content = "\n\n".join(text for text in (before.content, message.content) if text)
    return replace(message, content=content, parts=parts)


def _parts_of(message: ContextMessage) -> list[ContentPart]:
    if message.parts or not message.content.strip():
        return message.parts
    return [TextPart(text=message.content)]
