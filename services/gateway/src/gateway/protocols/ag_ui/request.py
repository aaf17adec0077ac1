"""The input of an AG-UI run, and its translation to a turn. No I/O."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UnsetType

from gateway.answers.turns import NewTurn
from gateway.errors import Invalid
from gateway.protocols.branch import Branch, Given, prompt_id_of, results_id_of
from gateway.protocols.openai.completion_request import turn_of
from gateway.protocols.options import Options
from parley.contracts.ids import derived_id, is_id
from parley.contracts.resources import Message

_ID_LENGTH = 36


class InputMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message of the conversation.

    Attributes:
        content: Text or parts; that of an activity, an object, is ignored.
        error: Why a tool has no result.
    """

    id: str
    role: Literal["developer", "system", "assistant", "user", "tool", "activity", "reasoning"]
    content: Any = None
    tool_call_id: str | None = None
    error: str | None = None


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str = ""
    parameters: Any = None


class ContextEntry(msgspec.Struct, frozen=True, kw_only=True):
    description: str
    value: str


class ForwardedProps(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the application. Other members are ignored.

    Attributes:
        model: Null: the chat's.
        parameters: Members of a chat completion's request: ``temperature`` …
        metadata: Strings; ``parley.when_busy`` is for Parley.
    """

    model: str | None = None
    parameters: dict[str, Any] = {}
    metadata: dict[str, Any] | None = None


class RunInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``POST /ag-ui``: AG-UI's ``RunAgentInput``. Members that are not listed are ignored.

    Attributes:
        thread_id: Identifies the chat, in any form.
        run_id: Identifies the answer within the chat, in any form.
        messages: The conversation. Its newest message, or the results of tools at its end, are answered; system and
            developer messages are instructions for this answer; the others are compared with the chat.
        tools: Of the client.
        context: Instructions for this answer.
        protocol_version: Of the client, from 1.0 on.
    """

    thread_id: str
    run_id: str
    messages: list[InputMessage]
    tools: list[Tool] | None = None
    context: list[ContextEntry] | None = None
    forwarded_props: ForwardedProps | None = None
    protocol_version: str | None = None

    @property
    def props(self) -> ForwardedProps:
        return self.forwarded_props or ForwardedProps()


def chat_id_of(user_id: str, thread_id: str) -> str:
    """Return the id of the chat that a client calls ``thread_id``."""
    return thread_id if is_id(thread_id) else derived_id(user_id, "ag-ui thread", thread_id)


def answer_id_of(user_id: str, chat_id: str, run_id: str) -> str:
    """Return the id of a run's answer."""
    return derived_id(user_id, "ag-ui run", f"{chat_id}\n{run_id}")


def given_of(user_id: str, chat_id: str, messages: list[InputMessage]) -> list[Given]:
    """Return the messages as they may be stored, where an answer's text, reasoning and calls are one message."""
    given: list[Given] = []
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if message.role == "user":
            prompt_id = _prompt_id(user_id, chat_id, message)
            given.append(Given(role="user", ids=(prompt_id, message.id), place=place))
        elif message.role in ("assistant", "reasoning"):
            ids = (message.id[:_ID_LENGTH],)
            if not given or given[-1].ids != ids:
                given.append(Given(role="assistant", ids=ids, place=place))
    return given


def new_prompt(
    run: RunInput,
    user_id: str,
    chat_id: str,
    options: Options,
    parent_id: str | None | UnsetType,
    results: Sequence[dict[str, Any]] = (),
) -> NewTurn:
    """Return the turn of the newest message, which is the user's, behind ``results`` of tools. Raises Invalid."""
    newest = run.messages[-1]
    content = newest.content
    if isinstance(content, list):
        content = [_part(part, f"messages[{len(run.messages) - 1}].content[{at}]") for at, part in enumerate(content)]
    message_id = _prompt_id(user_id, chat_id, newest)
    messages = [*results, {"role": "user", "content": content}]
    return _turn(run, user_id, messages, chat_id, message_id, parent_id, options)


def new_results(run: RunInput, user_id: str, branch: Branch, message: Message, options: Options) -> NewTurn:
    """Return the turn of the results of tools at the end of the conversation.

    Args:
        message: The answer before them.

    Raises:
        Conflict: that answer does not wait for them.
    """
    answer, results = branch.results_for(message, outputs_of(run))
    prompt_id = results_id_of("ag-ui", user_id, answer, results)
    return _turn(run, user_id, results, answer.chat_id, prompt_id, answer.id, options)


def outputs_of(run: RunInput) -> dict[str, str]:
    """Return the results of tools that the conversation has, by the call's id."""
    return {each.tool_call_id: _output(each) for each in run.messages if each.tool_call_id is not None}


def _turn(
    run: RunInput,
    user_id: str,
    messages: list[dict[str, Any]],
    chat_id: str,
    message_id: str,
    parent_id: str | None | UnsetType,
    options: Options,
) -> NewTurn:
    system = [message.content for message in run.messages if message.role in ("system", "developer")]
    system += [f"{entry.description}\n{entry.value}" for entry in run.context or ()]
    tools = [{"type": "function", "function": _function(tool)} for tool in run.tools or ()]
    return turn_of(
        run.props.parameters | ({"tools": tools} if tools else {}),
        [{"role": "system", "content": text} for text in system] + messages,
        chat_id=chat_id,
        message_id=message_id,
        answer_id=answer_id_of(user_id, chat_id, run.run_id),
        model=run.props.model,
        parent_id=parent_id,
        options=options,
    )


def _prompt_id(user_id: str, chat_id: str, message: InputMessage) -> str:
    return prompt_id_of("ag-ui", user_id, chat_id, message.id, message.content)


def _function(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description}
    return function if tool.parameters is None else {**function, "parameters": tool.parameters}


def _part(part: Any, place: str) -> dict[str, Any]:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "image", "source": {"type": "url", "value": str(url)}}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {"type": "image", "source": {"type": "data", "value": str(data), "mimeType": str(type_)}}:
            return {"type": "image_url", "image_url": {"url": f"data:{type_};base64,{data}"}}
        # As clients before version 1.0 have it.
        case {"type": "binary", "mimeType": str(type_), "url": str(url)} if type_.startswith("image/"):
            return {"type": "image_url", "image_url": {"url": url}}
        case {"type": "binary", "mimeType": str(type_), "data": str(data)} if type_.startswith("image/"):
            return {"type": "image_url", "image_url": {"url": f"data:{type_};base64,{data}"}}
        case _:
            raise Invalid(f"A message may contain text and images; {place} is neither.", field=place)


def _output(message: InputMessage) -> str:
    """Return a tool's result as text for the model."""
    if message.error is not None:
        return message.error
    return message.content if isinstance(message.content, str) else msgspec.json.encode(message.content).decode()
