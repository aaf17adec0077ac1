"""Rules for what a user may still do: budgets, models, queues. No I/O.

What costs money is exact over all processes, so chat-store decides (``docs/decisions/0055``). Which rule refused is its
``reason``: the code of the HTTP problem, and of the error of a message that was accepted before.
"""

from datetime import UTC, datetime, time, timedelta
from typing import Final

import msgspec

from chat_store.errors import LimitReached, ModelNotAllowed
from parley.contracts.access.models import ModelCatalog, allowance
from parley.contracts.limits import (
    BUDGET_SPENT,
    MAX_QUEUED_PROMPTS,
    QUEUE_FULL,
    TOO_MANY_ANSWERS,
    TOO_MANY_CHATS,
    TOO_MANY_PROMPTS,
)
from parley.contracts.resources import MessageError

_RETRY_ANSWER: Final = 5.0
"""Seconds after which an answer may have ended, or a queue may have become shorter."""
_RETRY_CHATS: Final = 60.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits that an operator has set. 0, or an empty catalog: none.

    Attributes:
        catalog: The allowed models, with their budgets.
    """

    prompts_per_minute: int = 0
    answers_per_user: int = 0
    chats_per_user: int = 0
    tokens_per_day: int = 0
    tokens_per_day_of_groups: dict[str, int] = {}
    queued_prompts: int = MAX_QUEUED_PROMPTS
    queued_bytes: int = 0
    catalog: ModelCatalog = ModelCatalog()

    @property
    def has_budgets(self) -> bool:
        """Whether the tokens of any user are limited."""
        return bool(self.tokens_per_day or self.tokens_per_day_of_groups) or any(
            model.tokens_per_day or model.tokens_per_day_of_groups for model in self.catalog.models
        )

    @property
    def limits_queues(self) -> bool:
        """Whether a queue is limited to less than the maximum."""
        return self.queued_prompts < MAX_QUEUED_PROMPTS or bool(self.queued_bytes)

    @property
    def limits_prompts(self) -> bool:
        """Whether a prompt may be refused before it is accepted."""
        return bool(self.prompts_per_minute) or self.has_budgets or self.limits_queues or bool(self.catalog)

    @property
    def limits_calls(self) -> bool:
        """Whether a call of the provider may be refused."""
        return self.has_budgets or bool(self.catalog)


NO_LIMITS: Final = Limits()


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits of a user depend on.

    Attributes:
        used: Tokens of this day, by model.
    """

    groups: tuple[str, ...] = ()
    role: str = "user"
    used: dict[str, int] = {}


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """What waits in a chat, or is admitted and will wait.

    Attributes:
        running: Whether an answer is active: otherwise the first prompt does not wait.
    """

    prompts: int
    bytes: int
    running: bool


def model_of(limits: Limits, account: Account, model: str | None) -> str | None:
    """Return the model of an answer: the one that is named, else the user's default; None: the provider's.

    Raises:
        ModelNotAllowed: the user may not use it.
    """
    if not limits.catalog:
        return model
    if model is None:
        default = limits.catalog.default_of_user(account.groups, account.role)
        if default is None:
            raise ModelNotAllowed(None)
        return default.name
    entry = limits.catalog.get(model)
    if entry is None or not entry.is_for(account.groups, account.role):
        raise ModelNotAllowed(model)
    return model


def check_budget(limits: Limits, account: Account, model: str | None, *, now: datetime) -> None:
    """Raises: LimitReached: the user's tokens of this day are used up, all or those of this model."""
    total = allowance(limits.tokens_per_day, limits.tokens_per_day_of_groups, account.groups)
    if total and sum(account.used.values()) >= total:
        raise _spent("Your tokens for today are used up", now)
    entry = None if model is None else limits.catalog.get(model)
    if entry is None:
        return
    of_model = allowance(entry.tokens_per_day, entry.tokens_per_day_of_groups, account.groups)
    if of_model and account.used.get(entry.name, 0) >= of_model:
        raise _spent(f"Your tokens for today with the model {entry.name} are used up", now)


def _spent(what: str, now: datetime) -> LimitReached:
    seconds = (day_of(now) + timedelta(days=1) - now).total_seconds()
    return LimitReached(BUDGET_SPENT, f"{what}. The next day begins at 00:00 UTC.", retry_after=max(1.0, seconds))


def day_of(now: datetime) -> datetime:
    """Return the beginning of the day, in UTC."""
    return datetime.combine(now.astimezone(UTC).date(), time(), UTC)


def has_room(limits: Limits, *, prompts: int, size: int, new: int) -> bool:
    """Whether a queue with ``prompts`` of ``size`` bytes takes one more prompt of ``new`` bytes."""
    return prompts < limits.queued_prompts and not (limits.queued_bytes and size + new > limits.queued_bytes)


def check_queue(limits: Limits, queue: Queue, *, new: int) -> None:
    """Raises: LimitReached: the chat's queue has no room for a prompt of ``new`` bytes."""
    # Without an active answer the first of them starts, of a size that is not known here.
    prompts, size = (queue.prompts, queue.bytes) if queue.running else (queue.prompts - 1, 0)
    if not has_room(limits, prompts=prompts, size=size, new=new if queue.running else 0):
        raise queue_full()


def queue_full() -> LimitReached:
    return LimitReached(QUEUE_FULL, "Too many messages wait in this chat. Try again later.", retry_after=_RETRY_ANSWER)


def too_many_prompts(limit: int, *, retry_after: float) -> LimitReached:
    return LimitReached(
        TOO_MANY_PROMPTS, f"You may send {limit} messages in a minute. Wait a moment.", retry_after=retry_after
    )


def too_many_answers(limit: int) -> LimitReached:
    return LimitReached(
        TOO_MANY_ANSWERS,
        f"{limit} of your answers are running. Stop one, or wait until one ends.",
        retry_after=_RETRY_ANSWER,
    )


def too_many_chats(limit: int) -> LimitReached:
    return LimitReached(
        TOO_MANY_CHATS, f"You have {limit} chats, which is the limit. Delete one first.", retry_after=_RETRY_CHATS
    )


def too_many_chats_of_member(limit: int) -> LimitReached:
    return LimitReached(TOO_MANY_CHATS, f"The member has {limit} chats, which is the limit.", retry_after=_RETRY_CHATS)


def error_of_call(refusal: LimitReached | ModelNotAllowed) -> MessageError:
    """Return the error of an answer whose provider may not be called."""
    return MessageError(
        code=refusal.reason or refusal.code, message=str(refusal), retryable=isinstance(refusal, LimitReached)
    )
