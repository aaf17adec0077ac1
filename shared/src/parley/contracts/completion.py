"""What a prompt and an answer have in addition to text: images, parameters of the request, calls of tools."""

from typing import Any, Literal

import msgspec

PartKind = Literal["reasoning", "text", "tool"]
ToolStatus = Literal["called", "awaiting_approval", "running", "complete", "failed", "denied"]
WhenBusy = Literal["enqueue", "reject", "interrupt", "rollback"]
"""What happens to a prompt whose chat has a running answer or queued prompts.

``enqueue``: answered in its turn. ``reject``: not stored (``chat_busy``). ``interrupt``: the running answer is stopped
and keeps its partial text; the prompt is answered next, before those that are queued. ``rollback``: as ``interrupt``,
and the prompt takes the place of the running prompt: it has the same parent, so that the running turn is not in its
branch.
"""


class TextPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    text: str


class ImagePart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="image"):
    """An image for the model.

    Attributes:
        url: An ``https:`` or ``data:`` URL.
        detail: ``low``, ``high`` or ``auto``, where the provider knows it.
    """

    url: str
    detail: str | None = None


ContentPart = TextPart | ImagePart


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call of a tool within an answer.

    Attributes:
        id: The provider's, unique within the answer.
        arguments: JSON, as the model wrote it.
        server: The server that runs it for Parley; null: a tool of the client, which runs it and sends the result;
            ``unknown``: nobody has such a tool, and the call has failed.
        status: ``called`` is the last one of a client's tool.
        result: Text, or JSON as text; null until there is one. Of a failed call, why.
        seconds: How long it ran.
        extra_content: A JSON object of the provider, which gets it back with the call: Google's thought signature,
            without which Gemini refuses the result.
    """

    id: str
    name: str
    arguments: str = ""
    server: str | None = None
    status: ToolStatus = "called"
    result: str | None = None
    seconds: float | None = None
    extra_content: str | None = None


class ToolDelta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change of the call number ``index`` (from 0) of a running answer.

    Attributes:
        call: The call begins, or its status or result changed: replaces what was known.
        arguments: More of its arguments: append.
    """

    index: int
    call: ToolCall | None = None
    arguments: str = ""


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run of an answer, in the order in which the model wrote.

    Attributes:
        length: Characters (Unicode code points) of the text or the reasoning; of ``tool``, which is the next call, 0.
    """

    kind: PartKind
    length: int = 0


class ContextMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of a conversation, in the form for a provider.

    Attributes:
        parts: The content with its images; empty: ``content`` alone.
        tool_calls: Of an answer that called tools; the messages that follow have the results.
        tool_call_id: Of a result (``role`` tool): the call's id.
        name: Distinguishes participants of one role.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    parts: list[ContentPart] = []
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None
    name: str | None = None


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the answer to a prompt is requested from the provider, in addition to the prompt's text.

    Attributes:
        parameters: Members of the provider's request, sent as they are: ``temperature``, ``tools``, ``max_tokens`` …
        instructions: The system prompt of this answer, instead of the chat's.
        context: Messages before the prompt that are not stored as messages of the chat, the oldest first. Where the
            prompt's content is empty, the last of them is what is answered: results of tools.
        parts: The prompt with its images; empty: its text alone.
        name: The author's; distinguishes participants of one role.
        metadata: The client's own; returned with the turn.
        echo: Members that the gateway's adapter of a protocol repeats in its responses; returned with the turn.
    """

    parameters: dict[str, Any] = {}
    instructions: str | None = None
    context: list[ContextMessage] = []
    parts: list[ContentPart] = []
    name: str | None = None
    metadata: dict[str, str] = {}
    echo: dict[str, Any] = {}


class ToolRound(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content of an answer up to its calls of tools that Parley runs; stored before the next round.

    Attributes:
        calls: A call without a result was running when its worker died.
        layout: The order of text, reasoning and calls; empty: reasoning, text, calls.
    """

    text: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = []
    layout: list[Span] = []


def prompt_bytes(content: str, completion: CompletionRequest | None) -> int:
    """Return what a prompt takes of a queue: its content as UTF-8, and its completion as JSON."""
    text = len(content.encode(errors="replace"))
    return text if completion is None else text + len(msgspec.json.encode(completion))
