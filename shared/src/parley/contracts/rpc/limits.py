"""Requests about the limits of users and what they used."""

from datetime import date
from typing import ClassVar

from parley.contracts.requests import ReplyBase, StoreRequest
from parley.contracts.resources import TokenUsage


class Admitted(ReplyBase, frozen=True, kw_only=True, tag="admitted"):
    """The prompt may be sent.

    Attributes:
        limited: Whether any limit is set that this request checks. When none is, a gateway need not ask for a minute.
    """

    limited: bool


class AdmitPrompt(StoreRequest[Admitted], frozen=True, kw_only=True):
    """Reserve a place for a prompt within the limits of its user and chat, before it is published.

    ``too_many`` when a limit is reached, ``forbidden`` when the user may not use the model; ``reason`` names the rule.
    The same chat and message id again counts once.

    Attributes:
        bytes: Of the content, as UTF-8.
        model: The model that the message names; null: the chat's.
    """

    VERB: ClassVar = "admit_prompt"
    user_id: str
    chat_id: str
    message_id: str
    bytes: int
    model: str | None = None


class UsageReply(ReplyBase, frozen=True, kw_only=True, tag="usage"):
    items: list[TokenUsage]


class GetUsage(StoreRequest[UsageReply], frozen=True, kw_only=True):
    """Sum the tokens of this user's answers by model; with ``by_day``, by day (UTC) and model.

    Attributes:
        from_day, to_day: The first and the last day that count; null: no bound.
    """

    VERB: ClassVar = "usage"
    user_id: str
    by_day: bool = False
    from_day: date | None = None
    to_day: date | None = None
