"""The context of a model request: the branch from the root to the prompt, as much of it as fits."""

from typing import Final

import msgspec

from parley.contracts.rpc import ContextMessage

MAX_CONTEXT_BYTES: Final = 700 * 1024
"""The longest context, in bytes as JSON. The rest of a claim's reply fits in addition."""


def fit(
    system_prompt: str | None, branch: list[ContextMessage], *, budget: int = MAX_CONTEXT_BYTES
) -> list[ContextMessage]:
    """Cut ``branch`` from its oldest message to fit ``budget`` bytes; the prompt itself, its last one, always stays.

    Args:
        system_prompt: Goes first, and is never cut.
        branch: Oldest first, without empty messages.
    """
    head = [ContextMessage(role="system", content=system_prompt)] if system_prompt else []
    left = budget - sum(_size(message) for message in head)
    kept: list[ContextMessage] = []
    for message in reversed(branch):
        left -= _size(message)
        if kept and left < 0:
            break
        kept.append(message)
    return head + kept[::-1]


def _size(message: ContextMessage) -> int:
    return len(msgspec.json.encode(message)) + 1
