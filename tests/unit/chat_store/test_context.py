"""The context that the model gets."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chat_store.domain.context import fit
from parley.contracts.rpc import ContextMessage

ROLES = st.sampled_from(["user", "assistant"])
BRANCH = st.lists(st.builds(ContextMessage, role=ROLES, content=st.text(min_size=1)), min_size=1)


def test_the_system_prompt_goes_first() -> None:
    question = ContextMessage(role="user", content="question")
    assert fit("Be brief.", [question]) == [ContextMessage(role="system", content="Be brief."), question]
    assert fit(None, [question]) == fit("", [question]) == [question]


@given(system_prompt=st.none() | st.text(min_size=1), branch=BRANCH, budget=st.integers(0, 2000))
def test_what_is_kept_is_the_newest_that_fits_and_never_less_than_the_prompt(
    system_prompt: str | None, branch: list[ContextMessage], budget: int
) -> None:
    context = fit(system_prompt, branch, budget=budget)
    rest = context[1:] if system_prompt else context
    assert rest
    assert rest == branch[-len(rest) :]
    if len(rest) > 1:
        assert len(msgspec.json.encode(context)) <= budget + 1
    if len(rest) < len(branch):
        more = fit(system_prompt, branch[-len(rest) - 1 :], budget=10**9)
        assert len(msgspec.json.encode(more)) + 1 > budget
