"""A backup that is made under load, and everything else erased."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from parley.contracts.resources import Message
from parley_cli.child_process import base_environment
from parley_client import ParleyClient
from parley_client.errors import ClientError
from tests.support.pausing import pause
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

_MODEL = "demo-rate-100x60"


@dataclass(frozen=True)
class Proof:
    """What was acknowledged to a user, and the user."""

    chat: str
    token: str
    accepted: dict[str, str]

    async def assert_there(self, stack: RunningStack) -> None:
        async with stack.client(access_token=self.token) as client:

            async def there() -> list[Message]:
                messages = await client.api.all_messages(self.chat)
                return messages if self.accepted.keys() <= {message.id for message in messages} else []

            messages = await eventually(there, deadline=30, what="every message that was accepted")
        prompts = [message for message in messages if message.role == "user"]
        by_id = {message.id: message.content for message in prompts}
        assert {key: by_id[key] for key in self.accepted} == self.accepted
        assert len(by_id) == len(prompts), "none is there twice"

    async def assert_answered(self, stack: RunningStack) -> None:
        """What was due is made: the queue moves on to its end."""
        last = list(self.accepted)[-1]
        async with stack.client(access_token=self.token) as client, client.watch(self.chat) as watch:
            answer = await watch.answer_to(last, timeout=100)
        assert answer.status == "complete"
        assert self.accepted[last] in answer.content


@dataclass
class Person:
    """Sends one message after the other, and remembers what was accepted.

    Attributes:
        accepted: Content by message id.
    """

    client: ParleyClient
    chat: str
    accepted: dict[str, str] = field(default_factory=dict)

    def proof(self) -> Proof:
        assert self.client.api.access_token is not None
        return Proof(self.chat, self.client.api.access_token, dict(self.accepted))

    async def talk(self) -> None:
        for number in range(10_000):
            content = f"message {number} of {self.chat}"
            try:
                self.accepted[await self.client.api.send(self.chat, content)] = content
            except ClientError:
                return  # the stack is gone
            await asyncio.sleep(0.2)  # the load's rate; nothing is waited for


async def _parley(*arguments: str, code: int = 0) -> str:
    """Run the command, expect its exit code, return what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "parley_cli.main", *arguments),
        env=base_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    async with asyncio.timeout(100):
        said = (await process.communicate())[0].decode()
    assert process.returncode == code, said
    return said


@asynccontextmanager
async def _people(stack: RunningStack, count: int) -> AsyncIterator[list[Person]]:
    people = []
    for _ in range(count):
        client = stack.client()
        people.append(Person(client, (await client.api.create_chat(model=_MODEL)).id))
    talking = [asyncio.create_task(person.talk()) for person in people]
    try:
        yield people
    finally:
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        for person in people:
            await person.client.disconnect()
            await person.client.api.__aexit__(None, None, None)


@pytest.mark.timeout(300)
async def test_every_message_accepted_before_a_backup_under_load_is_there_and_answered_after_a_restore(
    tmp_path: Path,
) -> None:
    folder, paused_file, live_file = tmp_path / "data", tmp_path / "paused.backup", tmp_path / "live.backup"
    async with RunningStack(folder) as stack, _people(stack, 8) as people:
        await eventually(lambda: sum(len(person.accepted) for person in people) > 60, what="load")
        # What is accepted now is in its stream only, for as long as nobody stores it.
        paused = stack.state.processes["chat-store"].pid
        assert paused is not None
        pause(paused)
        now = sum(len(person.accepted) for person in people)
        await eventually(lambda: sum(len(person.accepted) for person in people) > now + 20, what="messages owed")
        owed = [person.proof() for person in people]
        assert "CHAT: prompt.submitted" in await _parley("backup", str(paused_file), "--data", str(folder))
        os.kill(paused, signal.SIGCONT)
        # And once more while everything that is accepted is also stored.
        live = [person.proof() for person in people]
        await _parley("backup", str(live_file), "--data", str(folder))
    shutil.rmtree(folder)

    await _parley("restore", str(paused_file), "--data", str(folder))
    assert "--force" in await _parley("restore", str(live_file), "--data", str(folder), code=1)
    async with RunningStack(folder) as stack:
        for proof in owed:
            await proof.assert_there(stack)
        await asyncio.gather(*(proof.assert_answered(stack) for proof in owed))
    await _parley("restore", str(live_file), "--data", str(folder), "--force")
    async with RunningStack(folder) as stack:
        for proof in live:
            await proof.assert_there(stack)
