"""The history of requests, against which the invariants are checked."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Sent:
    """One message, retried under the same id until it was accepted.

    Attributes:
        tokens: The length of the numbered answer (:func:`parley_cli.demo_model.answers.numbered`); None: another model.
        accepted_at: The time of the first 202 (``time.time()``).
        deleted: The user deleted it while it was queued.
        regenerated: The number of acknowledged regenerations.
        maybe_regenerated: The number of regenerations without a response: each may exist or not.
    """

    chat_id: str
    message_id: str
    content: str
    model: str
    tokens: int | None = None
    accepted_at: float | None = None
    deleted: bool = False
    regenerated: int = 0
    maybe_regenerated: int = 0


@dataclass
class History:
    """All messages that were sent.

    Attributes:
        refusals: Valid requests that were refused.
        stops: The number of answers that a user stopped.
        duplicates: The number of messages that were sent several times at once.
    """

    sent: dict[tuple[str, str], Sent] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    stops: int = 0
    duplicates: int = 0

    def add(self, sent: Sent) -> Sent:
        self.sent[sent.chat_id, sent.message_id] = sent
        return sent

    @property
    def accepted(self) -> list[Sent]:
        return [sent for sent in self.sent.values() if sent.accepted_at is not None]
