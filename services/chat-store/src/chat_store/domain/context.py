"""The context of a request to the model: the branch from the root to the prompt, cut to the limit."""

from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from parley.contracts.completion import CompletionRequest, ContextMessage, ToolCall

MAX_CONTEXT_BYTES: Final = 700 * 1024
"""The longest context, in bytes as JSON. The rest of a claim's reply fits in addition."""

_Unit = list[ContextMessage]
"""Messages that a provider accepts only together: calls of tools and their results; otherwise one message."""


class BranchMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a message that is sent to the model."""

    role: Literal["user", "assistant"]
    content: str
    completion: CompletionRequest | None = None
    tool_calls: list[ToolCall] = []


def fit(
    system_prompt: str | None, branch: list[BranchMessage], *, budget: int = MAX_CONTEXT_BYTES
) -> list[ContextMessage]:
    """Return what the provider gets: ``branch``, cut from its oldest message to fit ``budget`` bytes.

    The prompt itself (the end of the branch) always stays. An answer's calls of tools are given only with their
    results, which are in the context of the prompt after it; providers refuse the one without the other. A result
    without its call stays where it belongs to the prompt itself: the provider then says what is wrong.

    Args:
        system_prompt: Goes first, and is never cut; the prompt's own instructions replace it.
        branch: Oldest first.
    """
    completion = branch[-1].completion if branch else None
    if completion is not None and completion.instructions is not None:
        system_prompt = completion.instructions
    head = [ContextMessage(role="system", content=system_prompt)] if system_prompt else []
    requested = parameters(branch)
    left = budget - sum(_size(message) for message in head) - (len(msgspec.json.encode(requested)) if requested else 0)
    kept: list[_Unit] = []
    before = [message for earlier in branch[:-1] for message in _messages(earlier)]
    for unit in reversed(_units(before, _messages(branch[-1]) if branch else [])):
        left -= sum(_size(message) for message in unit)
        if kept and left < 0:
            break
        kept.append(unit)
    return head + [message for unit in reversed(kept) for message in unit]


def parameters(branch: list[BranchMessage]) -> dict[str, Any]:
    """Return the members of the provider's request that came with the prompt, the end of the branch."""
    completion = branch[-1].completion if branch else None
    return {} if completion is None else completion.parameters


def _messages(message: BranchMessage) -> list[ContextMessage]:
    """Return a message of a branch with the context that came with it."""
    if message.role == "assistant":
        calls = [call for call in message.tool_calls if call.server is None]
        return [ContextMessage(role="assistant", content=message.content, tool_calls=calls)]
    completion = message.completion or CompletionRequest()
    prompt = ContextMessage(role="user", content=message.content, parts=completion.parts, name=completion.name)
    return [*completion.context, *([prompt] if prompt.content or prompt.parts else [])]


def _units(before: list[ContextMessage], prompt: list[ContextMessage]) -> list[_Unit]:
    """Group calls with their results; drop calls without results, results without calls, and empty messages."""
    units: list[_Unit] = []
    unanswered: set[str] = set()
    for number, message in enumerate([*before, *prompt]):
        if message.role == "tool":
            if message.tool_call_id in unanswered:
                unanswered.remove(message.tool_call_id)
                units[-1].append(message)
            elif number >= len(before):
                units.append([message])
        else:
            units.append([message])
            unanswered = {call.id for call in message.tool_calls}
    return [unit for unit in map(_with_answered_calls, units) if any(map(_has_content, unit))]


def _with_answered_calls(unit: _Unit) -> _Unit:
    answered = {result.tool_call_id for result in unit[1:]}
    return [replace(unit[0], tool_calls=[call for call in unit[0].tool_calls if call.id in answered]), *unit[1:]]


def _has_content(message: ContextMessage) -> bool:
    return bool(message.content or message.parts or message.tool_calls)


def _size(message: ContextMessage) -> int:
    return len(msgspec.json.encode(message)) + 1
