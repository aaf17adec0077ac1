"""The provider's errors, with messages that a program and a person can act on. No I/O."""

from dataclasses import dataclass, replace
from typing import Final

from llm_worker.errors import ProviderError, ToolsRefused


@dataclass(frozen=True)
class ErrorTemplate:
    """One kind of error; the fields are those of :class:`ProviderError`. ``message`` may have named placeholders."""

    code: str
    message: str
    transient: bool = False
    retryable: bool = True
    advice: str = ""
    error_type: type[ProviderError] = ProviderError

    def error(
        self, detail: str = "", *, status: int | None = None, retry_after: float | None = None, **values: object
    ) -> ProviderError:
        """Return the exception, with ``values`` in place of the placeholders."""
        return self.error_type(
            self.code,
            self.message.format(**values) if values else self.message,
            transient=self.transient,
            retryable=self.retryable,
            advice=self.advice,
            detail=detail,
            status=status,
            retry_after=retry_after,
        )


# --- errors that responses of the provider report, chosen by error_rules ---------------------------------------------

REGION: Final = ErrorTemplate(
    "provider_error",
    "The model provider does not serve the country or region that this server runs in.",
    retryable=False,
    advice="Choose a provider that serves this region (OPENAI_BASE_URL).",
)
REFUSED: Final = ErrorTemplate(
    "content_refused",
    "The model provider's content rules do not allow this answer. Try to put it in other words.",
    retryable=False,
)
NO_TOOLS: Final = ErrorTemplate(
    "provider_error",
    "This model cannot call tools. Choose another one.",
    retryable=False,
    advice="Parley's own tools are left out now; models of an entry of MCP_SERVERS names those that get them.",
    error_type=ToolsRefused,
)
TOOLS: Final = ErrorTemplate(
    "provider_error",
    "The model provider does not accept the definitions of the tools. Choose another model, or ask whoever runs "
    "this server.",
    retryable=False,
    advice="Parley's own tools are left out now; tools of an entry of MCP_SERVERS names those that are offered.",
    error_type=ToolsRefused,
)
TOOL_CALL: Final = ErrorTemplate(
    "provider_error",
    "The model called a tool in a form that its provider cannot read. Please try again, or choose another model.",
)
QUOTA: Final = ErrorTemplate(
    "rate_limited",
    "The account at the model provider has used up its quota or its credit. Only whoever runs this server can "
    "change that.",
    retryable=False,
    advice="Check the plan and the billing of the account that OPENAI_API_KEY belongs to.",
)
TOO_LONG: Final = ErrorTemplate(
    "context_too_long",
    "The conversation is too long for this model. Start a new chat, or choose a model with a larger context.",
    retryable=False,
    advice="CONTEXT_TOKENS is the budget of a conversation; lower it to the model's size.",
)
TOO_MUCH_A_MINUTE: Final = ErrorTemplate(
    "context_too_long",
    "The conversation is larger than what the model provider accepts of this server in a minute. Start a new chat, "
    "or choose another model.",
    retryable=False,
    advice="Lower CONTEXT_TOKENS below the account's tokens per minute, or raise the account's limit.",
)
KEY: Final = ErrorTemplate(
    "provider_auth",
    "The model provider did not accept the API key of this server. Only whoever runs this server can change that.",
    retryable=False,
    advice="Set OPENAI_API_KEY to a valid key for OPENAI_BASE_URL, and start llm-worker again.",
)
MODEL: Final = ErrorTemplate(
    "model_not_found",
    "The model provider does not offer this model. Choose another one.",
    retryable=False,
    advice="Check MODEL and OPENAI_BASE_URL.",
)
NAMED_MODEL: Final = replace(
    MODEL, message="The model provider does not offer the model {model!r}. Choose another one."
)
RATE: Final = ErrorTemplate(
    "rate_limited",
    "The model provider is receiving too many requests. Please try again in a while.",
    transient=True,
)
UNAVAILABLE: Final = ErrorTemplate(
    "provider_unavailable",
    "The model provider has a problem of its own. Please try again in a while.",
    transient=True,
)
REQUEST: Final = ErrorTemplate(
    "provider_error",
    "The model provider did not accept the request. Choose another model, or ask whoever runs this server.",
    retryable=False,
)

# --- errors that no response of the provider reports -----------------------------------------------------------------

CONTENT_FILTERED: Final = replace(REFUSED, retryable=True)
"""The provider's content rules ended this answer; another one may pass."""

NO_KEY: Final = ErrorTemplate(
    "provider_auth",
    "This server has no API key for a model provider. Only whoever runs it can change that.",
    retryable=False,
    advice="Set OPENAI_API_KEY, or OPENAI_BASE_URL to a server that needs none, and start llm-worker again.",
)
NO_MODEL: Final = ErrorTemplate(
    "model_not_found",
    "No model is chosen, and this server has no default. Choose a model.",
    retryable=False,
    advice="Set MODEL: the provider lists no models.",
)
NOT_LISTED: Final = ErrorTemplate(
    "model_not_found",
    "This server does not offer the model {model!r}. Choose another one.",
    retryable=False,
    advice="Only models that the provider lists, and MODEL, are requested, unless ANY_MODEL is set.",
)
UNREACHABLE: Final = ErrorTemplate(
    "provider_unavailable",
    "The model provider cannot be reached. Please try again in a while.",
    transient=True,
    advice="Check OPENAI_BASE_URL and the network.",
)
REDIRECTED: Final = ErrorTemplate(
    "provider_error",
    "The model provider has moved to another address. Only whoever runs this server can change that.",
    retryable=False,
    advice="Set OPENAI_BASE_URL to the new address; redirects are followed only within the same origin.",
)
CONNECTION_LOST: Final = ErrorTemplate(
    "provider_unavailable",
    "The connection to the model provider broke off in the middle of the answer. Please try again.",
    transient=True,
)
INTERRUPTED: Final = ErrorTemplate(
    "provider_unavailable", "The model provider broke the answer off. Please try again.", transient=True
)
FIRST_TOKEN_TIMEOUT: Final = ErrorTemplate(
    "provider_timeout",
    "The model did not begin to answer within {seconds:g} seconds. Please try again, or choose another model.",
    transient=True,
)
TOKEN_TIMEOUT: Final = ErrorTemplate(
    "provider_timeout",
    "The model fell silent for {seconds:g} seconds. Please try again, or choose another model.",
    transient=True,
)
EMPTY: Final = ErrorTemplate(
    "provider_error", "The model ended its answer without saying anything. Please try again, or choose another model."
)
TOO_LARGE: Final = ErrorTemplate(
    "provider_error",
    "The model provider sent more at once than the limit of {mebibytes} MiB allows; the answer ends with what fitted.",
)
UNREADABLE: Final = ErrorTemplate(
    "provider_error",
    "The model provider sent something that is not an answer. Only whoever runs this server can change that.",
    retryable=False,
    advice="OPENAI_BASE_URL must be an OpenAI-compatible API; it usually ends with /v1.",
)
ATTEMPTS_EXHAUSTED: Final = ErrorTemplate(
    "attempts_exhausted", "The answer was broken off several times and has been given up. Please try again."
)
INTERNAL: Final = ErrorTemplate("provider_error", "Something went wrong while the answer was made. Please try again.")
