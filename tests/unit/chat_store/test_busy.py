"""What happens to a prompt whose chat is busy: one rule for each test (docs/decisions/0068)."""

import pytest

from chat_store.domain import answers, generations, prompts
from chat_store.domain.limits import Limits
from parley.contracts.completion import WhenBusy
from parley.contracts.events import PromptSubmitted
from tests.unit.chat_store.tables import CHAT, START, Tables

STOPS: list[WhenBusy] = ["interrupt", "rollback"]


@pytest.fixture
def tables() -> Tables:
    return Tables()


def _submitted(tables: Tables, when_busy: WhenBusy, message_id: str | None = None, user_id: str = "ann") -> str:
    event = PromptSubmitted(
        chat_id=CHAT,
        message_id=message_id or tables.new_id(),
        user_id=user_id,
        content="hello",
        occurred_at=START,
        when_busy=when_busy,
    )
    return tables.run(lambda chat: prompts.submit(chat, event))


@pytest.mark.parametrize("when_busy", ["reject", "interrupt", "rollback"])
def test_in_a_chat_that_is_not_busy_every_prompt_is_answered_at_once(tables: Tables, when_busy: WhenBusy) -> None:
    assert _submitted(tables, when_busy) == "started"
    tables.answer()
    assert _submitted(tables, when_busy) == "started"
    assert [message.status for message in tables.messages.values()] == ["sent", "complete", "sent", "pending"]


def test_a_prompt_is_rejected_while_an_answer_is_requested_or_running_or_prompts_wait(tables: Tables) -> None:
    tables.submit()
    assert _submitted(tables, "reject") == "chat_busy"
    tables.claim()
    assert _submitted(tables, "reject") == "chat_busy"
    tables.submit()
    tables.defers = True
    tables.answer()
    assert tables.active is None
    assert _submitted(tables, "reject") == "chat_busy"
    assert len(tables.messages) == 3


def test_a_rejected_prompt_stays_rejected_when_it_is_delivered_again(tables: Tables) -> None:
    tables.submit()
    message_id = tables.new_id()
    assert _submitted(tables, "reject", message_id) == "chat_busy"
    tables.answer()
    for when_busy in ("reject", "enqueue", "interrupt"):
        assert _submitted(tables, when_busy, message_id) == "chat_busy"
    assert len(tables.rejected) == 1
    tables.join("bob")
    assert _submitted(tables, "reject", message_id, "bob") == "started", "another's rejection is not one's own"


def test_an_interrupted_answer_keeps_its_text_and_the_prompt_follows_it_before_those_that_wait(tables: Tables) -> None:
    tables.submit("first")
    running = tables.claim()
    waiting = tables.submit("waits")
    interrupting = tables.submit("now", when_busy="interrupt")
    assert tables.history[-1].stop == running.id
    assert [prompt.id for prompt in tables.queued] == [interrupting, waiting]
    tables.finish(running, outcome="stopped", text="so far")
    answer = tables.messages[running.message_id]
    assert (answer.status, answer.content) == ("stopped", "so far")
    assert tables.active is not None
    assert tables.prompt_of(tables.active).id == interrupting
    assert tables.messages[interrupting].parent_id == answer.id
    second = tables.answer()
    assert tables.messages[waiting].parent_id == second.id


@pytest.mark.parametrize("when_busy", STOPS)
def test_an_answer_that_no_worker_has_claimed_ends_at_once_and_the_prompt_starts(
    tables: Tables, when_busy: WhenBusy
) -> None:
    prompt_id = tables.submit("first")
    waiting = tables.submit("waits")
    assert tables.active is not None
    stopped = tables.active.message_id
    interrupting = tables.submit("now", when_busy=when_busy)
    assert tables.messages[stopped].status == "stopped"
    assert tables.prompt_of(tables.active).id == interrupting
    assert tables.messages[interrupting].parent_id == (stopped if when_busy == "interrupt" else None)
    assert [prompt.id for prompt in tables.queued] == [waiting]
    assert tables.answers_to(prompt_id)[0].id == stopped


def test_the_latest_of_several_interrupting_prompts_is_answered_first(tables: Tables) -> None:
    tables.submit("first")
    running = tables.claim()
    one, two, three = (tables.submit(word, when_busy="interrupt") for word in ("one", "two", "three"))
    waiting = tables.submit("waits")
    assert [change.stop for change in tables.history[-4:]] == [running.id] * 3 + [None]
    tables.finish(running, outcome="stopped")
    order = []
    while tables.active is not None:
        order.append(tables.prompt_of(tables.active).id)
        tables.answer()
    assert order == [three, two, one, waiting]


def test_a_prompt_that_rolls_back_has_the_parent_of_the_running_prompt(tables: Tables) -> None:
    tables.submit("first")
    first = tables.answer()
    tables.submit("second")
    running = tables.claim()
    waiting = tables.submit("waits")
    chosen = tables.submit("elsewhere", when_busy="rollback", parent_id=None)
    rolling = tables.submit("second, better", when_busy="rollback")
    tables.finish(running, outcome="stopped", text="so far")
    assert tables.messages[rolling].parent_id == first.id
    answer = tables.answer()
    tables.answer()
    assert tables.messages[chosen].parent_id == first.id, "its place is the running prompt's, whatever it chose"
    assert tables.messages[answer.id].parent_id == rolling
    third = tables.answers_to(chosen)[0]
    assert tables.messages[waiting].parent_id == third.id


def test_what_rolls_back_a_further_answer_is_a_sibling_of_that_answers_prompt(tables: Tables) -> None:
    tables.submit("first")
    first = tables.answer()
    second = tables.submit("second")
    tables.answer()
    tables.run(lambda chat: prompts.regenerate(chat, "ann", second, answer_id=tables.new_id(), model=None))
    tables.claim()
    rolling = tables.submit("better", when_busy="rollback")
    assert tables.messages[rolling].parent_id == first.id


@pytest.mark.parametrize("when_busy", STOPS)
def test_a_prompt_that_the_full_queue_refuses_stops_nothing(tables: Tables, when_busy: WhenBusy) -> None:
    tables.submit("first")
    running = tables.claim()
    refused = tables.submit("now", when_busy=when_busy, limits=Limits(queued_prompts=0))
    assert (tables.active, tables.history[-1].stop) == (running, None)
    assert tables.answers_to(refused)[0].status == "failed"


@pytest.mark.parametrize("when_busy", STOPS)
def test_where_starts_are_deferred_the_prompt_goes_first_and_its_author_is_noted(
    tables: Tables, when_busy: WhenBusy
) -> None:
    tables.join("bob")
    tables.submit("first")
    tables.submit("waits")
    tables.defers = True
    interrupting = tables.submit("now", when_busy=when_busy, user_id="bob")
    assert (tables.active, tables.history[-1].waiting) == (None, "bob")
    another = tables.submit("no, now", when_busy=when_busy)
    assert (tables.queued[0].id, tables.history[-1].waiting) == (another, "ann")
    tables.defers = False
    tables.run(answers.start_next)
    assert tables.active is not None
    assert tables.prompt_of(tables.active).id == another
    assert tables.queued[0].id == interrupting


def test_the_same_prompt_again_does_not_stop_its_own_answer(tables: Tables) -> None:
    tables.submit("first")
    message_id = tables.new_id()
    assert _submitted(tables, "interrupt", message_id) == "started"
    active = tables.active
    assert _submitted(tables, "interrupt", message_id) == "duplicate"
    assert tables.active == active


def test_a_stop_after_an_interruption_stops_the_answer_that_is_stopping(tables: Tables) -> None:
    tables.submit("first")
    running = tables.claim()
    interrupting = tables.submit("now", when_busy="interrupt")
    tables.run(generations.stop)
    assert tables.history[-1].stop == running.id
    tables.run(lambda chat: generations.stop(chat, interrupting))
    assert tables.answers_to(interrupting)[0].status == "stopped"
    tables.finish(running, outcome="stopped")
    assert tables.active is None
