"""The oldest goes first; the system prompt and the question stay."""

import itertools
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from llm_worker.generation.context import merge_roles, prepare, tokens_of, trim
from parley.contracts.rpc import ContextMessage


def message(role: Literal["system", "user", "assistant"], content: str) -> ContextMessage:
    return ContextMessage(role=role, content=content)


SYSTEM = message("system", "s" * 40)
TURNS = [message("user" if i % 2 == 0 else "assistant", f"{i}" * 40) for i in range(7)]


def test_what_fits_stays_whole() -> None:
    assert trim([SYSTEM, *TURNS], 10_000) == [SYSTEM, *TURNS]


def test_the_oldest_turns_go_first() -> None:
    budget = sum(map(tokens_of, [SYSTEM, *TURNS[-3:]]))
    assert trim([SYSTEM, *TURNS], budget) == [SYSTEM, *TURNS[-3:]]


def test_an_answer_is_not_left_without_its_prompt() -> None:
    budget = sum(map(tokens_of, TURNS[-2:]))
    assert trim(TURNS, budget) == TURNS[-1:]


def test_the_system_prompt_and_the_last_message_stay_whatever_the_budget() -> None:
    assert trim([SYSTEM, *TURNS], 1) == [SYSTEM, TURNS[-1]]
    assert trim([SYSTEM], 1) == [SYSTEM]
    assert trim([], 1) == []


def test_scripts_of_many_bytes_cost_more() -> None:
    assert tokens_of(message("user", "鳥" * 40)) > tokens_of(message("user", "a" * 40))


TURN = st.builds(message, st.sampled_from(["user", "assistant"]), st.text(max_size=30))


@given(st.lists(TURN, min_size=1, max_size=8), st.booleans(), st.integers(0, 120))
def test_what_is_left_is_the_end_of_the_branch_within_the_budget(
    turns: list[ContextMessage], with_system: bool, budget: int
) -> None:
    context = [SYSTEM, *turns] if with_system else turns
    kept = trim(context, budget)
    head = 1 if with_system else 0
    assert kept[:head] == context[:head]
    rest = kept[head:]
    assert rest == turns[len(turns) - len(rest) :]
    assert rest
    assert len(rest) == 1 or sum(map(tokens_of, kept)) <= budget


def test_neighbours_of_one_role_are_joined() -> None:
    # The answer between the two questions failed without text.
    turns = [message("user", "What time?"), message("assistant", ""), message("user", "What time is it?")]
    assert prepare([SYSTEM, *turns], 10_000) == [SYSTEM, message("user", "What time?\n\nWhat time is it?")]


def test_the_last_message_stays_though_it_is_empty() -> None:
    assert merge_roles([message("user", "a"), message("assistant", " "), message("user", "")])[-1].role == "user"


@given(st.lists(TURN, min_size=1, max_size=8))
def test_no_two_neighbours_have_one_role_and_no_text_is_lost(turns: list[ContextMessage]) -> None:
    result = merge_roles([SYSTEM, *turns])
    assert all(a.role != b.role for a, b in itertools.pairwise(result))
    said = "".join("".join(m.content for m in result).split())
    assert said == "".join("".join(m.content for m in [SYSTEM, *turns]).split())
