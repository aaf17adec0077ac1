"""All rooms of this process, and what keeps them true: flushing, anti-entropy, silence, reconnects."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from functools import partial
from typing import Final, Protocol

from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from push.bus.request_limiter import Gate, Pace
from push.rooms.reader import Reader
from push.rooms.readers import Counters
from push.rooms.room import Room
from push.rooms.room_sync import Keeper, LiveBus
from push.tasks import Tasks

__all__ = ["Rooms", "StoreBus", "Timing"]

log = logging.getLogger(__name__)

_CHUNK: Final = 1000
_MAX_REQUESTS: Final = 64


class StoreBus(LiveBus, Protocol):
    """What rooms need of :class:`push.bus.connection.Bus`."""

    @property
    def connected(self) -> bool: ...

    async def versions(self, chats: dict[str, int]) -> dict[str, int]: ...


class Timing:
    """Times in seconds.

    Attributes:
        tick: How often silence and emptiness are looked at.
        quiet: Silence of a running answer after which chat-store and the worker are asked.
        check: Period of the anti-entropy, give or take a fifth, and of forgetting what no joiner asked for.
        linger: How long a room outlives its last reader.
        patience: How long a reader waits for a first snapshot before it is told that it takes longer.
    """

    def __init__(
        self,
        *,
        tick: float = 0.5,
        quiet: float = 5.0,
        check: float = 15.0,
        linger: float = 5.0,
        patience: float = 10.0,
    ) -> None:
        self.tick = tick
        self.quiet = quiet
        self.check = check
        self.linger = linger
        self.patience = patience


class Rooms:
    """Rooms by chat. ``watch_clock`` and ``check_versions`` keep them; a session needs the rest."""

    def __init__(self, bus: StoreBus, counters: Counters, timing: Timing | None = None) -> None:
        self._bus = bus
        self._counters = counters
        self._timing = timing or Timing()
        self._keepers: dict[str, Keeper] = {}
        self._tasks = Tasks()
        self._gate = Gate(_MAX_REQUESTS)
        self._loop = asyncio.get_running_loop()
        self._dirty: list[Room] = []
        self._hurry = asyncio.Event()

    def __len__(self) -> int:
        return len(self._keepers)

    @property
    def lagging(self) -> int:
        """Readers that cannot take more now."""
        return sum(keeper.room.readers.lagging for keeper in self._keepers.values())

    @property
    def readers(self) -> int:
        return sum(len(keeper.room.readers) for keeper in self._keepers.values())

    # --- readers -----------------------------------------------------------------------------------------------------

    def room(self, chat_id: str) -> Room:
        """Return the room of a chat, opened when there is none."""
        keeper = self._keepers.get(chat_id)
        if keeper is not None and keeper.room.gone:
            self._end(keeper)
            keeper = None
        return (keeper or self._open(chat_id)).room

    def join(self, room: Room, reader: Reader) -> None:
        """Let ``reader`` follow a chat. It is told all the rest through its ``write``."""
        room.readers.join(reader)
        self._drive(room)

    def leave(self, room: Room, reader: Reader) -> None:
        """``reader`` follows no more."""
        room.readers.leave(reader)
        keeper = self._keepers.get(room.chat_id)
        if keeper is not None and keeper.room is room:
            self._end_if_useless(keeper)

    def resume(self, room: Room, reader: Reader) -> None:
        """``reader`` can take more again."""
        room.readers.resume(reader)
        self._drive(room)

    def _drive(self, room: Room) -> None:
        keeper = self._keepers.get(room.chat_id)
        if keeper is not None and keeper.room is room:
            keeper.drive()

    def _open(self, chat_id: str) -> Keeper:
        keeper = self._keepers[chat_id] = Keeper(
            Room(chat_id, self._counters),
            self._bus,
            self._tasks,
            self._gate,
            self._flush_soon,
            self._end_if_useless,
            quiet_after=self._timing.quiet,
        )
        return keeper

    def _end_if_useless(self, keeper: Keeper) -> None:
        """End a room that nobody may read, or whose chat is gone, at once: anybody can ask for any chat.

        A room that served somebody lingers, for the reader who comes back.
        """
        room = keeper.room
        if len(room.readers) == 0 and (room.gone or not room.readers.admitted):
            self._end(keeper)

    def _end(self, keeper: Keeper) -> None:
        if self._keepers.get(keeper.room.chat_id) is keeper:
            del self._keepers[keeper.room.chat_id]
            self._tasks.start(keeper.close())

    def _flush_soon(self, room: Room) -> None:
        # After the read that is being handled: what one read held of a room becomes one write per reader. When idle,
        # that is one delta; the busier the process, the more it is.
        if not self._dirty:
            self._loop.call_soon(self._flush)
        self._dirty.append(room)

    def _flush(self) -> None:
        rooms, self._dirty = self._dirty, []
        for room in rooms:
            try:
                room.readers.flush()
            except Exception:
                log.exception("A room could not be flushed", extra={"chat_id": room.chat_id})  # the others must be

    # --- upkeep ------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Ask nothing more."""
        await self._tasks.close()

    async def reconnected(self) -> None:
        """NATS is back: whatever came live meanwhile is lost."""
        self._gate.end_pauses()
        for keeper in tuple(self._keepers.values()):
            if keeper.room.running:
                keeper.room.doubt()
                keeper.drive()
        self._hurry.set()

    async def watch_clock(self) -> None:
        """Notice silence, emptiness and waiting, until cancelled."""
        while True:
            await asyncio.sleep(self._timing.tick)
            now = self._loop.time()
            for keeper in tuple(self._keepers.values()):
                self._look_at(keeper, now)

    def _look_at(self, keeper: Keeper, now: float) -> None:
        room = keeper.room
        if len(room.readers) == 0:
            if keeper.empty_since is None:
                keeper.empty_since = now
            if now - keeper.empty_since >= self._timing.linger:
                self._end(keeper)
            return
        keeper.empty_since = None
        if self._bus.connected:
            keeper.listen(now)
        if room.readers.waiting == 0:
            keeper.waiting_since = None
        elif keeper.waiting_since is None:
            keeper.waiting_since = now
        elif now - keeper.waiting_since >= self._timing.patience:
            room.readers.warn()

    async def check_versions(self) -> None:
        """Anti-entropy, until cancelled: compare all versions now and then, and at once after a reconnect."""
        pace = Pace()
        while True:
            hurried = False
            try:
                async with asyncio.timeout(self._timing.check * random.uniform(0.8, 1.2)):
                    hurried = await self._hurry.wait()
            except TimeoutError:
                pass
            if hurried:
                self._hurry.clear()
                # All push processes were cut off together; they need not ask together.
                await asyncio.sleep(pace.pause())
            else:
                for keeper in self._keepers.values():
                    keeper.room.tidy()
            if await self._compare():
                pace.reset()
            elif hurried:
                self._hurry.set()

    async def _compare(self) -> bool:
        rooms = {
            chat: k.room.version for chat, k in self._keepers.items() if len(k.room.readers) and k.room.version >= 0
        }
        chats = iter(rooms)
        while chunk := {chat: rooms[chat] for chat in itertools.islice(chats, _CHUNK)}:
            try:
                moved = await self._gate.ask_store("versions", partial(self._bus.versions, chunk))
            except (BusUnavailable, RpcRefused):
                return False
            for chat_id, version in moved.items():
                self._moved(chat_id, chunk.get(chat_id, -1), version)
        return True

    def _moved(self, chat_id: str, asked: int, version: int) -> None:
        keeper = self._keepers.get(chat_id)
        if keeper is None:
            return
        if version < 0:
            keeper.room.deleted()
            self._end_if_useless(keeper)
        elif version > keeper.room.version or version < asked:
            # Below what was asked about: chat-store was set back. Between the two: overtaken by a change.
            keeper.room.doubt(text=False)
            keeper.drive()
