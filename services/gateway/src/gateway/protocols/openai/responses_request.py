"""The body of ``POST /responses`` as a turn: each parameter is sent to the provider, used here, or refused. No I/O."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from gateway.errors import Invalid
from gateway.protocols.openai.response_items import Strict, parse_input
from parley.contracts.completion import CompletionRequest

_SENT: Final = (
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
)
"""Parameters that are sent to the provider unchanged."""

NOT_STORED: Final = (
    "store: false is for a single response in the foreground: its chat is deleted after it is delivered."
)

Include = Literal["message.input_image.image_url", "reasoning.encrypted_content"]
"""What may be asked for, and changes nothing: a response has its images anyway, and no reasoning of it is encrypted."""


class FunctionTool(Strict, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """A function of the client. What is only allowed to be null or false is not supported."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    allowed_callers: None = None
    defer_loading: Literal[False] | None = None
    output_schema: None = None

    def sent(self) -> dict[str, Any]:
        """Return the tool as chat completions spell it."""
        members = _members(self)
        members.pop("defer_loading", None)
        return {"type": "function", "function": members}


class FunctionChoice(Strict, frozen=True, kw_only=True, tag_field="type", tag="function"):
    name: str

    def sent(self) -> dict[str, Any]:
        return {"type": "function", "function": {"name": self.name}}


class AllowedTools(Strict, frozen=True, kw_only=True, tag_field="type", tag="allowed_tools"):
    mode: Literal["auto", "required"]
    tools: list[FunctionChoice]

    def sent(self) -> dict[str, Any]:
        tools = [tool.sent() for tool in self.tools]
        return {"type": "allowed_tools", "allowed_tools": {"mode": self.mode, "tools": tools}}


class PlainText(Strict, frozen=True, tag_field="type", tag="text"):
    def sent(self) -> dict[str, Any] | None:
        return None


class JsonObject(Strict, frozen=True, tag_field="type", tag="json_object"):
    def sent(self) -> dict[str, Any] | None:
        return {"type": "json_object"}


class JsonSchema(Strict, frozen=True, kw_only=True, tag_field="type", tag="json_schema"):
    name: str
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None

    def sent(self) -> dict[str, Any] | None:
        return {"type": "json_schema", "json_schema": _members(self)}


class TextConfig(Strict, frozen=True, kw_only=True):
    format: PlainText | JsonObject | JsonSchema | None = None
    verbosity: str | None = None


class Reasoning(Strict, frozen=True, kw_only=True):
    """Attributes:
    summary: What the provider says of its reasoning is the summary; there is no other length of it.
    generate_summary: The former name.
    """

    effort: str | None = None
    summary: Literal["auto"] | None = None
    generate_summary: Literal["auto"] | None = None
    context: None = None
    mode: None = None


class StreamOptions(Strict, frozen=True, kw_only=True):
    include_obfuscation: bool | None = None


class ConversationRef(Strict, frozen=True, kw_only=True):
    id: str


class NewResponse(Strict, frozen=True, kw_only=True):
    """``POST /openai/v1/responses``. A parameter that is only allowed to be null is not supported.

    Attributes:
        truncation: What is too long for the model is always cut from its oldest, as the response says. ``disabled`` is
            OpenAI's default, which some clients send.
        store: False: the chat is deleted once the response is delivered.
        client_metadata: Codex describes itself in it; not used.
    """

    input: Annotated[str, Meta(min_length=1)] | Annotated[list[dict[str, Any]], Meta(min_length=1)]
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationRef | None = None
    stream: bool | None = None
    background: bool | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    reasoning: Reasoning | None = None
    text: TextConfig | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | AllowedTools | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: list[Include] | None = None
    top_logprobs: Literal[0] | None = None
    stream_options: StreamOptions | None = None
    client_metadata: dict[str, Any] | None = None
    access_programs: None = None
    background_options: None = None
    context_management: None = None
    image: None = None
    max_tool_calls: None = None
    moderation: None = None
    prompt: None = None

    @property
    def conversation_id(self) -> str | None:
        return self.conversation.id if isinstance(self.conversation, ConversationRef) else self.conversation

    @property
    def is_stored(self) -> bool:
        return self.store is not False

    def prompt_and_completion(self, metadata: dict[str, str]) -> tuple[str, CompletionRequest]:
        """Return the prompt and the request of its answer.

        Args:
            metadata: The request's, without Parley's options.

        Raises:
            Invalid: parameters that exclude each other, or input that cannot be sent to a provider.
        """
        self._check()
        content, parts, context = parse_input(self.input)
        return content, CompletionRequest(
            parameters=self._parameters(),
            instructions=self.instructions,
            context=context,
            parts=parts,
            metadata=metadata,
            echo=self._echo(),
        )

    def _check(self) -> None:
        if self.previous_response_id is not None and self.conversation is not None:
            raise Invalid("previous_response_id and conversation exclude each other.", field="conversation")
        if not self.is_stored and (self.background or self.previous_response_id or self.conversation):
            raise Invalid(NOT_STORED, field="store")
        if self.stream_options is not None and self.stream_options.include_obfuscation:
            raise Invalid("Obfuscation is not supported.", field="stream_options.include_obfuscation")

    def _parameters(self) -> dict[str, Any]:
        """Return the members of the provider's request."""
        text, reasoning = self.text or TextConfig(), self.reasoning or Reasoning()
        choice = self.tool_choice
        parameters = {name: getattr(self, name) for name in _SENT} | {
            "max_completion_tokens": self.max_output_tokens,
            "reasoning_effort": reasoning.effort,
            "response_format": text.format and text.format.sent(),
            "service_tier": None if self.service_tier == "auto" else self.service_tier,
            "tool_choice": choice if choice is None or isinstance(choice, str) else choice.sent(),
            "tools": [tool.sent() for tool in self.tools or ()] or None,
            "verbosity": text.verbosity,
        }
        return {name: value for name, value in parameters.items() if value is not None}

    def _echo(self) -> dict[str, Any]:
        """Return what the response repeats, in addition to the parameters."""
        echo = {
            "background": self.background or None,
            "conversation": self.conversation_id,
            "previous_response_id": self.previous_response_id,
            "reasoning_summary": self.reasoning and self.reasoning.summary,
            "store": None if self.is_stored else False,
            "user": self.user,
        }
        return {name: value for name, value in echo.items() if value is not None}


def _members(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(struct).items() if value is not None}
