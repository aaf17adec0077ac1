"""A turn: a prompt is stored, its answer requested, claimed and finished; and everything that may happen in between."""

import asyncio

import msgspec
import pytest

from parley.contracts import ids, limits, rpc, subjects
from parley.contracts.resources import Chat, Message
from parley.runtime import tracing
from parley.runtime.nats.errors import RpcRefused
from parley.runtime.nats.publish import publish_durable_raw, subject_of
from tests.integration.chat_store.client import AWAY, Neighbour, finished, prompt
from tests.support.waiting import eventually


async def idle(store: Neighbour, chat_id: str) -> Chat | None:
    chat = await store.get(chat_id)
    return None if chat.running else chat


async def stored(store: Neighbour, chat_id: str, message_id: str) -> Message:
    """Wait until a message is stored and return it."""
    found = await eventually(lambda: store.message(chat_id, message_id), what="the message being stored")
    assert found is not None
    return found


async def ended(store: Neighbour, chat_id: str, message_id: str) -> Message:
    """Wait until an answer has ended and return it."""

    async def look() -> Message | None:
        found = await store.message(chat_id, message_id)
        return found if found and found.status in ("complete", "stopped", "failed") else None

    found = await eventually(look, what="the answer ending")
    assert found is not None
    return found


async def test_a_prompt_becomes_a_turn(store: Neighbour) -> None:
    chat_id = await store.chat(system_prompt="Be brief.", model="demo")
    message_id = await store.say(chat_id, "  \n What is a turn?\nTell me.")

    claimed = await store.claimed(await store.request_for(chat_id))
    assert (claimed.attempt, claimed.verdict, claimed.model) == (1, "stream", "demo")
    assert claimed.context == [
        rpc.ContextMessage(role="system", content="Be brief."),
        rpc.ContextMessage(role="user", content="  \n What is a turn?\nTell me."),
    ]
    assert (await stored(store, chat_id, claimed.message_id)).status == "streaming"
    assert (await store.get(chat_id)).running

    await store.finish(claimed, "This is one.", reasoning="hm", finish_reason="length")
    chat = await eventually(lambda: idle(store, chat_id))
    assert chat is not None
    assert (chat.title, chat.tip_id) == ("What is a turn?", claimed.message_id)
    question, answer = await store.messages(chat_id)
    assert (question.id, question.status, question.parent_id, question.author_id) == (message_id, "sent", None, "ann")
    assert (answer.content, answer.reasoning, answer.status) == ("This is one.", "hm", "complete")
    assert (answer.parent_id, answer.model, answer.version) == (message_id, "demo", chat.version)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 5)
    assert (question.finish_reason, answer.finish_reason) == (None, "length")


async def test_fifty_copies_of_a_prompt_make_one_turn(store: Neighbour) -> None:
    chat_id = await store.chat()
    event = prompt(chat_id, "once")
    # Under fifty names, so that the stream takes each of them: this is about the store, not about NATS.
    await asyncio.gather(
        *(
            publish_durable_raw(store.js, subject_of(event), _encode(event), f"{event.id}:{copy}", deadline=10)
            for copy in range(50)
        )
    )
    await store.answer(chat_id)
    after = await store.say(chat_id, "a later one, behind all copies")
    await store.request_for(chat_id, number=2)
    assert [one.id for one in await store.messages(chat_id) if one.role == "user"] == [event.message_id, after]
    assert len([one for one in store.requested if one.chat_id == chat_id]) == 2


def _encode(event: object) -> bytes:
    return msgspec.json.encode(event)


async def test_prompts_sent_as_fast_as_possible_are_answered_in_order_one_at_a_time(store: Neighbour) -> None:
    chat_id = await store.chat()
    prompts = [await store.say(chat_id, f"prompt {number}") for number in range(40)]
    for number in range(1, 41):
        claimed = await store.claimed(await store.request_for(chat_id, number=number))
        assert claimed.context[-1].content == f"prompt {number - 1}"
        assert len(claimed.context) == 2 * number - 1
        assert len([one for one in store.requested if one.chat_id == chat_id]) == number
        await store.finish(claimed, f"answer {number - 1}")
    await eventually(lambda: idle(store, chat_id))
    messages = await store.messages(chat_id)
    assert [one.id for one in messages if one.role == "user"] == prompts
    assert [one.content for one in messages if one.role == "assistant"] == [f"answer {n}" for n in range(40)]
    assert [one.parent_id for one in messages] == [None, *(one.id for one in messages[:-1])]


async def test_the_request_of_a_prompt_that_waited_carries_its_own_trace(store: Neighbour) -> None:
    chat_id = await store.chat()
    traces = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2)]
    for trace in traces:
        await store.say(chat_id, trace={tracing.TRACEPARENT: trace})
    await store.answer(chat_id, number=1)
    await store.answer(chat_id, number=2)

    carried, sequence = [], 0
    for _ in traces:
        subject = subjects.generation_requested(chat_id)
        message = await store.js.get_msg("CHAT", seq=sequence + 1, subject=subject, next=True)
        sequence = message.seq or 0
        carried.append((message.headers or {}).get(tracing.TRACEPARENT))
    assert carried == traces


async def test_what_is_published_has_no_gaps(store: Neighbour) -> None:
    chat_id = await store.chat()
    await store.say(chat_id)
    await store.say(chat_id)
    await store.answer(chat_id, number=1)
    await store.answer(chat_id, number=2)
    chat = await eventually(lambda: idle(store, chat_id))
    assert chat is not None

    def heard_all() -> bool:
        return any(one.chat_id == chat_id and one.version == chat.version for one in store.changed)

    await eventually(heard_all)
    published = sorted((one for one in store.changed if one.chat_id == chat_id), key=lambda one: one.version)
    assert [(one.since, one.version) for one in published] == [(v - 1, v) for v in range(2, chat.version + 1)]
    last = published[-1]
    assert last.chat == chat
    assert last.generation is None
    assert last.messages is not None
    assert [one.status for one in last.messages] == ["complete"]


async def test_only_the_current_attempt_can_end_an_answer(store: Neighbour) -> None:
    chat_id = await store.chat()
    await store.say(chat_id)
    request = await store.request_for(chat_id)
    old = await store.claimed(request)
    new = await store.claimed(request)
    assert (old.attempt, new.attempt) == (1, 2)
    await store.finish(old, "from the older attempt")
    await store.finish(new, "from the current one")
    answer = await ended(store, chat_id, new.message_id)
    assert answer.content == "from the current one"
    await publish_durable_raw(
        store.js,
        subject_of(finished(new)),
        _encode(finished(new, "once more")),
        f"again:{new.generation_id}",
        deadline=10,
    )
    await store.say(chat_id)
    await store.request_for(chat_id, number=2)
    assert (await stored(store, chat_id, new.message_id)).content == "from the current one"
    assert isinstance(await store.claim(request), rpc.ClaimRefused)


async def test_the_same_claim_gets_the_same_answer(store: Neighbour) -> None:
    chat_id = await store.chat()
    await store.say(chat_id)
    request = await store.request_for(chat_id)
    claims = await asyncio.gather(*(store.claimed(request, claim_id="c") for _ in range(5)))
    assert {one.attempt for one in claims} == {1}
    assert (await store.sync(chat_id)).version == 3


async def test_attempts_are_counted_but_for_those_handed_back(store: Neighbour) -> None:
    chat_id = await store.chat()
    await store.say(chat_id)
    request = await store.request_for(chat_id)
    for _ in range(2):
        claimed = await store.claimed(request)
        await store.ask(rpc.Release(generation_id=claimed.generation_id, attempt=claimed.attempt))
    verdicts = [(await store.claimed(request)).verdict for _ in range(limits.MAX_ATTEMPTS + 1)]
    assert verdicts == ["stream"] * limits.MAX_ATTEMPTS + ["exhausted"]


async def test_a_failed_answer_keeps_its_text_and_says_why(store: Neighbour) -> None:
    chat_id = await store.chat()
    await store.say(chat_id, "first")
    claimed = await store.claimed(await store.request_for(chat_id))
    await store.finish(claimed, "so far", outcome="failed", error=AWAY, usage=None)
    answer = await ended(store, chat_id, claimed.message_id)
    assert (answer.status, answer.content, answer.error) == ("failed", "so far", AWAY)

    await store.say(chat_id, "second")
    silent = await store.claimed(await store.request_for(chat_id, number=2))
    assert [one.content for one in silent.context] == ["first", "so far", "second"]
    await store.finish(silent, "", outcome="failed", error=AWAY, usage=None)
    await ended(store, chat_id, silent.message_id)
    await store.say(chat_id, "third")
    claimed = await store.claimed(await store.request_for(chat_id, number=3))
    assert [one.content for one in claimed.context] == ["first", "so far", "second", "third"]


async def test_regenerating_and_editing_make_branches(store: Neighbour) -> None:
    chat_id = await store.chat()
    question = await store.say(chat_id, "question")
    first = await store.answer(chat_id, "first answer")
    request = rpc.Regenerate(user_id="ann", chat_id=chat_id, message_id=first.id, answer_id=ids.new_id())
    again = (await store.ask(request)).message
    assert (again.id, again.parent_id, again.status) == (request.answer_id, question, "pending")
    assert (await store.ask(request)).message.id == again.id
    with pytest.raises(RpcRefused, match="running") as refused:
        await store.ask(
            rpc.Regenerate(user_id="ann", chat_id=chat_id, message_id=first.id, answer_id=ids.new_id()),
        )
    assert refused.value.code == "conflict"
    second = await store.answer(chat_id, "second answer", number=2)
    assert second.id == again.id

    edit = await store.say(chat_id, "a better question", parent_id=None)
    claimed = await store.claimed(await store.request_for(chat_id, number=3))
    assert [one.content for one in claimed.context] == ["a better question"]
    assert (await stored(store, chat_id, edit)).parent_id is None
    await store.finish(claimed)
    await ended(store, chat_id, claimed.message_id)

    chosen = await store.ask(rpc.UpdateChat(user_id="ann", chat_id=chat_id, tip_id=first.id))
    assert chosen.chat.tip_id == first.id
    await store.say(chat_id, "go on")
    claimed = await store.claimed(await store.request_for(chat_id, number=4))
    assert [one.content for one in claimed.context] == ["question", "first answer", "go on"]


async def test_a_queued_prompt_can_be_taken_back(store: Neighbour) -> None:
    chat_id = await store.chat()
    first = await store.say(chat_id, "first")
    waiting = await store.say(chat_id, "waits")
    last = await store.say(chat_id, "last")
    assert (await stored(store, chat_id, last)).status == "queued"
    version = (await store.sync(chat_id)).version
    for _ in range(2):
        await store.ask(rpc.DeleteMessage(user_id="ann", chat_id=chat_id, message_id=waiting))
    with pytest.raises(RpcRefused) as refused:
        await store.ask(rpc.DeleteMessage(user_id="ann", chat_id=chat_id, message_id=first))
    assert refused.value.code == "conflict"
    assert waiting not in [one.id for one in await store.messages(chat_id)]
    tombstone = await store.sync(chat_id, after=version)
    assert tombstone.recovered
    assert [(one.id, one.status, one.content) for one in tombstone.messages] == [(waiting, "deleted", "")]
    await store.answer(chat_id, number=1)
    claimed = await store.claimed(await store.request_for(chat_id, number=2))
    assert claimed.context[-1].content == "last"


async def test_stopping_before_the_claim_ends_at_once(store: Neighbour) -> None:
    chat_id = await store.chat()
    await store.say(chat_id)
    request = await store.request_for(chat_id)
    await store.ask(rpc.Stop(user_id="ann", chat_id=chat_id))
    assert (await stored(store, chat_id, request.message_id)).status == "stopped"
    assert isinstance(await store.claim(request), rpc.ClaimRefused)
    await store.ask(rpc.Stop(user_id="ann", chat_id=chat_id))


async def test_stopping_a_running_answer_is_signalled_until_it_is_over(store: Neighbour) -> None:
    chat_id = await store.chat()
    await store.say(chat_id)
    await store.say(chat_id, "next")
    claimed = await store.claimed(await store.request_for(chat_id))
    await store.ask(rpc.Stop(user_id="ann", chat_id=chat_id))
    await eventually(lambda: store.signals.count(claimed.generation_id) >= 3, what="repeated signals")
    takeover = await store.claimed(await store.request_for(chat_id))
    assert (takeover.verdict, takeover.context) == ("stop_requested", [])
    await store.finish(takeover, "so far", outcome="stopped")
    assert (await ended(store, chat_id, claimed.message_id)).content == "so far"
    await store.request_for(chat_id, number=2)


async def test_many_writers_of_one_chat_all_get_their_turn(store: Neighbour) -> None:
    chat_id = await store.chat()
    before = (await store.get(chat_id)).version
    await asyncio.gather(
        *(store.join(chat_id, f"member {number}") for number in range(30)),
        *(store.say(chat_id, str(number)) for number in range(20)),
    )
    members = await store.ask(rpc.ListMembers(user_id="ann", chat_id=chat_id))
    assert len(members.items) == 31
    await eventually(lambda: _twenty(store, chat_id))
    version = (await store.get(chat_id)).version
    await eventually(
        lambda: {one.version for one in store.changed if one.chat_id == chat_id} == set(range(before + 1, version + 1)),
        what="every version being published once",
    )


async def _twenty(store: Neighbour, chat_id: str) -> bool:
    return len([one for one in await store.messages(chat_id) if one.role == "user"]) == 20


async def test_the_longest_answer_is_stored_and_published_without_its_text(store: Neighbour) -> None:
    chat_id = await store.chat()
    await store.say(chat_id, "x" * limits.MAX_PROMPT_BYTES)
    claimed = await store.claimed(await store.request_for(chat_id))
    text = "".join(f"word{number} " for number in range(60_000))[: limits.MAX_ANSWER_BYTES]
    await store.finish(claimed, text)
    assert (await ended(store, chat_id, claimed.message_id)).content == text
    await store.say(chat_id, "\x01" * limits.MAX_PROMPT_BYTES)
    await store.answer(chat_id, "\x00" * 10, number=2)
    messages = await store.messages(chat_id)
    assert [len(one.content) for one in messages] == [limits.MAX_PROMPT_BYTES, len(text), limits.MAX_PROMPT_BYTES, 10]
    page = await store.ask(rpc.ListMessages(user_id="ann", chat_id=chat_id, limit=100))
    assert len(page.items) < 4
    assert page.next is not None
    reply = await store.sync(chat_id, after=1)
    assert not reply.recovered


async def test_a_prompt_with_a_nul_is_kept(store: Neighbour) -> None:
    chat_id = await store.chat()
    await store.say(chat_id, "a\x00b")
    claimed = await store.claimed(await store.request_for(chat_id))
    assert claimed.context[-1].content == "a�b"


async def test_an_event_for_a_chat_that_is_gone_is_dropped(store: Neighbour) -> None:
    gone = ids.new_id()
    await store.say(gone)
    chat_id = await store.chat()
    await store.say(chat_id, user_id="bob")
    await store.say(chat_id, "of a member")
    claimed = await store.claimed(await store.request_for(chat_id))
    assert [one.content for one in claimed.context] == ["of a member"]
    with pytest.raises(RpcRefused):
        await store.get(gone)


async def test_a_deleted_chat_stops_its_answer_and_shrugs_off_late_events(store: Neighbour) -> None:
    chat_id = await store.chat()
    message_id = await store.say(chat_id)
    request = await store.request_for(chat_id)
    claimed = await store.claimed(request)
    version = (await store.sync(chat_id)).version
    for _ in range(2):
        await store.ask(rpc.DeleteChat(user_id="ann", chat_id=chat_id))
    with pytest.raises(RpcRefused):
        await store.ask(rpc.DeleteChat(user_id="bob", chat_id=chat_id))
    await eventually(lambda: store.signals.count(claimed.generation_id) >= 2, what="stop signals")
    await eventually(
        lambda: any(one.chat_id == chat_id and one.chat is None and one.since == version for one in store.changed)
    )
    await store.finish(claimed)
    await store.say(chat_id, message_id=message_id)
    assert isinstance(await store.claim(request), rpc.ClaimRefused)
    moved = await store.ask(rpc.Versions(chats={chat_id: version}))
    assert moved.moved == {chat_id: -1}
    with pytest.raises(RpcRefused) as refused:
        await store.ask(rpc.CreateChat(user_id="ann", chat_id=chat_id))
    assert refused.value.code == "conflict"
