"""A new version is rolled out next to the one before it, and back, under load: schema first, nothing lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest

from chat_store.storage import schema
from parley.contracts import ids, rpc
from parley.contracts.access.identity import GetUser
from parley.contracts.resources import Message
from parley.runtime import tracing
from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from parley.runtime.tasks import end
from tests.integration.chat_store import earlier
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.conftest import environment, migrate
from tests.integration.chat_store.people import start_session
from tests.support.service import run_service
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

T = TypeVar("T")

BEFORE_USERS = 7
"""The schema of the version before users, sessions and roles."""

CHATS = 4
TURNS = 8
"""Turns of all chats together in each phase of the roll-out."""


class Load:
    """People who talk, and a worker that answers, until they are stopped.

    Attributes:
        said: By chat, the prompts in their order.
    """

    def __init__(self, neighbour: Neighbour) -> None:
        self.said: dict[str, list[str]] = {}
        self._neighbour = neighbour
        self._turns = 0
        self._stop = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(CHATS):
                group.create_task(self._talk(await retried(self._neighbour.chat)))

    async def more(self, talking: asyncio.Task[None]) -> None:
        """Wait for some turns more."""
        goal = self._turns + TURNS

        def reached() -> bool:
            if talking.done():
                talking.result()
            return self._turns >= goal

        await eventually(reached, deadline=60, what=f"{goal} turns")

    def stop(self) -> None:
        self._stop.set()

    async def _talk(self, chat_id: str) -> None:
        said = self.said[chat_id] = []
        number = 0
        while not self._stop.is_set():
            # Two at once: the second waits for its turn, perhaps across the change of versions.
            for _ in range(2):
                trace = {tracing.TRACEPARENT: f"00-{len(said) + 1:032x}-{1:016x}-01"}
                said.append(await self._neighbour.say(chat_id, f"{len(said) + 1}", trace=trace))
            for _ in range(2):
                number += 1
                await self._answer(chat_id, number)
                self._turns += 1

    async def _answer(self, chat_id: str, number: int) -> None:
        store = self._neighbour
        request = await store.request_for(chat_id, number=number, deadline=60)
        claim_id = ids.new_id()
        claimed = await retried(lambda: store.claimed(request, claim_id=claim_id))
        await store.finish(claimed, f"answer {number}")

        async def stored() -> bool:
            answer = await retried(lambda: store.message(chat_id, claimed.message_id))
            return answer is not None and answer.status == "complete"

        await eventually(stored, deadline=60, what=f"answer {number} being stored")


async def retried(ask: Callable[[], Awaitable[T]]) -> T:
    """Repeat a request that was lost with the process that it was sent to, as all services do.

    Versions before the one of test_contention refuse a claim that collides with another change as an internal error;
    workers repeat it.
    """
    while True:
        try:
            return await ask()
        except BusUnavailable:
            await asyncio.sleep(0.1)
        except RpcRefused as refused:
            if refused.code not in {"unavailable", "internal"}:
                raise


@pytest.fixture(params=["previous", "before_the_newest_migration"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The PYTHONPATH of an earlier version."""
    folder = tmp_path / "earlier"
    folder.mkdir()
    try:
        return earlier.unpack(getattr(earlier, request.param)(), folder)
    except earlier.NoHistory as reason:
        pytest.skip(f"no earlier chat-store to run next to this one: {reason}")


async def test_this_version_rolls_out_and_back_beside_an_earlier_one_and_nothing_is_lost(
    older: str, nats_url: str, empty_database_url: str, neighbour: Neighbour
) -> None:
    path = {"PYTHONPATH": older}
    settings = environment(nats_url, empty_database_url)
    where = [sys.executable, "-c", "import chat_store; print(chat_store.__file__)"]
    shown = await asyncio.to_thread(
        subprocess.run, where, env=path, capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout.startswith(older.split(":")[0]), "the earlier version is what runs"

    made = await asyncio.to_thread(migrate, nats_url, empty_database_url, **path)
    assert made.returncode == 0, made.stderr
    load = Load(neighbour)
    async with run_service("chat_store", settings | path, tracebacks=True) as old:
        talking = asyncio.create_task(load.run())
        try:
            await load.more(talking)
            made = await asyncio.to_thread(migrate, nats_url, empty_database_url)
            assert made.returncode == 0, made.stderr
            await load.more(talking)
            async with run_service("chat_store", settings):
                await load.more(talking)
                assert await asyncio.to_thread(old.stop) == 0
                await load.more(talking)
                async with run_service("chat_store", settings | path, tracebacks=True) as old_again:
                    await load.more(talking)
                    assert old_again.returncode is None
                await load.more(talking)
                load.stop()
                await talking
                await _check(neighbour, load)
        finally:
            await end(talking)


async def _check(neighbour: Neighbour, load: Load) -> None:
    """Every prompt is stored once, in order, with the one answer to it."""
    for chat_id, said in load.said.items():
        messages = await neighbour.messages(chat_id)
        prompts = [message for message in messages if message.role == "user"]
        assert [prompt.id for prompt in prompts] == said
        answers = {message.parent_id: message for message in messages if message.role == "assistant"}
        assert len(messages) == 2 * len(said)
        for number, prompt in enumerate(prompts, start=1):
            answer: Message = answers[prompt.id]
            assert (answer.status, answer.content) == ("complete", f"answer {number}")
    assert (await neighbour.js.stream_info("DEAD_LETTERS")).state.messages == 0


async def test_everybody_still_has_their_chats_after_the_upgrade_to_users_and_roles(
    nats_url: str, empty_database_url: str, neighbour: Neighbour
) -> None:
    owner, member, former, spender, chat_id = (ids.new_id() for _ in range(5))
    connection = await asyncpg.connect(empty_database_url)
    try:
        await schema.migrate(connection, to=BEFORE_USERS)
        await connection.execute(
            "INSERT INTO chats (id, owner_id, title, created_at, updated_at, version, last_position)"
            " VALUES ($1, $2, 'Kept', now(), now(), 3, 1)",
            chat_id,
            owner,
        )
        for user_id, role in ((owner, "owner"), (member, "member")):
            add = "INSERT INTO members (chat_id, user_id, role, added_at) VALUES ($1, $2, $3, now())"
            await connection.execute(add, chat_id, user_id, role)
        await connection.execute(
            "INSERT INTO messages (chat_id, id, placement, role, author_id, content, reasoning, status, created_at,"
            " version, position) VALUES ($1, $2, 'tip', 'user', $3, 'said', '', 'sent', now(), 2, 1)",
            chat_id,
            ids.new_id(),
            former,
        )
        await connection.execute(
            "INSERT INTO usage VALUES ($1, $2, $3, 'demo', 3, 5, now())", ids.new_id(), chat_id, spender
        )
        made = await asyncio.to_thread(migrate, nats_url, empty_database_url)
        assert made.returncode == 0, made.stderr
        # The version before goes on for a while, and lets somebody in.
        late = ids.new_id()
        add = "INSERT INTO members (chat_id, user_id, role, added_at) VALUES ($1, $2, 'member', now())"
        await connection.execute(add, chat_id, late)
    finally:
        await connection.close()
    async with run_service("chat_store", environment(nats_url, empty_database_url)):
        for user_id in (owner, member, former, spender):
            user = (await neighbour.ask(GetUser(user_id=user_id))).user
            assert (user.issuer, user.disabled, user.role) == (None, False, "user")
        for user_id, role in ((owner, "owner"), (member, "writer"), (late, "writer")):
            # Their cookies from before are exchanged for sessions.
            assert (await start_session(neighbour, user_id=user_id)).user.id == user_id
            assert [chat.id for chat in (await neighbour.ask(rpc.ListChats(user_id=user_id))).items] == [chat_id]
            assert (await neighbour.ask(rpc.CheckAccess(user_id=user_id, chat_id=chat_id))).role == role
            assert (await neighbour.messages(chat_id, user_id=user_id))[0].content == "said"
        await neighbour.say(chat_id, "and more", user_id=member)
        await neighbour.request_for(chat_id)
        with pytest.raises(RpcRefused):
            await neighbour.get(chat_id, user_id=former)
        assert [line.answers for line in (await neighbour.ask(rpc.GetUsage(user_id=spender))).items] == [1]
