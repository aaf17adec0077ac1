"""What happens to one chat from two sides at once."""

from __future__ import annotations

import asyncio
import functools
from datetime import UTC, datetime

from chat_store.domain import generations, prompts
from chat_store.storage import chats, pool, transactions
from chat_store.storage.generations import mark_requested
from chat_store.storage.transactions import Command
from parley.contracts import ids
from tests.integration.chat_store.client import prompt

CHATS = 64
ROUNDS = 40


async def test_a_claim_crosses_the_note_that_its_request_is_stored(database_url: str) -> None:
    """Postgres may refuse an upsert as a second row while the row gets a new version; the claim is written anyway."""
    store = await pool.connect(database_url, settings=pool.SESSION_SETTINGS)
    other = await pool.connect(database_url, settings=pool.SESSION_SETTINGS)
    requested = []
    for _ in range(CHATS):
        chat_id, now = ids.new_id(), datetime.now(UTC)
        await chats.create_chat(store, chat_id, owner_id="ann", title=None, model=None, system_prompt=None, now=now)
        submit = functools.partial(prompts.submit, prompt=prompt(chat_id))
        done = await transactions.execute(store, [Command(chat_id=chat_id, run=submit, users=["ann"])])
        requested += [one for change in done.changes for one in change.generations]
    assert len(requested) == CHATS
    claimed = asyncio.Event()

    async def note() -> None:
        sequence = 0
        while not claimed.is_set():
            sequence += 1
            await other.execute("UPDATE generations SET request_seq = NULL")
            await mark_requested(other, [(generation, sequence) for generation in requested])

    async def claim() -> None:
        # One at a time: two statements that each change several rows may wait for one another.
        for _ in range(ROUNDS):
            for one in requested:
                claim_id = ids.new_id()
                run = functools.partial(generations.claim, generation_id=one.id, claim_id=claim_id, worker_id="worker")
                outcome = await transactions.execute(store, [Command(chat_id=one.chat_id, run=run)])
                assert outcome.results[0] is not None
        claimed.set()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(note())
            group.create_task(claim())
        attempts = await store.fetch("SELECT attempt FROM generations")
        assert [row["attempt"] for row in attempts] == [ROUNDS] * CHATS
    finally:
        await store.close()
        await other.close()
