"""A batch of commands that is written in parts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest

from chat_store.domain.conversation import Changes
from chat_store.errors import is_outage
from chat_store.events.context import EventContext
from chat_store.events.processing import Intake
from chat_store.storage import changes, transactions
from chat_store.storage.transactions import Command, Interrupted
from parley.contracts.events import PromptSubmitted
from parley.contracts.streams import CHAT_STORE_PROMPTS
from tests.unit.chat_store.tables import Tables


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first chat is written, the second one was changed by others; then the connection is lost."""
    tries = 0

    async def decide(_: Any, pending: Any, *__: Any) -> dict[str, Changes]:
        nonlocal tries
        tries += 1
        if tries == 2:
            raise asyncpg.ConnectionDoesNotExistError("gone")
        tables = Tables()
        tables.submit()
        return {command.chat_id: tables.history[-1] for _, command in pending}

    async def apply(*_: Any, **__: Any) -> dict[str, list[str]]:
        return {"a": ["members of a"]}

    monkeypatch.setattr(transactions, "_decide", decide)
    monkeypatch.setattr(changes, "apply", apply)


COMMANDS = [Command(chat_id=chat_id, run=lambda _: "started") for chat_id in ("a", "b")]


@pytest.mark.usefixtures("interrupted")
async def test_what_was_written_before_an_error_comes_with_it() -> None:
    with pytest.raises(Interrupted) as raised:
        await transactions.execute(None, COMMANDS)  # type: ignore[arg-type]
    assert [change.members for change in raised.value.changes] == [["members of a"]]
    assert is_outage(raised.value.error)


@pytest.mark.usefixtures("interrupted")
async def test_what_was_written_before_an_outage_is_announced_at_once() -> None:
    announced: list[Any] = []

    class Publisher:
        async def announce(self, changes: list[Any], **_: Any) -> None:
            announced.extend(changes)

    intake: Intake[PromptSubmitted] = Intake(
        cast(EventContext, SimpleNamespace(publisher=Publisher())),
        CHAT_STORE_PROMPTS,
        kind=PromptSubmitted,
        command=lambda event, trace, refused: COMMANDS[0],
    )
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await intake._run(COMMANDS, lambda commands: transactions.execute(None, commands))  # type: ignore[arg-type]
    assert [change.members for change in announced] == [["members of a"]]
