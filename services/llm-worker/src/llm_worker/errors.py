"""What can go wrong while an answer is made."""

from parley.contracts.resources import MessageError


class WorkerError(Exception):
    """Base of all errors of this service."""


class ConnectionClosed(WorkerError):
    """The connection to NATS is closed for good; a new process is needed."""


class LeaseLost(WorkerError):
    """Our heartbeats were late: by now the request may be another worker's. Publish nothing, acknowledge nothing."""


class ProviderFailure(WorkerError):
    """The provider did not deliver.

    Attributes:
        code: For programs; ``docs/protocol.md`` lists them.
        message: For people; says what they can do. Never the raw exception.
        curable: Whether we should try again by ourselves.
        retryable: Whether it can help that a person tries again.
        retry_after: Seconds that the provider asked us to wait.
        status: The HTTP status that the provider answered with, if it was an error's.
        detail: What the provider said, for the log only.
        advice: What whoever runs the server can do, for the log only.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        curable: bool,
        retryable: bool = True,
        retry_after: float | None = None,
        status: int | None = None,
        detail: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.curable = curable
        self.retryable = retryable
        self.retry_after = retry_after
        self.status = status
        self.detail = detail
        self.advice = advice

    def as_message_error(self) -> MessageError:
        """Return it as readers are told."""
        return MessageError(code=self.code, message=self.message, retryable=self.retryable)
