"""The context that the model gets."""

from typing import Literal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chat_store.domain.context import BranchMessage, fit, parameters
from parley.contracts.completion import CompletionRequest, ContextMessage, ImagePart, TextPart, ToolCall

ROLES: st.SearchStrategy[Literal["user", "assistant"]] = st.sampled_from(["user", "assistant"])
BRANCH = st.lists(st.builds(BranchMessage, role=ROLES, content=st.text(min_size=1)), min_size=1)

CALL_IDS = st.sampled_from(["one", "two", "three"])
CALLS = st.lists(st.builds(ToolCall, id=CALL_IDS, name=st.just("look")), max_size=3, unique_by=lambda call: call.id)
RESULTS = st.builds(
    ContextMessage, role=st.just("tool"), content=st.text(min_size=1, max_size=9), tool_call_id=CALL_IDS
)
EARLIER = st.builds(
    ContextMessage, role=st.sampled_from(["user", "assistant"]), content=st.text(max_size=9), tool_calls=CALLS
)
COMPLETIONS = st.builds(
    CompletionRequest, context=st.lists(RESULTS | EARLIER, max_size=5), instructions=st.none() | st.text(max_size=5)
)
ANSWERS = st.builds(BranchMessage, role=st.just("assistant"), content=st.text(max_size=9), tool_calls=CALLS)
PROMPTS = st.builds(
    BranchMessage, role=st.just("user"), content=st.text(max_size=9), completion=st.none() | COMPLETIONS
)
TALKS = st.lists(st.tuples(PROMPTS, ANSWERS), max_size=4)


def user(content: str, completion: CompletionRequest | None = None) -> BranchMessage:
    return BranchMessage(role="user", content=content, completion=completion)


def result(call_id: str, content: str = "found") -> ContextMessage:
    return ContextMessage(role="tool", content=content, tool_call_id=call_id)


def test_the_system_prompt_goes_first() -> None:
    question = ContextMessage(role="user", content="question")
    assert fit("Be brief.", [user("question")]) == [ContextMessage(role="system", content="Be brief."), question]
    assert fit(None, [user("question")]) == fit("", [user("question")]) == [question]


@given(system_prompt=st.none() | st.text(min_size=1), branch=BRANCH, budget=st.integers(0, 2000))
def test_what_is_kept_is_the_newest_that_fits_and_never_less_than_the_prompt(
    system_prompt: str | None, branch: list[BranchMessage], budget: int
) -> None:
    context = fit(system_prompt, branch, budget=budget)
    rest = context[1:] if system_prompt else context
    assert rest
    assert [(one.role, one.content) for one in rest] == [(one.role, one.content) for one in branch[-len(rest) :]]
    if len(rest) > 1:
        assert len(msgspec.json.encode(context)) <= budget + 1
    if len(rest) < len(branch):
        more = fit(system_prompt, branch[-len(rest) - 1 :], budget=10**9)
        assert len(msgspec.json.encode(more)) + 1 > budget


def test_the_instructions_of_a_prompt_replace_the_system_prompt_for_its_own_answer_only() -> None:
    first = user("one", CompletionRequest(instructions="Rhyme.", parameters={"seed": 1}))
    branch = [first, BranchMessage(role="assistant", content="two"), user("three")]
    assert [one.content for one in fit("Be brief.", [first])] == ["Rhyme.", "one"]
    assert [one.content for one in fit("Be brief.", branch)] == ["Be brief.", "one", "two", "three"]
    assert (parameters([first]), parameters(branch), parameters([])) == ({"seed": 1}, {}, {})
    assert fit("Be brief.", [user("one", CompletionRequest(instructions=""))])[0].role == "user"


def test_what_came_with_a_prompt_goes_before_it_in_later_branches_too() -> None:
    parts: list[TextPart | ImagePart] = [TextPart(text="What is it?"), ImagePart(url="data:image/png;base64,AA==")]
    earlier = [ContextMessage(role="user", content="Hello"), ContextMessage(role="assistant", content="Hi")]
    first = user("What is it?", CompletionRequest(context=earlier, parts=parts))
    for branch in ([first], [first, BranchMessage(role="assistant", content="A dot."), user("Sure?")]):
        context = fit(None, branch)
        assert context[:3] == [*earlier, ContextMessage(role="user", content="What is it?", parts=parts)]


def test_a_prompt_has_the_name_of_its_author() -> None:
    assert fit(None, [user("one", CompletionRequest(name="ann"))]) == [
        ContextMessage(role="user", content="one", name="ann")
    ]


def test_calls_of_the_clients_tools_are_given_with_their_results() -> None:
    calls = [ToolCall(id="one", name="look", arguments="{}"), ToolCall(id="two", name="look", arguments="{}")]
    answer = BranchMessage(role="assistant", content="", tool_calls=calls)
    results = user("", CompletionRequest(context=[result("two"), result("one")]))
    context = fit(None, [user("Look."), answer, results])
    assert context[1] == ContextMessage(role="assistant", content="", tool_calls=calls)
    assert [one.tool_call_id for one in context[2:]] == ["two", "one"]
    later = fit(
        None, [user("Look."), answer, results, BranchMessage(role="assistant", content="Done."), user("Thanks.")]
    )
    assert later[:4] == context


def test_calls_without_results_are_left_out_and_the_text_stays() -> None:
    calls = [ToolCall(id="one", name="look"), ToolCall(id="two", name="look")]
    silent = BranchMessage(role="assistant", content="", tool_calls=calls)
    speaking = BranchMessage(role="assistant", content="Let me look.", tool_calls=calls)
    assert fit(None, [user("Look."), silent, user("Never mind.")]) == fit(None, [user("Look."), user("Never mind.")])
    assert fit(None, [speaking, user("Never mind.")])[0] == ContextMessage(role="assistant", content="Let me look.")
    half = fit(None, [speaking, user("Go on.", CompletionRequest(context=[result("two")]))])
    assert [call.id for call in half[0].tool_calls] == ["two"]


def test_calls_that_parley_ran_itself_are_part_of_the_answers_text_only() -> None:
    call = ToolCall(id="one", name="time", server="clock", status="complete", result="noon")
    context = fit(
        None, [user("When?"), BranchMessage(role="assistant", content="At noon.", tool_calls=[call]), user("So?")]
    )
    assert context[1] == ContextMessage(role="assistant", content="At noon.")


def test_a_prompts_own_result_of_an_unknown_call_is_for_the_provider_to_refuse() -> None:
    lost = user("", CompletionRequest(context=[result("unknown")]))
    assert fit(None, [lost]) == [result("unknown")]
    assert fit(None, [lost, user("And now?")]) == [ContextMessage(role="user", content="And now?")]


@given(talk=TALKS, prompt=PROMPTS, budget=st.integers(0, 800))
def test_every_result_follows_its_call_and_every_call_has_one(
    talk: list[tuple[BranchMessage, BranchMessage]], prompt: BranchMessage, budget: int
) -> None:
    branch = [said for turn in talk for said in turn]
    own = prompt.completion.context if prompt.completion is not None else []
    context = fit("system", [*branch, prompt], budget=budget)
    unanswered: list[str] = []
    for message in context:
        if message.role == "tool":
            if message.tool_call_id in unanswered:
                unanswered.remove(message.tool_call_id)
            else:
                assert message in own, "only the prompt's own context has a result without its call"
        else:
            assert not unanswered
            unanswered = [call.id for call in message.tool_calls]
            assert message.content or message.parts or message.tool_calls or message.role == "system"
    assert not unanswered
