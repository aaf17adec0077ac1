"""Waiting for what was accepted: for members whoever sent it, for others only for what they sent themselves."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import nats.js.errors
import pytest

from chat_store.rpc.read_your_writes import Accepted
from parley.contracts import ids
from parley.contracts.events import PromptSubmitted

CHAT = ids.new_id()


class FakeStream:
    """The stream with at most one prompt, which is acknowledged at the second look.

    Attributes:
        looks: How often the consumer was asked.
    """

    def __init__(self, body: bytes | None) -> None:
        self.body = body
        self.looks = 0

    async def get_last_msg(self, stream: str, subject: str) -> Any:
        if self.body is None:
            raise nats.js.errors.NotFoundError
        return SimpleNamespace(data=self.body, seq=7)

    async def consumer_info(self, stream: str, consumer: str) -> Any:
        self.looks += 1
        return SimpleNamespace(ack_floor=SimpleNamespace(stream_seq=7 if self.looks > 1 else 6))


async def attempts(stream: FakeStream, author_id: str | None) -> int:
    """Return how often a request is carried out that never finds what it names."""
    count = 0

    async def attempt() -> None:
        nonlocal count
        count += 1

    database = SimpleNamespace(connection=contextlib.nullcontext)
    accepted = Accepted(cast(Any, stream), cast(Any, database))
    await accepted.carry_out(CHAT, attempt, again=lambda _: True, author_id=lambda _: author_id)
    return count


def accepted_prompt(user_id: str = "ann") -> FakeStream:
    # Its id is none, so that the database is not asked whether it is stored.
    event = PromptSubmitted(
        chat_id=CHAT, message_id="no id", user_id=user_id, content="hello", occurred_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    return FakeStream(msgspec.json.encode(event))


@pytest.mark.parametrize("author_id", [None, "ann"])
async def test_a_request_is_carried_out_again_when_the_prompt_is_handled(author_id: str | None) -> None:
    stream = accepted_prompt()
    assert await attempts(stream, author_id) == 2
    assert stream.looks == 2


@pytest.mark.parametrize("author_id", [None, "bob"])
async def test_it_is_not_when_there_is_no_prompt(author_id: str | None) -> None:
    assert await attempts(FakeStream(None), author_id) == 1


@pytest.mark.parametrize("body", [None, b"nonsense"])
async def test_who_is_no_member_does_not_wait_for_what_others_sent(body: bytes | None) -> None:
    stream = accepted_prompt() if body is None else FakeStream(body)
    assert await attempts(stream, "bob") == 1
    assert stream.looks == 0, "as for a chat that does not exist"
