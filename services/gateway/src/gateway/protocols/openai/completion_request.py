"""A chat completion's request, and the turn that it is. No I/O.

Parameters that a provider may support are passed on unchanged; what Parley does not support is refused, never ignored.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import UnsetType

from gateway.answers.turns import NewTurn
from gateway.errors import Invalid
from gateway.protocols.options import Options, TurnIds
from parley.contracts.completion import (
    CompletionRequest,
    ContentPart,
    ContextMessage,
    ImagePart,
    TextPart,
    ToolCall,
)


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class TextContent(_Part, frozen=True, kw_only=True, tag="text"):
    text: str


class ImageUrl(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: str
    detail: str | None = None


class ImageContent(_Part, frozen=True, kw_only=True, tag="image_url"):
    image_url: ImageUrl


class AnswerText(TextContent, frozen=True, kw_only=True, tag="text"):
    """Text of an earlier answer.

    OpenAI's Agents SDK (JavaScript) repeats the message's members in it; they are not sent to the provider.
    """

    role: Literal["assistant"] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    annotations: list[dict[str, Any]] | None = None
    audio: None = None
    function_call: None = None


class RefusalContent(_Part, frozen=True, kw_only=True, tag="refusal"):
    refusal: str


class FunctionCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attributes:
    parsed_arguments: The SDKs' reading of ``arguments``, which their helpers add; not sent to the provider.
    """

    name: str
    arguments: str
    parsed_arguments: Any = None


class CalledFunction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attributes:
    extra_content: The provider's own, as it came with the call.
    """

    id: str
    function: FunctionCall
    type: Literal["function"] = "function"
    index: int | None = None
    extra_content: dict[str, Any] | None = None


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="role"):
    """A message. ``name`` distinguishes participants of one role."""

    name: str | None = None


class SystemMessage(_Message, frozen=True, kw_only=True, tag="system"):
    content: str | list[TextContent]


class DeveloperMessage(_Message, frozen=True, kw_only=True, tag="developer"):
    content: str | list[TextContent]


class UserMessage(_Message, frozen=True, kw_only=True, tag="user"):
    content: str | list[TextContent | ImageContent]


class AssistantMessage(_Message, frozen=True, kw_only=True, tag="assistant"):
    """An earlier answer.

    Attributes:
        reasoning_content, annotations: Of an answer that is sent back as it came; not sent to the provider.
        parsed: The SDKs' reading of ``content``, which their helpers add; not sent to the provider.
        audio, function_call: Only null.
    """

    content: str | list[AnswerText | RefusalContent] | None = None
    tool_calls: list[CalledFunction] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    annotations: list[dict[str, Any]] | None = None
    parsed: Any = None
    audio: None = None
    function_call: None = None


class ToolMessage(_Message, frozen=True, kw_only=True, tag="tool"):
    """The result of a call. ``name`` repeats the call's and is ignored."""

    content: str | list[TextContent]
    tool_call_id: str


InputMessage = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatCompletionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /openai/v1/chat/completions``. A member that is not listed is refused.

    Attributes:
        store: False: the chat is deleted after the answer is delivered.
        metadata: Strings; ``parley.chat_id``, ``parley.when_busy`` and ``parley.detach`` are for Parley.
        user: Not sent to the provider.
        service_tier: ``auto`` is not sent to the provider.
        n: 1.
        modalities: Text.
        logprobs, top_logprobs, audio, functions, function_call, moderation, prediction, web_search_options: Refused.
    """

    model: str
    messages: list[InputMessage]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    user: str | None = None
    service_tier: str | None = None
    n: int | None = None
    modalities: list[str] | None = None
    temperature: float | int | None = None
    top_p: float | int | None = None
    frequency_penalty: float | int | None = None
    presence_penalty: float | int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logit_bias: dict[str, float | int] | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    audio: Any = None
    functions: Any = None
    function_call: Any = None
    moderation: Any = None
    prediction: Any = None
    web_search_options: Any = None


_PASSED: Final = (
    *("temperature", "top_p", "frequency_penalty", "presence_penalty", "max_tokens", "max_completion_tokens"),
    *("stop", "seed", "logit_bias", "response_format", "tools", "tool_choice", "parallel_tool_calls"),
    *("reasoning_effort", "verbosity", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    "safety_identifier",
)
_REFUSED: Final = (
    *("logprobs", "top_logprobs", "audio", "functions", "function_call", "moderation", "prediction"),
    "web_search_options",
)


def turn_of(
    parameters: dict[str, Any],
    messages: list[dict[str, Any]],
    *,
    chat_id: str,
    message_id: str,
    answer_id: str | None,
    model: str | None,
    parent_id: str | None | UnsetType,
    options: Options,
) -> NewTurn:
    """Return the turn of another protocol's request.

    Args:
        parameters, messages: In the form of a chat completion.
        answer_id, model, parent_id: As in :class:`NewTurn`.

    Raises:
        Invalid: a parameter or a message is not supported.
    """
    members = {**parameters, "model": model or "", "messages": messages}
    try:
        request = msgspec.convert(members, ChatCompletionRequest)
    except msgspec.ValidationError as error:
        raise Invalid(f"parameters: {error}", field="parameters") from None
    turn = new_turn(request, TurnIds(chat_id=chat_id, message_id=message_id, answer_id=answer_id or ""), options)
    return dataclasses.replace(turn, chat_id=chat_id, answer_id=answer_id, model=model, parent_id=parent_id)


def new_turn(request: ChatCompletionRequest, ids: TurnIds, options: Options) -> NewTurn:
    """Return the turn that a request asks for.

    Raises:
        Invalid: a member is not supported; ``field`` names it.
    """
    _check(request)
    messages = list(enumerate(request.messages))
    instructions = []
    # The last message is what is answered, whoever wrote it.
    while messages[1:] and isinstance(first := messages[0][1], SystemMessage | DeveloperMessage) and first.name is None:
        instructions.append(_text(first.content))
        messages.pop(0)
    if not messages:
        raise Invalid("There is nothing to answer.", field="messages")
    content, parts, name = "", list[ContentPart](), None
    if isinstance(messages[-1][1], UserMessage):
        name = messages[-1][1].name
        content, parts = _content(*messages.pop())
    return NewTurn(
        chat_id=options.chat_id or ids.chat_id,
        message_id=ids.message_id,
        answer_id=ids.answer_id,
        content=content,
        model=request.model,
        when_busy=options.when_busy,
        completion=CompletionRequest(
            parameters=_parameters(request),
            instructions="\n\n".join(instructions) or None,
            context=[_in_context(index, message) for index, message in messages],
            parts=parts,
            name=name,
            metadata=options.metadata,
        ),
    )


def _check(request: ChatCompletionRequest) -> None:
    for name in _REFUSED:
        # False and 0 are the defaults.
        if getattr(request, name):
            raise Invalid(f"{name} is not supported.", code="unsupported_parameter", field=name)
    if request.n not in (None, 1):
        raise Invalid("Only one choice is supported: n must be 1.", code="unsupported_parameter", field="n")
    if request.modalities not in (None, ["text"]):
        raise Invalid("Only text is supported.", code="unsupported_parameter", field="modalities")
    for index, tool in enumerate(request.tools or ()):
        if tool.get("type") != "function":
            raise Invalid(
                f"Only tools of the type function are supported, not {tool.get('type')!r}.",
                code="unsupported_parameter",
                field=f"tools[{index}].type",
            )


def _parameters(request: ChatCompletionRequest) -> dict[str, Any]:
    parameters = {name: value for name in _PASSED if (value := getattr(request, name)) is not None}
    if request.service_tier not in (None, "auto"):
        parameters["service_tier"] = request.service_tier
    return parameters


def _in_context(index: int, message: InputMessage) -> ContextMessage:
    match message:
        case UserMessage():
            content, parts = _content(index, message)
            return ContextMessage(role="user", content=content, parts=parts, name=message.name)
        case AssistantMessage():
            calls = [
                ToolCall(
                    id=call.id,
                    name=call.function.name,
                    arguments=call.function.arguments,
                    extra_content=msgspec.json.encode(call.extra_content).decode() if call.extra_content else None,
                )
                for call in message.tool_calls or ()
            ]
            content = _text(message.content or "") or message.refusal or ""
            return ContextMessage(role="assistant", content=content, tool_calls=calls, name=message.name)
        case ToolMessage():
            return ContextMessage(role="tool", content=_text(message.content), tool_call_id=message.tool_call_id)
        case _:
            return ContextMessage(role="system", content=_text(message.content), name=message.name)


def _content(index: int, message: InputMessage) -> tuple[str, list[ContentPart]]:
    """Return a user's text, and all parts if any of them is not text."""
    assert isinstance(message, UserMessage)
    if isinstance(message.content, str):
        return message.content, []
    text = _text([part for part in message.content if isinstance(part, TextContent)])
    parts: list[ContentPart] = [
        TextPart(text=part.text)
        if isinstance(part, TextContent)
        else image(part.image_url.url, part.image_url.detail, f"messages[{index}].content[{at}].image_url.url")
        for at, part in enumerate(message.content)
    ]
    return text, parts if any(isinstance(part, ImagePart) for part in parts) else []


def image(url: str, detail: str | None, field: str) -> ImagePart:
    """Return an image of a request. Raises Invalid."""
    if not url.startswith(("https://", "data:image/")):
        raise Invalid("An image must be an https: address, or a data: address of an image.", field=field)
    return ImagePart(url=url, detail=detail)


def _text(content: str | Sequence[TextContent | RefusalContent]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text if isinstance(part, TextContent) else part.refusal for part in content)
