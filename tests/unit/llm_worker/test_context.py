"""The oldest goes first; the system prompt and the question stay."""

import itertools
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from llm_worker.generation.context import merge_roles, prepare, tokens_of, tokens_of_parameters, trim
from llm_worker.provider.messages import request_members
from parley.contracts.completion import ImagePart, TextPart, ToolCall
from parley.contracts.rpc import ContextMessage


def message(role: Literal["system", "user", "assistant"], content: str) -> ContextMessage:
    return ContextMessage(role=role, content=content)


SYSTEM = message("system", "s" * 40)
TURNS = [message("user" if i % 2 == 0 else "assistant", f"{i}" * 40) for i in range(7)]


def test_what_fits_stays_whole() -> None:
    assert trim([SYSTEM, *TURNS], 10_000) == [SYSTEM, *TURNS]


def test_a_conversation_that_begins_with_an_answer_stays_whole_if_it_fits() -> None:
    assert trim(TURNS[1:], 10_000) == TURNS[1:]


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


# --- tools and images -------------------------------------------------------------------------------------------------


def calls(*ids: str, content: str = "") -> ContextMessage:
    return ContextMessage(
        role="assistant", content=content, tool_calls=[ToolCall(id=name, name="f", arguments="{}") for name in ids]
    )


def result(of: str, content: str = "It is late.") -> ContextMessage:
    return ContextMessage(role="tool", content=content, tool_call_id=of)


ROUND = [calls("a", "b"), result("a"), result("b", "")]


def test_results_of_tools_and_their_calls_stay_as_they_are() -> None:
    context = [message("user", "What time?"), *ROUND, calls("c"), result("c")]
    assert prepare(context, 10_000) == context


def test_results_are_dropped_with_their_calls_and_the_prompt() -> None:
    context = [message("user", "What time?"), *ROUND, message("assistant", "Late."), message("user", "Thanks.")]
    for size in range(1, len(context)):
        kept = trim(context, sum(map(tokens_of, context[size:])))
        assert kept == [message("user", "Thanks.")]


def test_a_turn_that_ends_with_a_result_stays_whole() -> None:
    context = [message("user", "Hi"), message("assistant", "Hi"), message("user", "What time?"), *ROUND]
    assert trim([SYSTEM, *context], 1) == [SYSTEM, *context[2:]]


def test_text_is_merged_with_later_calls_and_not_with_earlier_ones() -> None:
    said = message("assistant", "One moment.")
    assert merge_roles([said, calls("a"), result("a")]) == [calls("a", content="One moment."), result("a")]
    assert merge_roles([calls("a"), said]) == [calls("a"), said]


def test_images_of_merged_prompts_stay() -> None:
    image = ImagePart(url="data:image/png;base64,AA==")
    pictured = ContextMessage(role="user", content="This?", parts=[TextPart(text="This?"), image])
    (merged,) = merge_roles([message("user", "Look."), pictured])
    assert merged.content == "Look.\n\nThis?"
    assert merged.parts == [TextPart(text="Look."), TextPart(text="This?"), image]
    only_image = ContextMessage(role="user", content="", parts=[image])
    assert merge_roles([only_image, message("assistant", "A dot."), message("user", "Yes.")])[0] == only_image


def test_messages_of_different_participants_are_not_merged() -> None:
    ann, ben = (ContextMessage(role="user", content=name, name=name) for name in ("ann", "ben"))
    assert merge_roles([ann, ben, message("user", "nobody")]) == [ann, ben, message("user", "nobody")]
    assert merge_roles([ann, ann]) == [ContextMessage(role="user", content="ann\n\nann", name="ann")]
    assert request_members({}, [ann])["messages"] == [{"role": "user", "content": "ann", "name": "ann"}]


def test_calls_and_images_cost_tokens() -> None:
    assert tokens_of(calls("a")) > tokens_of(message("assistant", ""))
    large, small = (
        ContextMessage(role="user", content="", parts=[ImagePart(url="x", detail=d)]) for d in (None, "low")
    )
    assert tokens_of(large) > tokens_of(small) > tokens_of(message("user", ""))
    assert tokens_of_parameters({"temperature": 1}) == 0
    assert tokens_of_parameters({"tools": [{"type": "function", "function": {"name": "f"}}]}) > 5


MESSAGES = st.lists(st.one_of(TURN.map(lambda one: [one]), st.just(ROUND)), min_size=1, max_size=6).map(
    lambda groups: [one for group in groups for one in group]
)


@given(MESSAGES, st.integers(0, 120))
def test_no_result_is_without_its_call_and_no_call_without_its_result(
    context: list[ContextMessage], budget: int
) -> None:
    kept = prepare([message("user", "First."), *context], budget)
    for index, one in enumerate(kept):
        results = [later.tool_call_id for later in itertools.takewhile(lambda m: m.role == "tool", kept[index + 1 :])]
        if one.role == "tool":
            assert index > 0
            assert kept[index - 1].role == "tool" or kept[index - 1].tool_calls
        else:
            assert results == [call.id for call in one.tool_calls]


# --- the shape of the API ---------------------------------------------------------------------------------------------


def test_messages_have_the_shape_of_the_api() -> None:
    image = ImagePart(url="https://example.org/a.png", detail="low")
    context = [
        message("system", "Be brief."),
        ContextMessage(role="user", content="This?", parts=[TextPart(text="This?"), image, ImagePart(url="data:,")]),
        ContextMessage(role="assistant", content="\n", tool_calls=[ToolCall(id="a", name="f", arguments='{"x":1}')]),
        result("a", "7"),
        ContextMessage(role="assistant", content="So", tool_calls=[ToolCall(id="b", name="g")]),
        result("b", ""),
    ]
    sent: list[dict[str, Any]] = request_members({}, context)["messages"]
    assert sent == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "This?"},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "data:,"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}],
        },
        {"role": "tool", "content": "7", "tool_call_id": "a"},
        {
            "role": "assistant",
            "content": "So",
            "tool_calls": [{"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "", "tool_call_id": "b"},
    ]


def test_parameters_are_sent_but_for_the_members_that_the_worker_sets() -> None:
    given_parameters = {"temperature": 0.5, "stop": ["x"], "tools": [], "model": "other", "stream": False, "n": 3}
    members = request_members(given_parameters | {"messages": [], "stream_options": {}}, [message("user", "Hi")])
    assert members == {
        "temperature": 0.5,
        "stop": ["x"],
        "tools": [],
        "messages": [{"role": "user", "content": "Hi"}],
    }
