"""The rules of a chat, one by one."""

import functools

import pytest

from chat_store.domain import chats, generations, prompts
from chat_store.domain.limits import Limits
from chat_store.domain.prompts import QUEUE_BASE, title_from
from chat_store.domain.records import GenerationRecord, MemberRecord
from chat_store.errors import Conflict, Invalid, NoSuchMessage, NotFound
from parley.contracts import limits
from parley.contracts.events import PromptSubmitted
from parley.contracts.resources import MessageError, Usage
from parley.contracts.rpc import UpdateChat
from tests.unit.chat_store.tables import CHAT, START, Tables

GAVE_UP = MessageError(code="attempts_exhausted", message="No worker.", retryable=True)


@pytest.fixture
def tables() -> Tables:
    return Tables()


# --- prompts --------------------------------------------------------------------------------------------------------


def test_the_first_prompt_starts_an_answer_and_gives_the_chat_its_title(tables: Tables) -> None:
    prompt_id = tables.submit("\n  What   is NATS?\nAnd why?")
    assert tables.chat is not None
    assert tables.active is not None
    assert (tables.chat.title, tables.chat.version) == ("What is NATS?", 2)
    prompt, answer = tables.messages[prompt_id], tables.messages[tables.active.message_id]
    assert (prompt.status, prompt.parent_id, prompt.version) == ("sent", None, 2)
    assert (answer.status, answer.parent_id, answer.content) == ("pending", prompt_id, "")
    assert tables.chat.tip_id == answer.id
    assert tables.history[-1].request == tables.active


def test_the_same_prompt_again_changes_nothing(tables: Tables) -> None:
    prompt_id = tables.submit("words")
    tables.submit("words", message_id=prompt_id)
    assert len(tables.history) == 1


def test_another_prompt_with_an_id_that_is_taken_is_no_duplicate(tables: Tables) -> None:
    tables.members["bob"] = MemberRecord(chat_id=CHAT, user_id="bob", role="writer", added_at=START)
    prompt_id = tables.submit("words")
    answer_id = tables.answer().id
    for words, user, taken in (("other words", "ann", prompt_id), ("words", "bob", prompt_id), ("", "ann", answer_id)):
        prompt = PromptSubmitted(chat_id=CHAT, occurred_at=START, message_id=taken, user_id=user, content=words)
        assert tables.run(lambda chat: prompts.submit(chat, prompt)) == "id_taken"  # noqa: B023


def test_one_that_was_taken_back_is_a_duplicate_when_it_is_delivered_again(tables: Tables) -> None:
    tables.submit()
    waiting = tables.submit("words")
    tables.run(lambda chat: prompts.delete_queued(chat, "ann", waiting))
    again = PromptSubmitted(chat_id=CHAT, occurred_at=START, message_id=waiting, user_id="ann", content="words")
    assert tables.run(lambda chat: prompts.submit(chat, again)) == "duplicate"


def test_a_prompt_of_someone_who_is_no_member_is_dropped(tables: Tables) -> None:
    tables.submit(user_id="bob")
    assert tables.history == []


def test_a_prompt_behind_a_running_answer_waits_and_then_follows_that_answer(tables: Tables) -> None:
    tables.submit()
    waiting = tables.submit("second")
    assert tables.messages[waiting].status == "queued"
    assert tables.messages[waiting].position > QUEUE_BASE
    answer = tables.answer()
    assert tables.messages[waiting].status == "sent"
    assert tables.messages[waiting].parent_id == answer.id
    assert tables.active is not None
    assert tables.messages[tables.active.message_id].parent_id == waiting
    assert tables.messages[waiting].position > answer.position


def test_queued_prompts_are_answered_first_in_first_out(tables: Tables) -> None:
    prompts = [tables.submit(str(number)) for number in range(5)]
    answered = []
    while tables.active is not None:
        answered.append(tables.messages[tables.active.message_id].parent_id)
        tables.answer()
    assert answered == prompts


def test_an_answer_belongs_to_the_trace_of_its_prompt_also_when_that_had_to_wait(tables: Tables) -> None:
    tables.submit(traceparent="first")
    tables.submit(traceparent="second")
    tables.submit()
    traces = []
    while tables.active is not None:
        traces.append(tables.active.traceparent)
        tables.answer()
    assert traces == ["first", "second", None]


def test_an_edit_is_a_sibling_of_the_prompt_that_it_replaces(tables: Tables) -> None:
    tables.submit()
    first = tables.answer()
    tables.submit("second")
    tables.answer()
    edit = tables.submit("second, better", parent_id=first.id)
    assert tables.messages[edit].parent_id == first.id
    root = tables.submit("from the start", parent_id=None)
    tables.answer()
    assert tables.messages[root].parent_id is None
    assert tables.messages[root].status == "sent"


@pytest.mark.parametrize("parent", ["unknown", "queued"])
def test_a_prompt_for_a_parent_that_cannot_be_one_continues_at_the_tip(tables: Tables, parent: str) -> None:
    tables.submit()
    waiting = tables.submit("waits")
    prompt_id = tables.submit("then this", parent_id=waiting if parent == "queued" else tables.new_id())
    tables.answer()
    second = tables.answer()
    assert tables.messages[prompt_id].parent_id == second.id


@pytest.mark.parametrize("queue", [Limits(queued_prompts=2), Limits(queued_bytes=len("hello") * 2 + 7)])
def test_a_prompt_that_finds_the_queue_full_is_kept_with_an_answer_that_says_so(tables: Tables, queue: Limits) -> None:
    for _ in range(3):
        tables.submit("hello", limits=queue)
    prompt_id = tables.submit("too many", limits=queue)
    assert len(tables.queued) == 2
    assert tables.messages[prompt_id].status == "sent"
    (answer,) = tables.answers_to(prompt_id)
    assert answer.status == "failed"
    assert answer.error is not None
    assert (answer.error.code, answer.error.retryable) == ("queue_full", True)


def test_a_nul_is_stored_as_the_replacement_character(tables: Tables) -> None:
    prompt_id = tables.submit("a\x00b")
    assert tables.messages[prompt_id].content == "a�b"
    assert tables.answer("c\x00d").content == "c�d"


def test_a_queued_prompt_can_be_taken_back_and_leaves_a_tombstone(tables: Tables) -> None:
    tables.submit()
    waiting = tables.submit("never mind")
    for _ in range(2):
        tables.run(lambda chat: prompts.delete_queued(chat, "ann", waiting))
    assert (tables.messages[waiting].status, tables.messages[waiting].content) == ("deleted", "")
    tables.answer()
    assert tables.active is None
    tables.submit("never mind", message_id=waiting)
    assert tables.messages[waiting].status == "deleted"


def test_a_prompt_that_has_started_cannot_be_taken_back(tables: Tables) -> None:
    prompt_id = tables.submit()
    with pytest.raises(Conflict):
        tables.run(lambda chat: prompts.delete_queued(chat, "ann", prompt_id))
    with pytest.raises(NotFound):
        tables.run(lambda chat: prompts.delete_queued(chat, "ann", tables.new_id()))


# --- regenerate -----------------------------------------------------------------------------------------------------


def _regenerate(tables: Tables, message_id: str, answer_id: str, model: str | None = None) -> str:
    return tables.run(lambda chat: prompts.regenerate(chat, "ann", message_id, answer_id=answer_id, model=model)).id


def test_regenerating_makes_a_sibling_and_the_tip(tables: Tables) -> None:
    prompt_id = tables.submit()
    first = tables.answer()
    answer_id = tables.new_id()
    for _ in range(3):
        assert _regenerate(tables, first.id, answer_id, "other-model") == answer_id
    assert tables.chat is not None
    assert tables.chat.tip_id == answer_id
    assert [answer.id for answer in tables.answers_to(prompt_id)] == [first.id, answer_id]
    assert tables.messages[answer_id].model == "other-model"
    assert _regenerate(tables, first.id, answer_id) == answer_id, "also while it runs"


def test_regenerating_a_prompt_answers_it_once_more(tables: Tables) -> None:
    prompt_id = tables.submit()
    tables.answer()
    answer_id = tables.new_id()
    _regenerate(tables, prompt_id, answer_id)
    assert tables.messages[answer_id].parent_id == prompt_id


def test_regenerating_is_refused_while_an_answer_runs_and_for_what_cannot_be_answered(tables: Tables) -> None:
    prompt_id = tables.submit()
    waiting = tables.submit()
    with pytest.raises(Conflict):
        _regenerate(tables, prompt_id, tables.new_id())
    with pytest.raises(Conflict):
        _regenerate(tables, waiting, tables.new_id())
    with pytest.raises(NotFound):
        _regenerate(tables, tables.new_id(), tables.new_id())
    with pytest.raises(Conflict):
        _regenerate(tables, prompt_id, prompt_id)


# --- generations ----------------------------------------------------------------------------------------------------


def _claim(tables: Tables, claim_id: str) -> tuple[str, GenerationRecord]:
    active = tables.active
    assert active is not None
    claimed = tables.run(lambda chat: generations.claim(chat, active.id, claim_id=claim_id, worker_id="w"))
    assert claimed is not None
    return claimed.verdict, claimed.generation


def _release(tables: Tables, generation: GenerationRecord) -> None:
    tables.run(lambda chat: generations.release(chat, generation.id, generation.attempt))


def test_a_claim_raises_the_attempt_and_the_same_claim_does_not(tables: Tables) -> None:
    tables.submit()
    assert tables.claim(claim_id="a").attempt == 1
    version = tables.chat.version if tables.chat else 0
    assert tables.claim(claim_id="a").attempt == 1
    assert tables.chat is not None
    assert tables.chat.version == version
    assert tables.claim(claim_id="b").attempt == 2


def test_attempts_are_used_up_but_those_handed_back_do_not_count(tables: Tables) -> None:
    tables.submit()
    verdicts = []
    for number in range(limits.MAX_ATTEMPTS + 3):
        verdict, generation = _claim(tables, claim_id=str(number))
        verdicts.append(verdict)
        if number < 2:
            _release(tables, generation)
            assert tables.messages[generation.message_id].status == "pending"
    assert verdicts == ["stream"] * (limits.MAX_ATTEMPTS + 2) + ["exhausted"]


def test_a_release_by_a_worker_that_was_replaced_changes_nothing(tables: Tables) -> None:
    tables.submit()
    old = tables.claim()
    tables.claim()
    _release(tables, old)
    assert tables.active is not None
    assert (tables.active.released, tables.active.status) == (0, "running")


def test_only_the_current_attempt_ends_the_answer_and_only_once(tables: Tables) -> None:
    tables.submit()
    old = tables.claim()
    new = tables.claim()
    assert not tables.finish(old, text="from the older attempt")
    assert tables.finish(new, text="whole")
    assert not tables.finish(new, text="again")
    assert tables.messages[new.message_id].content == "whole"
    assert [line.output_tokens for line in tables.usage] == [2]


def test_a_failed_answer_keeps_its_text_and_error_and_the_next_prompt_starts(tables: Tables) -> None:
    tables.submit()
    waiting = tables.submit("next")
    generation = tables.claim()
    tables.finish(generation, outcome="failed", text="so far", error=GAVE_UP, usage=None)
    answer = tables.messages[generation.message_id]
    assert (answer.status, answer.content, answer.error) == ("failed", "so far", GAVE_UP)
    assert tables.messages[waiting].status == "sent"
    assert tables.usage == []


def test_an_estimated_usage_counts_and_is_marked_with_the_answer(tables: Tables) -> None:
    tables.submit()
    generation = tables.claim()
    estimated = Usage(input_tokens=7, output_tokens=3, estimated=True)
    tables.finish(generation, outcome="stopped", text="so far", usage=estimated)
    assert tables.messages[generation.message_id].resource().usage == estimated
    assert [(line.input_tokens, line.output_tokens) for line in tables.usage] == [(7, 3)]


def test_stopping_before_the_claim_ends_at_once_and_the_late_claim_is_refused(tables: Tables) -> None:
    tables.submit()
    generation = tables.active
    assert generation is not None
    tables.run(generations.stop)
    assert tables.active is None
    assert tables.messages[generation.message_id].status == "stopped"
    claimed = tables.run(lambda chat: generations.claim(chat, generation.id, claim_id="late", worker_id="w"))
    assert claimed is None


def test_stopping_a_running_answer_tells_its_worker_and_readers_see_nothing_yet(tables: Tables) -> None:
    tables.submit()
    generation = tables.claim()
    version = tables.chat.version if tables.chat else 0
    for _ in range(2):
        tables.run(generations.stop)
        assert tables.history[-1].stop == generation.id
        assert not tables.history[-1].visible
    assert tables.chat is not None
    assert tables.chat.version == version
    claimed = tables.run(lambda chat: generations.claim(chat, generation.id, claim_id="next", worker_id="w"))
    assert claimed is not None
    assert claimed.verdict == "stop_requested"


def test_a_stop_that_names_an_answer_ends_no_other(tables: Tables) -> None:
    first_prompt = tables.submit()
    first = tables.active
    assert first is not None
    tables.submit("next")
    tables.run(lambda chat: generations.stop(chat, first.message_id))
    following = tables.active
    assert following is not None
    assert following.id != first.id
    for late in (first.message_id, first_prompt):
        tables.run(lambda chat: generations.stop(chat, late))  # noqa: B023
        assert tables.active == following


def test_a_stop_may_name_the_prompt_and_means_its_first_answer(tables: Tables) -> None:
    prompt_id = tables.submit()
    first = tables.active
    assert first is not None
    tables.run(lambda chat: generations.stop(chat, prompt_id))
    assert tables.messages[first.message_id].status == "stopped"
    answer_id = tables.new_id()
    tables.run(lambda chat: prompts.regenerate(chat, "ann", prompt_id, answer_id=answer_id, model=None))
    tables.run(lambda chat: generations.stop(chat, prompt_id))
    assert tables.messages[answer_id].status == "pending", "a repeated stop does not end what was asked for since"
    tables.run(lambda chat: generations.stop(chat, answer_id))
    assert tables.messages[answer_id].status == "stopped"


def test_a_stop_that_names_a_queued_prompt_ends_its_answer_before_it_begins(tables: Tables) -> None:
    tables.submit()
    running = tables.active
    waiting, last = tables.submit("not this"), tables.submit("but this")
    tables.run(lambda chat: generations.stop(chat, waiting))
    assert tables.active == running
    assert tables.messages[waiting].status == "sent"
    (answer,) = [one for one in tables.messages.values() if one.parent_id == waiting]
    assert answer.status == "stopped"
    tables.answer()
    assert tables.active is not None
    assert tables.messages[tables.active.message_id].parent_id == last


def test_a_stop_that_names_nothing_is_refused(tables: Tables) -> None:
    tables.submit()
    with pytest.raises(NoSuchMessage):
        tables.run(lambda chat: generations.stop(chat, tables.new_id()))


def test_stopping_nothing_does_nothing(tables: Tables) -> None:
    tables.run(generations.stop)
    assert tables.history == []


def test_a_request_is_repeated_once_for_each_that_led_nowhere(tables: Tables) -> None:
    tables.submit()
    generation = tables.active
    assert generation is not None
    for _ in range(2):
        tables.run(lambda chat: generations.request_again(chat, generation.id, request=1))
    assert tables.active is not None
    assert tables.active.request == 2
    assert len(tables.history) == 2


def test_after_the_last_request_the_answer_fails_and_the_queue_goes_on(tables: Tables) -> None:
    tables.submit()
    waiting = tables.submit()
    generation = tables.active
    assert generation is not None
    for request in range(1, generations.MAX_REQUESTS + 1):
        assert tables.messages[generation.message_id].error is None
        tables.run(functools.partial(generations.request_again, generation_id=generation.id, request=request))
    assert tables.messages[generation.message_id].error == generations.NO_WORKER
    assert tables.messages[waiting].status == "sent"


# --- the chat -------------------------------------------------------------------------------------------------------


def _update(tables: Tables, **fields: str | None) -> None:
    request = UpdateChat(user_id="ann", chat_id=CHAT, **fields)  # type: ignore[arg-type]
    tables.run(lambda chat: chats.update(chat, request))


def test_updating_changes_what_is_named_and_only_that(tables: Tables) -> None:
    _update(tables, title="Mine", model="m")
    _update(tables, model=None)
    _update(tables, title="Mine")
    assert tables.chat is not None
    assert (tables.chat.title, tables.chat.model, tables.chat.version) == ("Mine", None, 3)


def test_the_chat_goes_on_from_the_branch_that_was_chosen(tables: Tables) -> None:
    tables.submit()
    first = tables.answer()
    tables.submit()
    tables.answer()
    _update(tables, tip_id=first.id)
    prompt_id = tables.submit("another way")
    assert tables.messages[prompt_id].parent_id == first.id


def test_a_tip_must_be_a_message_of_the_chat_that_has_its_place(tables: Tables) -> None:
    tables.submit()
    waiting = tables.submit()
    for tip in (waiting, tables.new_id()):
        with pytest.raises((Invalid, NoSuchMessage)):
            _update(tables, tip_id=tip)


def test_deleting_a_chat_stops_its_answer(tables: Tables) -> None:
    tables.submit()
    generation = tables.claim()
    tables.run(chats.delete)
    change = tables.history[-1]
    assert (change.deleted, change.stop, change.active) == (True, generation.id, None)
    assert change.chat.version == change.since + 1


# --- titles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("hello", "hello"),
        ("\n\t\n  two   words \nmore", "two words"),
        ("   \n ", None),
        ("x" * 100, "x" * 79 + "…"),
        ("word " * 30, "word " * 14 + "word…"),
    ],
)
def test_a_title_is_the_first_line_that_says_something(content: str, title: str | None) -> None:
    assert title_from(content) == title
    assert title is None or len(title) <= 80
