"""Where a client's conversation stands in the stored chat."""

from typing import Any

import pytest
from msgspec import UNSET

from gateway.errors import Conflict
from gateway.protocols.branch import Branch, Given
from parley.contracts.completion import ToolCall
from parley.contracts.resources import Chat, Message
from tests.unit.gateway.answer_events import CHAT, answer, prompt

CALL = ToolCall(id="call_1", name="clock")


def chat(tip: str) -> Chat:
    now = answer().created_at
    return Chat(
        id=CHAT,
        owner_id="ann",
        title=None,
        model=None,
        system_prompt=None,
        tip_id=tip,
        created_at=now,
        updated_at=now,
        version=9,
        running=False,
    )


def p(id_: str, parent: str | None, **fields: Any) -> Message:
    return prompt(id=id_, parent_id=parent, **fields)


def a(id_: str, parent: str, **fields: Any) -> Message:
    return answer(id=id_, parent_id=parent, **fields)


def given(*ids: str) -> list[Given]:
    """``p…`` is a prompt, which is stored under its own id or under another one that the client does not know."""
    return [
        Given(role="user" if id_[0] == "p" else "assistant", ids=("derived", id_), place=f"messages[{index}]")
        for index, id_ in enumerate(ids)
    ]


TWO_TURNS = [p("p1", None), a("a1", "p1"), p("p2", "a1"), a("a2", "p2")]


def branch(*messages: Message, tip: str = "a2") -> Branch:
    return Branch(chat=chat(tip), messages=messages or TWO_TURNS)


@pytest.mark.parametrize(
    "ids",
    [
        ["p1", "a1", "p2", "a2"],
        ["p1", "a1", "p2"],
        ["p1", "p2", "a2"],  # the client did not read the first answer
        ["p1", "a1"],
        ["p2", "a2"],  # it sends only the newest messages
        [],
    ],
)
def test_a_part_of_the_branch_is_accepted(ids: list[str]) -> None:
    branch().check(given(*ids))


@pytest.mark.parametrize(
    ("ids", "place"),
    [
        (["p1", "a1", "p9"], "messages[2]"),
        (["p9", "a1", "p2", "a2"], "messages[0]"),
        (["p1", "a9", "p2", "a2"], "messages[1]"),
        (["a1", "p1", "p2", "a2"], "messages[0]"),
        (["a1", "a2"], "messages[0]"),  # a prompt between them is missing
    ],
)
def test_another_conversation_is_refused_with_the_place_where_it_differs(ids: list[str], place: str) -> None:
    with pytest.raises(Conflict) as refused:
        branch().check(given(*ids))
    assert place in refused.value.detail


def test_messages_before_the_known_ones_are_not_compared() -> None:
    branch(p("p2", "a1"), a("a2", "p2")).check(given("p1", "a1", "p2", "a2"))


def test_what_a_page_says_before_the_first_prompt_is_in_no_chat() -> None:
    assert branch().before_newest(given("a9", "p1", "a1", "p8")) == given("a9", "p1", "a1")[1:]
    assert Branch().before_newest(given("a9", "p8")) == []
    assert branch().before_newest(given("a1", "p2", "a2", "p8")) == given("a1", "p2", "a2")
    assert branch().before_newest(given("p1", "a9", "p8")) == given("p1", "a9"), "it is not before the first prompt"


def test_a_prompt_that_was_refused_or_did_not_arrive_is_in_no_chat() -> None:
    rejected = p("p3", None, status="deleted")
    found = branch(*TWO_TURNS, rejected)
    for ids in (["p1", "a1", "p7", "p2", "a2", "p8"], ["p7", "p1", "a1", "p2", "a2", "p3", "p6", "p8"]):
        before = found.before_newest(given(*ids))
        assert [each.ids[1] for each in before] == ["p1", "a1", "p2", "a2"]
        found.check(before)
    assert branch().before_newest(given("p7", "a9", "p8")) == given("p7", "a9"), "a forked conversation has its answer"
    assert branch().before_newest(given("p1", "p2", "p8")) == given("p1", "p2"), "they are in the chat"


def test_another_answer_stops_the_one_to_the_same_message_or_what_the_client_chose() -> None:
    turn = [p("p1", None), a("a1", "p1", tool_calls=[CALL]), p("p2", "a1", content="")]
    running = a("a2", "p2", status="streaming")
    found = branch(*turn, running, tip="a2")
    for message in turn[:2]:
        assert found.answer_to_stop(message, "enqueue") is running
        assert found.answer_to_stop(message, "reject") is None
    other = branch(*TWO_TURNS, p("p3", "a2"), a("a3", "p3", status="pending"), tip="a3")
    assert other.answer_to_stop(TWO_TURNS[0], "enqueue") is None
    assert other.answer_to_stop(TWO_TURNS[0], "interrupt") is other.messages[-1]
    assert branch().answer_to_stop(TWO_TURNS[0], "interrupt") is None


def test_queued_prompts_at_the_end_have_no_place_yet() -> None:
    queued = p("p3", None, status="queued")
    found = branch(*TWO_TURNS, queued)
    found.check(given("p1", "a1", "p2", "a2", "p3"))
    assert found.parent_for(given("p2", "a2", "p3")) is UNSET


def test_a_new_prompt_goes_behind_the_tip_or_branches_where_the_client_stands() -> None:
    assert branch().parent_for(given("p1", "a1", "p2", "a2")) is UNSET
    assert branch().parent_for(given("p1", "a1", "p2")) is UNSET, "its answer is the tip"
    assert branch().parent_for(given("p1", "a1")) == "a1"
    assert branch().parent_for([]) is UNSET


def test_a_turn_with_results_of_tools_is_one_message_of_the_client() -> None:
    turn = [
        p("p1", None),
        a("a1", "p1", tool_calls=[CALL]),
        p("p2", "a1", content=""),
        a("a2", "p2", tool_calls=[ToolCall(id="call_2", name="clock")]),
        p("p3", "a2", content=""),
        a("a3", "p3"),
    ]
    found = branch(*turn, tip="a3")
    assert [message.id for message in found.answers_from(turn[1])] == ["a1", "a2", "a3"]
    assert [message.id for message in found.answers_from(turn[0])] == ["a1", "a2", "a3"]
    assert found.parent_for(given("p1", "a1")) is UNSET
    found.check(given("p1", "a1"))


def test_an_image_without_text_is_a_prompt_of_its_own() -> None:
    found = branch(p("p1", None), a("a1", "p1"), p("p2", "a1", content=""), a("a2", "p2"))
    assert [message.id for message in found.answers_from(found.messages[1])] == ["a1"]
    with pytest.raises(Conflict):
        found.check(given("p1", "a1", "a2"))


def test_a_prompt_brings_results_for_the_answer_before_it() -> None:
    found = branch(p("p1", None), a("a1", "p1", tool_calls=[CALL, ToolCall(id="call_2", name="clock")]), tip="a1")
    assert found.results_before(given("p1", "a1"), {"call_1": "12:00", "call_0": "x"}) == [
        {"role": "tool", "tool_call_id": "call_1", "content": "12:00"}
    ]
    assert found.results_before(given("p1", "a1"), {}) == []
    assert found.results_before([], {"call_1": "12:00"}) == []


def test_results_go_to_the_newest_answer_that_waits_for_them() -> None:
    called = a("a1", "p1", tool_calls=[CALL])
    answer_, results = branch(p("p1", None), called).results_for(called, {"call_1": "12:00", "call_0": "x"})
    assert (answer_.id, results) == ("a1", [{"role": "tool", "tool_call_id": "call_1", "content": "12:00"}])
    with pytest.raises(Conflict):
        branch(p("p1", None), called).results_for(called, {"call_0": "x"})
