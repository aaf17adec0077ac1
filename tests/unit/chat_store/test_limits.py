"""The rules of budgets, models and queues, one by one."""

from datetime import UTC, datetime

import pytest

from chat_store.domain.limits import (
    Account,
    Limits,
    Queue,
    check_budget,
    check_queue,
    error_of_call,
    model_of,
)
from chat_store.errors import LimitReached, ModelNotAllowed
from parley.contracts.access.models import AllowedModel, ModelCatalog
from tests.unit.chat_store.tables import Tables

NOW = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
CATALOG = ModelCatalog(
    (
        AllowedModel(name="large", groups=("research",), tokens_per_day=50, tokens_per_day_of_groups={"rich": 500}),
        AllowedModel(name="small", tokens_per_day=5),
        AllowedModel(name="usual", default=True),
        AllowedModel(name="admins", roles=("administrator",)),
    )
)


def test_nothing_is_limited_by_default() -> None:
    limits = Limits()
    assert not any((limits.limits_prompts, limits.limits_calls, limits.limits_queues, limits.has_budgets))


@pytest.mark.parametrize(
    ("groups", "used", "spent"),
    [
        ((), 99, False),
        ((), 100, True),
        (("other",), 100, True),
        (("staff",), 100, False),
        (("staff",), 1000, True),
        (("staff", "small"), 999, False),
        (("small",), 10, True),
        (("staff", "free"), 10**9, False),
    ],
)
def test_the_largest_budget_of_a_users_groups_counts(groups: tuple[str, ...], used: int, spent: bool) -> None:
    limits = Limits(tokens_per_day=100, tokens_per_day_of_groups={"staff": 1000, "small": 10, "free": 0})
    account = Account(groups=groups, used={"a": used - 1, "b": 1})
    if not spent:
        check_budget(limits, account, "a", now=NOW)
        return
    with pytest.raises(LimitReached) as refused:
        check_budget(limits, account, "a", now=NOW)
    assert (refused.value.reason, refused.value.retry_after) == ("budget_spent", 2 * 3600)
    assert error_of_call(refused.value).code == "budget_spent"
    assert error_of_call(refused.value).retryable


def test_a_models_budget_is_that_models_alone() -> None:
    limits = Limits(catalog=CATALOG)
    check_budget(limits, Account(used={"small": 4, "usual": 1000}), "small", now=NOW)
    with pytest.raises(LimitReached, match="small"):
        check_budget(limits, Account(used={"small": 5}), "small", now=NOW)
    check_budget(limits, Account(used={"small": 5}), "usual", now=NOW)
    check_budget(limits, Account(used={"large": 499}, groups=("rich",)), "large", now=NOW)


def test_who_names_no_model_gets_the_default_of_those_that_are_allowed() -> None:
    limits = Limits(catalog=CATALOG)
    assert model_of(limits, Account(), None) == "usual"
    assert model_of(limits, Account(groups=("research",)), "large") == "large"
    assert model_of(limits, Account(role="administrator"), "admins") == "admins"
    for model in ("large", "admins", "unknown"):
        with pytest.raises(ModelNotAllowed, match=model):
            model_of(limits, Account(), model)
    only = Limits(catalog=ModelCatalog((AllowedModel(name="large", groups=("research",)),)))
    with pytest.raises(ModelNotAllowed, match="any model"):
        model_of(only, Account(), None)
    assert model_of(Limits(), Account(), "whatever") == "whatever"


@pytest.mark.parametrize(
    ("queue", "refused"),
    [
        (Queue(prompts=0, bytes=0, running=False), False),
        (Queue(prompts=2, bytes=999, running=False), False),
        (Queue(prompts=3, bytes=999, running=False), True),
        (Queue(prompts=1, bytes=5, running=True), False),
        (Queue(prompts=2, bytes=5, running=True), True),
        (Queue(prompts=1, bytes=6, running=True), True),
    ],
)
def test_a_queue_has_room_for_as_many_and_as_much_as_allowed(queue: Queue, refused: bool) -> None:
    limits = Limits(queued_prompts=2, queued_bytes=10)
    if not refused:
        check_queue(limits, queue, new=5)
        return
    with pytest.raises(LimitReached) as full:
        check_queue(limits, queue, new=5)
    assert full.value.reason == "queue_full"


# --- deferred starts --------------------------------------------------------------------------------------------------


def test_a_prompt_whose_start_is_deferred_is_queued_and_names_its_author() -> None:
    tables = Tables()
    tables.defers = True
    tables.submit("first", user_id="ann")
    assert [message.status for message in tables.messages.values()] == ["queued"]
    assert (tables.active, tables.history[-1].waiting) == (None, "ann")
    tables.submit("second", user_id="ann")
    assert (len(tables.queued), tables.history[-1].waiting) == (2, None)


def test_the_end_of_an_answer_starts_no_prompt_whose_start_is_deferred() -> None:
    tables = Tables()
    tables.submit("first")
    tables.submit("second")
    tables.defers = True
    tables.answer()
    assert (tables.active, len(tables.queued), tables.history[-1].waiting) == (None, 1, "ann")


def test_a_new_prompt_does_not_overtake_those_that_wait_where_no_start_is_deferred_any_more() -> None:
    tables = Tables()
    tables.defers = True
    tables.submit("first")
    tables.defers = False
    tables.submit("second")
    assert [message.content for message in tables.queued] == ["first", "second"]


def test_a_prompt_over_the_limit_is_not_stored_but_one_that_is_stored_is_a_duplicate() -> None:
    tables = Tables()
    prompt_id = tables.submit()
    version = tables.chat and tables.chat.version
    tables.submit(refused=True)
    tables.submit(message_id=prompt_id, refused=True)
    assert tables.chat is not None
    assert tables.chat.version == version
    assert len(tables.messages) == 2
