"""All rooms of this process, and what keeps them true: flushing, anti-entropy, silence, reconnects."""

import asyncio
import itertools
import logging
import random
from dataclasses import dataclass
from typing import Final

from parley.contracts import rpc
from parley.contracts.ids import new_id
from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from parley.runtime.tasks import Tasks
from push.bus.request_limiter import RequestLimiter, new_backoff
from push.metrics import Counters
from push.rooms.reader import Reader
from push.rooms.room import Room
from push.rooms.room_sync import RoomBus, RoomSync

log = logging.getLogger(__name__)

_CHUNK: Final = 1000
_MAX_REQUESTS: Final = 64


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times in seconds.

    Attributes:
        tick: How often silence and emptiness are looked at.
        quiet: Silence of a running answer after which chat-store and the worker are asked.
        check: Period of the anti-entropy, give or take a fifth, and of forgetting what no joiner asked for.
        linger: How long a room outlives its last reader.
        snapshot_timeout: How long a reader waits for a first snapshot before it is sent ``unavailable``.
    """

    tick: float = 0.5
    quiet: float
    check: float
    linger: float = 5.0
    snapshot_timeout: float = 10.0


class Rooms:
    """Rooms by chat. ``watch_clock`` and ``check_versions`` keep them; a session needs the rest."""

    def __init__(self, bus: RoomBus, counters: Counters, timing: Timing) -> None:
        self._bus = bus
        self._counters = counters
        self._timing = timing
        self._rooms: dict[str, RoomSync] = {}
        self._tasks = Tasks()
        self._process_id = new_id()
        self._limiter = RequestLimiter(bus, _MAX_REQUESTS)
        self._loop = asyncio.get_running_loop()
        self._dirty: list[Room] = []
        self._compare_now = asyncio.Event()

    def __len__(self) -> int:
        return len(self._rooms)

    @property
    def lagging(self) -> int:
        """Readers that cannot take more now."""
        return sum(sync.room.readers.lagging for sync in self._rooms.values())

    @property
    def readers(self) -> int:
        return sum(len(sync.room.readers) for sync in self._rooms.values())

    # --- readers -----------------------------------------------------------------------------------------------------

    def room(self, chat_id: str) -> Room:
        """Return the room of a chat, opened when there is none."""
        sync = self._rooms.get(chat_id)
        if sync is not None and sync.room.gone:
            self._end(sync)
            sync = None
        return (sync or self._open(chat_id)).room

    def join(self, room: Room, reader: Reader) -> None:
        """Let ``reader`` follow a chat. Everything is sent through its ``write``."""
        room.readers.join(reader)
        self._drive(room)

    def leave(self, room: Room, reader: Reader) -> None:
        """``reader`` follows no more."""
        room.readers.leave(reader)
        sync = self._rooms.get(room.chat_id)
        if sync is not None and sync.room is room:
            self._end_if_useless(sync)

    def resume(self, room: Room, reader: Reader) -> None:
        """``reader`` can take more again."""
        room.readers.resume(reader)
        self._drive(room)

    def typing(self, room: Room, user_id: str) -> None:
        """A user who reads here writes a message."""
        sync = self._rooms.get(room.chat_id)
        if sync is not None and sync.room is room and room.may(user_id, "write"):
            sync.presence.typing(user_id, self._loop.time())

    def _drive(self, room: Room) -> None:
        sync = self._rooms.get(room.chat_id)
        if sync is not None and sync.room is room:
            sync.drive()

    def _open(self, chat_id: str) -> RoomSync:
        sync = self._rooms[chat_id] = RoomSync(
            Room(chat_id, self._counters),
            self._bus,
            self._tasks,
            self._limiter,
            self._flush_soon,
            self._end_if_useless,
            quiet_after=self._timing.quiet,
            process_id=self._process_id,
        )
        return sync

    def _end_if_useless(self, sync: RoomSync) -> None:
        """End a room that nobody may read, or whose chat is deleted, at once: anybody can ask for any chat.

        A room that served somebody lingers, for the reader who comes back.
        """
        room = sync.room
        if len(room.readers) == 0 and (room.gone or not room.readers.admitted):
            self._end(sync)

    def _end(self, sync: RoomSync) -> None:
        if self._rooms.get(sync.room.chat_id) is sync:
            del self._rooms[sync.room.chat_id]
            self._tasks.start(sync.close())

    def _flush_soon(self, room: Room) -> None:
        # After the read that is being handled: what one read had of a room becomes one write per reader. When idle,
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

    def reconnected(self) -> None:
        """NATS is back: whatever came live meanwhile is lost."""
        self._limiter.retry_now()
        for sync in tuple(self._rooms.values()):
            if sync.room.running:
                sync.room.resync()
                sync.drive()
        self._compare_now.set()

    async def watch_clock(self) -> None:
        """Notice silence, emptiness and waiting, until cancelled."""
        while True:
            await asyncio.sleep(self._timing.tick)
            now = self._loop.time()
            for sync in tuple(self._rooms.values()):
                self._look_at(sync, now)

    def _look_at(self, sync: RoomSync, now: float) -> None:
        room = sync.room
        if self._bus.connected:
            sync.update_presence(now)
        if len(room.readers) == 0:
            if sync.empty_since is None:
                sync.empty_since = now
            if now - sync.empty_since >= self._timing.linger:
                self._end(sync)
            return
        sync.empty_since = None
        if self._bus.connected:
            sync.listen(now)
        if room.readers.waiting == 0:
            sync.waiting_since = None
        elif sync.waiting_since is None:
            sync.waiting_since = now
        elif now - sync.waiting_since >= self._timing.snapshot_timeout:
            room.readers.warn()

    async def check_versions(self) -> None:
        """Anti-entropy, until cancelled: compare all versions now and then, and at once after a reconnect."""
        backoff = new_backoff()
        while True:
            requested = False
            try:
                async with asyncio.timeout(self._timing.check * random.uniform(0.8, 1.2)):
                    requested = await self._compare_now.wait()
            except TimeoutError:
                pass
            if requested:
                self._compare_now.clear()
                # All push processes were cut off together; they need not ask together.
                await asyncio.sleep(backoff.next_delay())
            else:
                for sync in self._rooms.values():
                    sync.room.discard_unused()
            if await self._compare():
                backoff.reset()
            elif requested:
                self._compare_now.set()

    async def _compare(self) -> bool:
        rooms = {chat: k.room.version for chat, k in self._rooms.items() if len(k.room.readers) and k.room.version >= 0}
        chats = iter(rooms)
        while chunk := {chat: rooms[chat] for chat in itertools.islice(chats, _CHUNK)}:
            try:
                moved = (await self._limiter.ask(rpc.Versions(chats=chunk))).moved
            except (BusUnavailable, RpcRefused):
                return False
            for chat_id, version in moved.items():
                self._moved(chat_id, chunk.get(chat_id, -1), version)
        return True

    def _moved(self, chat_id: str, asked: int, version: int) -> None:
        sync = self._rooms.get(chat_id)
        if sync is None:
            return
        if version < 0:
            sync.room.deleted()
            self._end_if_useless(sync)
        elif version > sync.room.version or version < asked:
            # Below what was asked about: chat-store was set back. Between the two: overtaken by a change.
            sync.room.resync(text=False)
            sync.drive()
