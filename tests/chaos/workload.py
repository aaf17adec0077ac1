"""All users of a run and their readers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType

from parley_client import ParleyClient
from parley_client.client import Transport
from tests.chaos.history import Ledger
from tests.chaos.invariants import Reading
from tests.chaos.progress import Progress
from tests.chaos.reader import Reader
from tests.chaos.user import User


class Crowd:
    """Users with a chat each; an asynchronous context manager, in which every reader is connected.

    Beside its user each chat has a guest who reads along over a connection that breaks every few seconds, and every
    other chat one who reads server-sent events.
    """

    def __init__(self, url: str, users: int, seed: int) -> None:
        self.ledger = Ledger()
        self.progress = Progress()
        self.readers: list[Reader] = []
        self._url = url
        self._count = users
        self._seed = seed
        self._users: list[User] = []
        self._stop = asyncio.Event()
        self._talking: list[asyncio.Task[None]] = []
        self._shaking: list[asyncio.Task[None]] = []
        self._clients = AsyncExitStack()

    async def __aenter__(self) -> Crowd:
        for number in range(1, self._count + 1):
            await self._add_chat(number)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        tasks = [*self._talking, *self._shaking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._clients.aclose()

    @property
    def unsent(self) -> int:
        """Messages that are still on their way to a gateway."""
        return sum(user.pending for user in self._users)

    def start(self) -> None:
        """Let them talk."""
        self._talking = [asyncio.create_task(user.run(self._stop)) for user in self._users]

    async def hush(self, seconds: float) -> None:
        """Let them finish what they are sending, within ``seconds``; begin nothing new."""
        self._stop.set()
        done, _ = await asyncio.wait(self._talking, timeout=seconds)
        for task in done:
            task.result()

    def readings(self) -> Iterable[Reading]:
        """What every reader has now."""
        for reader in self.readers:
            state = reader.watch.state
            yield Reading(
                reader=reader.name,
                chat_id=reader.chat_id,
                version=state.version,
                messages={each.id: (each.status, each.content, each.reasoning) for each in state.messages},
                whole=state.next is None,
                witnesses=reader.witnesses,
            )

    # --- arrival -----------------------------------------------------------------------------------------------------

    async def _add_chat(self, number: int) -> None:
        draw = random.Random(f"{self._seed}:{number}")
        owner = await self._clients.enter_async_context(ParleyClient(self._url, transport="socket"))
        chat = await owner.api.create_chat()
        user = User(number, owner, chat.id, self.ledger, self.progress, draw)
        self._users.append(user)
        await self._follow(user.reader)
        unsteady = Reader(f"unsteady guest {number}", await self._guest(owner, chat.id), chat.id, self.progress)
        await self._follow(unsteady)
        drops = random.Random(f"{self._seed}:drops:{number}")
        self._shaking.append(asyncio.create_task(_shake(unsteady.client, drops)))
        if number % 2 == 0:
            await self._follow(
                Reader(f"guest of events {number}", await self._guest(owner, chat.id, "events"), chat.id, self.progress)
            )

    async def _guest(self, owner: ParleyClient, chat_id: str, transport: Transport = "socket") -> ParleyClient:
        guest = await self._clients.enter_async_context(ParleyClient(self._url, transport=transport))
        session = await guest.api.begin_session()
        await owner.api.put_member(chat_id, session.user_id)
        return guest

    async def _follow(self, reader: Reader) -> None:
        self.readers.append(reader)
        await self._clients.enter_async_context(reader.watch)
        await reader.watch.until(lambda state: state.chat, timeout=30)


async def _shake(client: ParleyClient, draw: random.Random) -> None:
    while True:
        await asyncio.sleep(draw.uniform(0.5, 8.0))
        client.drop()
