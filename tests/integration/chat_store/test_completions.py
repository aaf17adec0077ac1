"""What prompts and answers have in addition to text, and the turn as it is read."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from nats.aio.msg import Msg

from parley.contracts import ids, limits, rpc, subjects
from parley.contracts.access.identity import digest
from parley.contracts.completion import (
    CompletionRequest,
    ContextMessage,
    ImagePart,
    Span,
    TextPart,
    ToolCall,
    ToolRound,
    ToolStatus,
)
from parley.contracts.rpc import ToolDecided
from parley.runtime.nats.connect import wait_until_processed
from parley.runtime.nats.errors import RpcRefused
from parley.runtime.nats.publish import publish_durable_raw, subject_of
from tests.integration.chat_store.client import Neighbour, prompt
from tests.integration.chat_store.test_accepted import rejections
from tests.support.waiting import eventually

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "number"}}}
PIXEL = ImagePart(url="data:image/png;base64,AA==", detail="low")
COMPLETION = CompletionRequest(
    parameters={"temperature": 0.5, "response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    instructions="Rhyme.",
    context=[ContextMessage(role="user", content="Hello"), ContextMessage(role="assistant", content="Hi")],
    parts=[TextPart(text="What is this?"), PIXEL],
    metadata={"customer": "7"},
)
CALL = ToolCall(id="call_1", name="look", arguments='{"where":"outside"}')


async def turn(store: Neighbour, chat_id: str, message_id: str, **fields: Any) -> rpc.TurnReply:
    fields.setdefault("user_id", "ann")
    return await store.ask(rpc.GetTurn(chat_id=chat_id, message_id=message_id, **fields))


async def ended_turn(store: Neighbour, chat_id: str, message_id: str) -> rpc.TurnReply:
    async def look() -> rpc.TurnReply | None:
        found = await turn(store, chat_id, message_id)
        return found if found.answer and found.answer.status in ("complete", "stopped", "failed") else None

    found = await eventually(look, what="the answer ending")
    assert found is not None
    return found


async def finish_all(store: Neighbour, chat_id: str) -> None:
    """Answer the chat's first request, and wait until the answer is stored."""
    claimed = await store.claimed(await store.request_for(chat_id))
    await store.finish(claimed)
    await ended_turn(store, chat_id, claimed.message_id)


async def test_a_claim_returns_what_the_prompt_asks_for_also_when_it_is_answered_again(store: Neighbour) -> None:
    chat_id, answer_id = await store.chat(system_prompt="Be brief."), ids.new_id()
    prompt_id = await store.say(chat_id, "What is this?", answer_id=answer_id, completion=COMPLETION)
    first = await store.claimed(await store.request_for(chat_id))
    assert first.message_id == answer_id
    assert first.context == [
        ContextMessage(role="system", content="Rhyme."),
        *COMPLETION.context,
        ContextMessage(role="user", content="What is this?", parts=COMPLETION.parts),
    ]
    assert first.parameters == COMPLETION.parameters
    asked = first.parameters["response_format"]["json_schema"]
    assert list(asked["properties"]) == ["z", "a"], "a model writes the members in the order of the schema"
    await store.finish(first)
    found = await ended_turn(store, chat_id, prompt_id)
    assert (found.prompt.id, found.completion, found.cut) == (prompt_id, COMPLETION, False)

    again = ids.new_id()
    await store.ask(rpc.Regenerate(user_id="ann", chat_id=chat_id, message_id=answer_id, answer_id=again))
    second = await store.claimed(await store.request_for(chat_id, number=2))
    assert (second.message_id, second.context, second.parameters) == (again, first.context, first.parameters)
    assert (await turn(store, chat_id, again)).prompt.id == prompt_id


async def test_tool_calls_and_the_layout_of_an_answer_are_in_every_view_of_it(store: Neighbour) -> None:
    chat_id = await store.chat()
    prompt_id = await store.say(chat_id, "Look.")
    claimed = await store.claimed(await store.request_for(chat_id))
    layout = [Span("text", 9), Span("tool")]
    finish_reason = "tool_calls"
    await store.finish(claimed, "Let me \x00.", tool_calls=[CALL], layout=layout, finish_reason=finish_reason)
    reply = await ended_turn(store, chat_id, prompt_id)
    answer = reply.answer
    assert answer is not None
    assert (answer.attempt, answer.tool_calls, answer.layout, answer.finish_reason) == (
        1,
        [CALL],
        layout,
        finish_reason,
    )
    assert (await store.messages(chat_id))[1] == answer
    assert (await store.sync(chat_id)).messages[1] == answer
    assert (await store.sync(chat_id, reply.chat_version - 1)).messages[-1] == answer

    def published() -> bool:
        return any(answer in (one.messages or []) for one in store.changed)

    await eventually(published, what="the change being published")

    result = ContextMessage(role="tool", content="rain", tool_call_id=CALL.id)
    await store.say(chat_id, "", completion=CompletionRequest(context=[result]))
    following = await store.claimed(await store.request_for(chat_id, number=2))
    assert following.context == [
        ContextMessage(role="user", content="Look."),
        ContextMessage(role="assistant", content="Let me \ufffd.", tool_calls=[CALL]),
        result,
    ]


async def test_nul_is_replaced_in_every_text_of_a_completion_and_of_a_call(store: Neighbour) -> None:
    chat_id = await store.chat()
    event_id = ids.new_id()
    asked = CompletionRequest(
        parameters={"stop": ["\x00"], "a\x00": 1},
        instructions="\x00",
        context=[ContextMessage(role="user", content="a\x00b")],
        metadata={"\x00": "\x00"},
    )
    for _ in range(2):
        await store.say(chat_id, "x", message_id=event_id, completion=asked)
    claimed = await store.claimed(await store.request_for(chat_id))
    assert claimed.parameters == {"stop": ["\ufffd"], "a\ufffd": 1}
    assert [one.content for one in claimed.context] == ["\ufffd", "a\ufffdb", "x"]
    await store.finish(claimed, tool_calls=[ToolCall(id="\x00", name="x", arguments="\\u0000\x00", result="\x00")])
    found = (await ended_turn(store, chat_id, event_id)).answer
    assert found is not None
    (call,) = found.tool_calls
    assert (call.id, call.arguments, call.result) == ("\ufffd", "\\u0000\ufffd", "\ufffd")


async def test_the_same_id_with_another_completion_is_another_message(store: Neighbour) -> None:
    rejected = await rejections(store)
    chat_id, message_id = await store.chat(), ids.new_id()
    await store.say(chat_id, "x", message_id=message_id, completion=COMPLETION)
    for number, completion in enumerate((COMPLETION, None, replace(COMPLETION, instructions="Do not rhyme."))):
        event = prompt(chat_id, "x", message_id=message_id, completion=completion)
        # Under other names, so that the stream takes each of them.
        copy = f"{event.id}:{number}"
        await publish_durable_raw(store.js, subject_of(event), msgspec.json.encode(event), copy, deadline=10)
    await eventually(lambda: len(rejected) == 2, what="two of them being rejected")
    assert {(one.message_id, one.error.code) for one in rejected} == {(message_id, "id_taken")}
    assert [one.id for one in await store.messages(chat_id) if one.role == "user"] == [message_id]


async def test_an_empty_prompt_is_rejected_unless_there_is_something_to_answer(store: Neighbour) -> None:
    chat_id = await store.chat()
    empty = await store.say(chat_id, "", completion=CompletionRequest(instructions="Speak."))
    found = await turn(store, chat_id, empty)
    assert (found.prompt.status, found.answer) == ("rejected", None)
    assert found.prompt.error is not None
    assert found.prompt.error.code == "empty"
    picture = await store.say(chat_id, "", completion=CompletionRequest(parts=[PIXEL]))
    claimed = await store.claimed(await store.request_for(chat_id))
    assert claimed.context == [ContextMessage(role="user", content="", parts=[PIXEL])]
    assert (await turn(store, chat_id, picture)).prompt.status == "sent"


async def test_a_queued_turn_is_found_and_stopped_by_the_id_of_the_answer_that_it_will_have(store: Neighbour) -> None:
    chat_id, answer_id, later = await store.chat(), ids.new_id(), ids.new_id()
    await store.say(chat_id, "first")
    stopped = await store.say(chat_id, "second", answer_id=answer_id)
    answered = await store.say(chat_id, "third", answer_id=later)
    for message_id in (stopped, answer_id):
        found = await turn(store, chat_id, message_id)
        assert (found.prompt.id, found.prompt.status, found.answer) == (stopped, "queued", None)
    await store.ask(rpc.Stop(user_id="ann", chat_id=chat_id, message_id=answer_id))
    for message_id in (stopped, answer_id):
        found = await turn(store, chat_id, message_id)
        assert found.answer is not None
        assert (found.prompt.status, found.answer.id, found.answer.status) == ("sent", answer_id, "stopped")
    await finish_all(store, chat_id)
    claimed = await store.claimed(await store.request_for(chat_id, number=2))
    assert claimed.message_id == later
    assert (await turn(store, chat_id, answered)).prompt.id == (await turn(store, chat_id, later)).prompt.id == answered


async def test_an_answers_id_that_is_taken_meanwhile_does_no_harm(store: Neighbour) -> None:
    chat_id, contested = await store.chat(), ids.new_id()
    await store.say(chat_id, "first")
    taken = await store.say(chat_id, "second", message_id=contested)
    loser = await store.say(chat_id, "third", answer_id=contested)
    assert (await turn(store, chat_id, loser)).prompt.status == "rejected"
    names = ids.new_id()
    third = await store.say(chat_id, "fourth", answer_id=names)
    await store.say(chat_id, "fifth", message_id=names)
    assert (await turn(store, chat_id, names)).prompt.status == "queued"
    for number in range(1, 5):
        await store.answer(chat_id, number=number)
    prompts = [one for one in await store.messages(chat_id) if one.role == "user"]
    assert [one.id for one in prompts][1:] == [taken, third, names]
    assert [one.status for one in prompts] == ["sent"] * 4
    answer = (await turn(store, chat_id, third)).answer
    assert answer is not None
    assert answer.id != names


async def test_only_readers_of_the_chat_see_a_turn(store: Neighbour) -> None:
    chat_id = await store.chat()
    prompt_id = await store.say(chat_id, "hello")
    await store.join(chat_id, "bob", "reader")
    assert (await turn(store, chat_id, prompt_id, user_id="bob")).prompt.id == prompt_id
    for user_id, message_id in (("cid", prompt_id), ("ann", ids.new_id()), ("ann", "nonsense")):
        with pytest.raises(RpcRefused) as refused:
            await turn(store, chat_id, message_id, user_id=user_id)
        assert refused.value.code == "not_found"


async def test_a_turn_that_is_too_large_for_a_reply_comes_without_its_context(store: Neighbour) -> None:
    chat_id = await store.chat()
    large = CompletionRequest(
        context=[ContextMessage(role="user", content="x" * 600_000)], parameters={"seed": 1}, instructions="Rhyme."
    )
    prompt_id = await store.say(chat_id, "And?", completion=large)
    claimed = await store.claimed(await store.request_for(chat_id))
    assert len(claimed.context) == 3
    await store.finish(claimed, "y" * 500_000)
    found = await ended_turn(store, chat_id, prompt_id)
    assert found.answer is not None
    assert (len(found.answer.content), found.cut) == (500_000, True)
    assert found.completion == CompletionRequest(parameters={"seed": 1}, instructions="Rhyme.")
    whole = await turn(store, chat_id, prompt_id, without_answer=True)
    assert (whole.completion, whole.answer, whole.cut) == (large, None, False)


async def put_round(
    store: Neighbour, claimed: rpc.Claimed, number: int, status: ToolStatus, result: str | None = None
) -> dict[str, bool]:
    """Store a round with one call, and return what was decided about it."""
    call = ToolCall(id=f"call_{number}", name="time", server="clock", status=status, result=result)
    request = rpc.StoreToolRound(
        chat_id=claimed.chat_id,
        generation_id=claimed.generation_id,
        attempt=claimed.attempt,
        number=number,
        round=ToolRound(text="Let me see.", calls=[call]),
    )
    return (await store.ask(request)).decisions


async def test_rounds_of_tools_are_there_for_the_next_attempt_and_for_no_outdated_one(store: Neighbour) -> None:
    chat_id = await store.chat()
    await store.say(chat_id, "When?")
    request = await store.request_for(chat_id)
    first = await store.claimed(request)

    await put_round(store, first, 0, "running")
    await put_round(store, first, 0, "complete", "noon\x00")
    await put_round(store, first, 1, "running")
    second = await store.claimed(request)
    assert [one.calls[0].status for one in second.rounds] == ["complete", "running"]
    assert (second.rounds[0].text, second.rounds[0].calls[0].result) == ("Let me see.", "noon\ufffd")
    with pytest.raises(RpcRefused) as refused:
        await put_round(store, first, 1, "complete", "late")
    assert refused.value.code == "conflict"
    await put_round(store, second, 1, "complete", "one")
    third = await store.claimed(request)
    assert [one.calls[0].result for one in third.rounds] == ["noon\ufffd", "one"]
    await store.finish(third)
    await ended_turn(store, chat_id, third.message_id)
    with pytest.raises(RpcRefused):
        await put_round(store, third, 2, "running")
    await store.ask(rpc.Regenerate(user_id="ann", chat_id=chat_id, message_id=third.message_id, answer_id=ids.new_id()))
    assert (await store.claimed(await store.request_for(chat_id, number=2))).rounds == []


async def test_a_round_and_a_claim_at_once_are_in_one_order(store: Neighbour) -> None:
    """Forty times: whoever claims gets the round, or the round is refused."""
    for _ in range(40):
        chat_id = await store.chat()
        await store.say(chat_id, "When?")
        request = await store.request_for(chat_id)
        first = await store.claimed(request)
        call = ToolCall(id="call", name="time", server="clock", status="complete", result="noon")
        put = rpc.StoreToolRound(
            chat_id=chat_id,
            generation_id=first.generation_id,
            attempt=1,
            number=0,
            round=ToolRound(calls=[call]),
        )
        second, was_stored = await asyncio.gather(store.claimed(request), _is_stored(store, put))
        assert bool(second.rounds) == was_stored


async def _is_stored(store: Neighbour, round_of_tools: rpc.StoreToolRound) -> bool:
    try:
        await store.ask(round_of_tools)
    except RpcRefused:
        return False
    return True


async def test_a_writer_decides_about_a_call_that_waits_and_its_worker_is_informed(store: Neighbour) -> None:
    signals: list[ToolDecided] = []

    async def on_decided(message: Msg) -> None:
        signals.append(msgspec.json.decode(message.data, type=ToolDecided))

    chat_id = await store.chat()
    await store.join(chat_id, "bob", "writer")
    await store.join(chat_id, "cid", "reader")
    await store.say(chat_id, "When?")
    request = await store.request_for(chat_id)
    first = await store.claimed(request)
    await store.nc.subscribe(subjects.ctl_generation_decided(first.generation_id), cb=on_decided)
    await wait_until_processed(store.nc)

    async def decide(call_id: str, approve: bool, user_id: str = "bob") -> str:
        decision = rpc.DecideToolCall(
            user_id=user_id, chat_id=chat_id, message_id=first.message_id, call_id=call_id, approve=approve
        )
        try:
            await store.ask(decision)
        except RpcRefused as refused:
            return refused.code
        return "done"

    assert await put_round(store, first, 0, "running") == {}
    assert await decide("call_0", True) == "conflict", "it does not wait"
    assert await put_round(store, first, 0, "awaiting_approval") == {}
    assert await put_round(store, first, 1, "awaiting_approval") == {}
    assert [await decide("call_0", True, user_id) for user_id in ("dan", "cid")] == ["not_found", "forbidden"]
    assert await decide("call_9", True) == "not_found"
    assert [await decide("call_0", approve) for approve in (True, True, False)] == ["done", "done", "conflict"]
    assert await decide("call_1", False, "ann") == "done"
    decided = [ToolDecided(call_id="call_0", approved=True)] * 2 + [ToolDecided(call_id="call_1", approved=False)]
    await eventually(lambda: signals == decided, what="the worker being informed")
    assert await put_round(store, first, 0, "awaiting_approval") == {"call_0": True}
    assert await put_round(store, first, 1, "denied") == {"call_1": False}
    second = await store.claimed(request)
    assert (second.decisions, len(second.rounds)) == ({"call_0": True, "call_1": False}, 2)
    await store.finish(second)
    await ended_turn(store, chat_id, second.message_id)
    assert await decide("call_0", True) == "conflict", "the answer has ended"


async def test_a_page_of_messages_has_the_completions_of_its_prompts_on_request(store: Neighbour) -> None:
    chat_id = await store.chat()
    first = await store.say(chat_id, "What is this?", completion=COMPLETION)
    await store.answer(chat_id)
    await store.say(chat_id, "Sure?")
    await store.answer(chat_id, number=2)
    large = CompletionRequest(context=[ContextMessage(role="user", content="x" * 500_000)])
    third = await store.say(chat_id, "And this?", completion=large)
    await store.answer(chat_id, number=3)
    fourth = await store.say(chat_id, "And that?", completion=large)
    await store.answer(chat_id, number=4)

    plain = await store.ask(rpc.ListMessages(user_id="ann", chat_id=chat_id))
    assert (len(plain.items), plain.completions) == (8, {})
    found: dict[str, CompletionRequest] = {}
    listed: list[str] = []
    before: str | None = None
    while True:
        page = await store.ask(rpc.ListMessages(user_id="ann", chat_id=chat_id, before=before, completions=True))
        assert len(msgspec.json.encode(page)) <= limits.MAX_REPLY_BYTES
        found |= page.completions
        listed = [one.id for one in page.items] + listed
        before = page.next
        if before is None:
            break
    assert listed == [one.id for one in plain.items]
    assert found == {first: COMPLETION, third: large, fourth: large}


async def test_a_share_link_shows_text_only(store: Neighbour) -> None:
    owner, token = ids.new_id(), ids.new_id()
    chat_id = await store.chat(owner)
    await store.say(chat_id, "Look.", user_id=owner, completion=COMPLETION)
    claimed = await store.claimed(await store.request_for(chat_id))
    await store.finish(claimed, "", tool_calls=[CALL])
    result = ContextMessage(role="tool", content="rain", tool_call_id=CALL.id)
    await store.say(chat_id, "", user_id=owner, completion=CompletionRequest(context=[result]))
    claimed = await store.claimed(await store.request_for(chat_id, number=2))
    await store.finish(claimed, "It rains.", tool_calls=[CALL])
    await eventually(lambda: is_idle(store, chat_id), what="the answer being stored")
    link = rpc.CreateShareLink(
        user_id=owner, chat_id=chat_id, share_id=ids.new_id(), token_digest=digest(token), live=True
    )
    await store.ask(link)
    shared = await store.ask(rpc.GetShared(token_digest=digest(token)))
    assert [one.content for one in shared.items] == ["Look.", "It rains."]
    for secret in (b'rain"', b"look", b"Rhyme", b"base64"):
        assert secret not in msgspec.json.encode(shared)


async def is_idle(store: Neighbour, chat_id: str) -> bool:
    return (await store.sync(chat_id)).generation is None
