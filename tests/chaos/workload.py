"""The workload of a run: users and readers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from contextlib import AsyncExitStack

from parley_client import ParleyClient
from parley_client.client import Transport
from tests.chaos.history import History
from tests.chaos.invariants import Reading
from tests.chaos.progress import Progress
from tests.chaos.reader import Reader
from tests.chaos.user import User
from tests.support.sharing import join


class Workload:
    """Users with a chat each; an asynchronous context manager, in which every reader is connected.

    Each chat has also a guest whose connection drops every few seconds, and every other chat one who reads
    server-sent events.
    """

    def __init__(self, url: str, users: int, seed: int) -> None:
        self.history = History()
        self.progress = Progress()
        self.readers: list[Reader] = []
        self._url = url
        self._count = users
        self._seed = seed
        self._users: list[User] = []
        self._stop = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []
        self._dropping: list[asyncio.Task[None]] = []
        self._clients = AsyncExitStack()

    async def __aenter__(self) -> Workload:
        for number in range(1, self._count + 1):
            await self._add_chat(number)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        tasks = [*self._running, *self._dropping]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._clients.aclose()

    @property
    def unsent(self) -> int:
        """Messages that are not accepted yet."""
        return sum(user.pending for user in self._users)

    def start(self) -> None:
        """Start sending."""
        self._running = [asyncio.create_task(user.run(self._stop)) for user in self._users]

    async def finish(self, seconds: float) -> None:
        """Stop after the messages that are being sent, within ``seconds``."""
        self._stop.set()
        done, _ = await asyncio.wait(self._running, timeout=seconds)
        for task in done:
            task.result()

    def readings(self) -> Iterable[Reading]:
        """Yield the state of every reader."""
        for reader in self.readers:
            state = reader.watch.state
            yield Reading(
                reader=reader.name,
                chat_id=reader.chat_id,
                version=state.version,
                messages={each.id: (each.status, each.content, each.reasoning) for each in state.messages},
                whole=state.next is None,
                observations=reader.observations,
            )

    # --- setup -----------------------------------------------------------------------------------------------------

    async def _add_chat(self, number: int) -> None:
        draw = random.Random(f"{self._seed}:{number}")
        owner = await self._clients.enter_async_context(ParleyClient(self._url, transport="socket"))
        chat = await owner.api.create_chat()
        user = User(number, owner, chat.id, self.history, self.progress, draw)
        self._users.append(user)
        await self._follow(user.reader)
        unsteady = Reader(f"unsteady guest {number}", await self._guest(owner, chat.id), chat.id, self.progress)
        await self._follow(unsteady)
        drops = random.Random(f"{self._seed}:drops:{number}")
        self._dropping.append(asyncio.create_task(_drop_repeatedly(unsteady.client, drops)))
        if number % 2 == 0:
            await self._follow(
                Reader(f"guest of events {number}", await self._guest(owner, chat.id, "events"), chat.id, self.progress)
            )

    async def _guest(self, owner: ParleyClient, chat_id: str, transport: Transport = "socket") -> ParleyClient:
        guest = await self._clients.enter_async_context(ParleyClient(self._url, transport=transport))
        await join(chat_id, owner, guest)
        return guest

    async def _follow(self, reader: Reader) -> None:
        self.readers.append(reader)
        await self._clients.enter_async_context(reader.watch)
        await reader.watch.until(lambda state: state.chat, timeout=30)


async def _drop_repeatedly(client: ParleyClient, draw: random.Random) -> None:
    while True:
        await asyncio.sleep(draw.uniform(0.5, 8.0))
        client.drop()
