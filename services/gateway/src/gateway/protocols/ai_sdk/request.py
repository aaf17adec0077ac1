"""A request of the AI SDK's chat transport, and its translation to a turn. No I/O."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from gateway.answers.turns import NewTurn
from gateway.errors import Invalid
from gateway.protocols.branch import Branch, Given, prompt_id_of, results_id_of
from gateway.protocols.openai.completion_request import turn_of
from gateway.protocols.options import Options
from parley.contracts.ids import derived_id, is_id
from parley.contracts.resources import Message

_IGNORED_PARTS = ("data-", "step-start")


class UIMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message in the form of the AI SDK.

    Attributes:
        id: The client's, in any form.
        parts: A user's: ``text`` and ``file``; the system's: ``text``. Of an answer, only the results of the client's
            tools are read.
    """

    id: str
    role: Literal["system", "user", "assistant"]
    parts: list[dict[str, Any]]


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True, rename={"message_id": "messageId"}):
    """``POST /ai-sdk/chat``. Members that are not listed are ignored.

    Attributes:
        id: Identifies the chat, in any form; the id of a chat of Parley is that chat.
        messages: The conversation. The newest message is answered; those of the system are instructions for this
            answer; the others are compared with the chat.
        trigger: ``regenerate-message``: another answer to the last message.
        message_id: Of a user's message that replaces an earlier version, or of an answer that continues.
        model: Null: the chat's.
        parameters: Members of a chat completion's request: ``tools``, ``temperature`` …
        metadata: Strings; ``parley.when_busy`` is for Parley.
    """

    id: str
    messages: list[UIMessage]
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: str | None = None
    model: str | None = None
    parameters: dict[str, Any] = {}
    metadata: dict[str, Any] | None = None


def chat_id_of(user_id: str, text: str) -> str:
    """Return the id of the chat that a client calls ``text``."""
    return text if is_id(text) else derived_id(user_id, "ai-sdk chat", text)


def given_of(user_id: str, chat_id: str, messages: list[UIMessage]) -> list[Given]:
    """Return the messages as they may be stored; those of the system are not."""
    return [
        Given(
            role=message.role,
            ids=(message.id,) if message.role == "assistant" else (_prompt_id(user_id, chat_id, message), message.id),
            place=f"messages[{index}]",
        )
        for index, message in enumerate(messages)
        if message.role != "system"
    ]


def new_prompt(
    request: ChatRequest,
    user_id: str,
    chat_id: str,
    options: Options,
    parent_id: str | None | UnsetType = UNSET,
    results: Sequence[dict[str, Any]] = (),
) -> NewTurn:
    """Return the turn of the newest message, which is the user's.

    Args:
        results: Of tools, as messages of a chat completion; the model gets them before the message.

    Raises:
        Invalid: it has parts that a model cannot be given.
    """
    index = len(request.messages) - 1
    content = [_content(part, f"messages[{index}].parts[{at}]") for at, part in enumerate(request.messages[-1].parts)]
    message = {"role": "user", "content": [part for part in content if part is not None]}
    message_id = _prompt_id(user_id, chat_id, request.messages[-1])
    return _turn(request, [*results, message], chat_id, message_id, parent_id, options)


def new_results(request: ChatRequest, user_id: str, branch: Branch, message: Message, options: Options) -> NewTurn:
    """Return the turn of the results of the client's tools that the newest message has, which is an answer.

    Args:
        message: The first answer of the newest message.

    Raises:
        Conflict: no answer waits for them.
    """
    answer, results = branch.results_for(message, outputs_of(request.messages[-1:]))
    prompt_id = results_id_of("ai-sdk", user_id, answer, results)
    return _turn(request, results, answer.chat_id, prompt_id, answer.id, options)


def outputs_of(messages: Sequence[UIMessage]) -> dict[str, str]:
    """Return the results of tools that messages have, by the call's id."""
    parts = [part for message in messages for part in message.parts if isinstance(part.get("toolCallId"), str)]
    return {part["toolCallId"]: output for part in parts if (output := _output(part)) is not None}


def _turn(
    request: ChatRequest,
    messages: list[dict[str, Any]],
    chat_id: str,
    message_id: str,
    parent_id: str | None | UnsetType,
    options: Options,
) -> NewTurn:
    system = [
        {"role": "system", "content": _text(message, f"messages[{index}]")}
        for index, message in enumerate(request.messages)
        if message.role == "system"
    ]
    return turn_of(
        request.parameters,
        system + messages,
        chat_id=chat_id,
        message_id=message_id,
        answer_id=None,
        model=request.model,
        parent_id=parent_id,
        options=options,
    )


def _prompt_id(user_id: str, chat_id: str, message: UIMessage) -> str:
    return prompt_id_of("ai-sdk", user_id, chat_id, message.id, message.parts)


def _text(message: UIMessage, place: str) -> str:
    texts = [part.get("text") for part in message.parts]
    if not all(isinstance(text, str) for text in texts):
        raise Invalid(f"A message of the system has text only; {place} does not.", field=place)
    return "".join(map(str, texts))


def _content(part: dict[str, Any], place: str) -> dict[str, Any] | None:
    kind = part.get("type")
    if kind == "text" and isinstance(text := part.get("text"), str):
        return {"type": "text", "text": text}
    if kind == "file" and str(part.get("mediaType")).startswith("image/"):
        return {"type": "image_url", "image_url": {"url": part.get("url")}}
    if isinstance(kind, str) and kind.startswith(_IGNORED_PARTS):
        return None
    raise Invalid(f"A message may contain text and images; {place} is neither.", field=place)


def _output(part: dict[str, Any]) -> str | None:
    """Return a tool's result as text for the model; None while there is none."""
    match part.get("state"):
        case "output-available":
            output = part.get("output")
            return output if isinstance(output, str) else msgspec.json.encode(output).decode()
        case "output-error":
            return str(part.get("errorText"))
        case _:
            return None
