"""What the users did: the promises that the run is held to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Sent:
    """One message of a user, sent again under the same id until it was accepted.

    Attributes:
        tokens: How many numbered ones the model says (:func:`parley_cli.demo_model.answers.numbered`); None: others.
        accepted_at: When the first 202 came (``time.time()``); None until then.
        deleted: The user asked to take it back while it was queued.
        regenerated: How many further answers were promised.
        maybe_regenerated: How many further answers were asked for without a reply: each may be there or not.
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
class Ledger:
    """All that was sent.

    Attributes:
        refusals: Requests that were refused although nothing was wrong with them.
        stops: How often a user stopped an answer.
        duplicates: How often a message was sent several times at once.
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
