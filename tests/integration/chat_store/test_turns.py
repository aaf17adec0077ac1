"""A turn: a prompt is stored, its answer requested, claimed and finished."""

import asyncio

import pytest

from parley.contracts import ids, rpc, subjects
from parley.runtime import bus
from tests.integration.chat_store.client import AWAY, Neighbour, finished, prompt
from tests.support.waiting import eventually

import msgspec


async def test_a_prompt_becomes_a_turn(store: Neighbour) -> None:
    chat_id = await store.chat(system_prompt="Be brief.", model="demo")
    message_id = await store.say(chat_id, "  \n What is a turn?\nTell me.")

    request = await store.request_for(chat_id)
    claimed = await store.claimed(request)
    assert (claimed.attempt, claimed.verdict, claimed.model) == (1, "stream", "demo")
    assert claimed.context == [
        rpc.ContextMessage(role="system", content="Be brief."),
        rpc.ContextMessage(role="user", content="  \n What is a turn?\nTell me."),
    ]
    streaming = await store.message(chat_id, claimed.message_id)
    assert streaming is not None
    assert streaming.status == "streaming"
    assert (await store.get(chat_id)).running

    await store.finish(claimed, "This is one.", reasoning="hm")
    chat = await eventually(lambda: _idle(store, chat_id))
    assert chat.title == "What is a turn?"
    assert chat.tip_id == claimed.message_id
    question, answer = await store.messages(chat_id)
    assert (question.id, question.status, question.parent_id, question.author_id) == (message_id, "sent", None, "ann")
    assert (answer.content, answer.reasoning, answer.status, answer.parent_id) == (
        "This is one.",
        "hm",
        "complete",
        message_id,
    )
    assert answer.usage is not None
    assert answer.usage.output_tokens == 5
    assert answer.version == chat.version


async def _idle(store: Neighbour, chat_id: str):  # type: ignore[no-untyped-def]
    chat = await store.get(chat_id)
    return None if chat.running else chat
