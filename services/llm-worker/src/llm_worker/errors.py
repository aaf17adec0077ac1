"""The errors of llm-worker."""

from dataclasses import KW_ONLY, dataclass

from parley.contracts.resources import MessageError


class WorkerError(Exception):
    """Base of all errors of this service."""


class ConnectionClosed(WorkerError):
    """The connection to NATS is closed for good; a new process is needed."""


class LeaseLost(WorkerError):
    """Heartbeats were late: another worker may own the request by now. Publish nothing, acknowledge nothing."""


class ToolServerError(WorkerError):
    """A tool server does not answer; the message is for the model and for people."""


@dataclass(eq=False)
class ProviderError(WorkerError):
    """The provider did not deliver.

    Attributes:
        code: For programs; ``docs/protocol.md`` lists them.
        message: For people; names what they can do. Never the raw exception.
        transient: Whether the worker retries by itself.
        retryable: Whether a retry by the user can help.
        retry_after: Seconds that the provider asks to wait.
        status: The HTTP status of the provider's response, if it was an error status.
        detail: What the provider reported, for the log only.
        advice: What the operator can do, for the log only.
    """

    code: str
    message: str
    _: KW_ONLY
    transient: bool
    retryable: bool = True
    retry_after: float | None = None
    status: int | None = None
    detail: str = ""
    advice: str = ""

    def __str__(self) -> str:
        return self.message

    def as_message_error(self) -> MessageError:
        """Return the part that readers get."""
        return MessageError(code=self.code, message=self.message, retryable=self.retryable)


class ToolsRefused(ProviderError):
    """The model does not accept a request with tools."""
