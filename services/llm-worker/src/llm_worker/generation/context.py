"""Fitting a conversation into the model's budget. No I/O."""

from collections.abc import Sequence
from typing import Final

from parley.contracts.rpc import ContextMessage

_BYTES_PER_TOKEN: Final = 4
_TOKENS_PER_MESSAGE: Final = 4
"""Tokens of a message in addition to its text: its role and the delimiters."""


def tokens_in(text: str) -> int:
    """Estimate a text's tokens: four bytes of UTF-8 are about one, which also holds for scripts other than Latin."""
    return -(-len(text.encode(errors="replace")) // _BYTES_PER_TOKEN)


def tokens_of(message: ContextMessage) -> int:
    """Estimate a message's tokens."""
    return tokens_in(message.content) + _TOKENS_PER_MESSAGE


def prepare(context: Sequence[ContextMessage], budget: int) -> list[ContextMessage]:
    """Return the conversation that the model gets: within the budget, and no two neighbours of one role."""
    return merge_roles(trim(context, budget))


def trim(context: Sequence[ContextMessage], budget: int) -> list[ContextMessage]:
    """Drop the oldest messages until the rest is at most ``budget`` tokens.

    The system prompt and the last message always stay. An answer is dropped with the prompt before it.
    """
    system = list(context[:1]) if context and context[0].role == "system" else []
    rest = context[len(system) :]
    remaining = budget - sum(map(tokens_of, system))
    first = len(rest)
    while first > 0:
        remaining -= tokens_of(rest[first - 1])
        if remaining < 0 and first < len(rest):
            break
        first -= 1
    while first < len(rest) - 1 and rest[first].role == "assistant":
        first += 1
    return system + list(rest[first:])


def merge_roles(context: Sequence[ContextMessage]) -> list[ContextMessage]:
    """Drop messages without text, and merge neighbours of one role, which a model's template may refuse.

    The last message stays, even without text.
    """
    result: list[ContextMessage] = []
    for position, message in enumerate(context):
        if not message.content.strip() and position < len(context) - 1:
            continue
        if result and result[-1].role == message.role:
            before = result.pop()
            message = ContextMessage(role=message.role, content=f"{before.content}\n\n{message.content}")
        result.append(message)
    return result
