"""The tool calls and the layout of a running answer, assembled from its deltas. No I/O."""

from typing import Final

from msgspec.structs import replace

from parley.contracts.completion import PartKind, Span, ToolCall, ToolDelta

__all__ = ["default_layout", "extend_layout", "is_default", "merge_tool"]

_DEFAULT_ORDER: Final[tuple[PartKind, ...]] = ("reasoning", "text", "tool")


def merge_tool(calls: list[ToolCall], tool: ToolDelta) -> bool:
    """Apply a change of a call to the calls so far, in place.

    Returns:
        Whether a call began. Changes of a call that has not begun are ignored.
    """
    index = tool.index
    begins = index == len(calls)
    if index > len(calls) or (begins and tool.call is None):
        return False
    call = tool.call or calls[index]
    if tool.arguments:
        call = replace(call, arguments=call.arguments + tool.arguments)
    calls[index : index + 1] = [call]
    return begins


def extend_layout(layout: list[Span], kind: PartKind, length: int = 0) -> None:
    """Append a run to the layout, in place: so many characters of text or reasoning, or a call that began."""
    if kind == "tool":
        layout.append(Span(kind))
    elif length == 0:
        return
    elif layout and layout[-1].kind == kind:
        layout[-1] = Span(kind, layout[-1].length + length)
    else:
        layout.append(Span(kind, length))


def default_layout(text: str, reasoning: str, calls: list[ToolCall]) -> list[Span]:
    """Return what an empty layout stands for: reasoning, text, calls."""
    layout: list[Span] = []
    extend_layout(layout, "reasoning", len(reasoning))
    extend_layout(layout, "text", len(text))
    layout.extend(Span("tool") for _ in calls)
    return layout


def is_default(layout: list[Span]) -> bool:
    """Return whether the layout equals the default one."""
    order = [_DEFAULT_ORDER.index(span.kind) for span in layout]
    return order == sorted(order)
