"""The users' lists of chats: changes, sent to those of their sockets that asked for them."""

import asyncio
import logging
from typing import Final, Protocol

import msgspec

from parley.contracts import subjects
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.frames import Invitations, Listed, Relist
from parley.contracts.live import InvitationsChanged, ListChanged
from parley.runtime.nats.errors import BusUnavailable
from parley.runtime.tasks import Tasks
from push.bus.connection import Bus, LiveSubscription
from push.bus.request_limiter import new_backoff
from push.rooms.framing import encode

log = logging.getLogger(__name__)

_SPREAD: Final = 5.0
"""Seconds over which readers read their lists again when all of them have to at once."""

_changed = msgspec.json.Decoder(ListChanged | InvitationsChanged)

RELIST: Final = encode(Relist())
"""Sent to a reader that may have missed a change."""

_invitations = encode(Invitations())
_relist_all = encode(Relist(within=_SPREAD))


class ListReader(Protocol):
    """What is sent the changes of a list; see :class:`push.transport.session.Session`."""

    def list_changed(self, frames: bytes, /) -> None:
        """Take a frame about the list. One that cannot be written is dropped, and ``Relist`` sent later."""


class _ChatList:
    """One user's list: one subscription, however many sockets the user has here."""

    def __init__(self) -> None:
        self.readers: set[ListReader] = set()
        self.subscription: LiveSubscription | None = None

    def receive(self, _subject: bytes, payload: bytes, _headers: object = None) -> None:
        try:
            changed = _changed.decode(payload)
        except UNDECODABLE as error:
            log.warning("A change of a list does not decode: %s", error)
            self.send(RELIST)
            return
        if isinstance(changed, InvitationsChanged):
            self.send(_invitations)
        else:
            self.send(encode(Listed(chat_id=changed.chat_id, version=changed.version, chat=changed.chat)))

    def send(self, frames: bytes) -> None:
        for reader in tuple(self.readers):
            reader.list_changed(frames)


class ChatLists:
    """ChatLists by user.

    A change is sent at most once. Where one may have been missed (before the subscription began, while NATS was away,
    to a reader who could not take more) readers are sent ``Relist``.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._lists: dict[str, _ChatList] = {}
        self._tasks = Tasks()

    def __len__(self) -> int:
        return len(self._lists)

    def join(self, user_id: str, reader: ListReader) -> None:
        """Send ``reader`` the changes of the user's list from now on, beginning with ``Relist``."""
        found = self._lists.get(user_id)
        if found is None:
            found = self._lists[user_id] = _ChatList()
            self._tasks.start(self._follow(user_id, found))
        found.readers.add(reader)
        if found.subscription is not None:
            reader.list_changed(RELIST)

    def leave(self, user_id: str, reader: ListReader) -> None:
        """Send ``reader`` nothing more."""
        found = self._lists.get(user_id)
        if found is None or reader not in found.readers:
            return
        found.readers.discard(reader)
        if found.readers:
            return
        del self._lists[user_id]
        if found.subscription is not None:
            self._tasks.start(found.subscription.unsubscribe())

    def reconnected(self) -> None:
        """NATS is back: whatever came meanwhile is lost."""
        for found in self._lists.values():
            if found.subscription is not None:
                found.send(_relist_all)

    async def close(self) -> None:
        await self._tasks.close()

    async def _follow(self, user_id: str, followed: _ChatList) -> None:
        backoff = new_backoff()
        while followed.readers and followed.subscription is None:
            try:
                followed.subscription = await self._bus.subscribe(subjects.user_chats(user_id), followed.receive)
            except BusUnavailable:
                await asyncio.sleep(backoff.next_delay())
        if followed.readers:
            followed.send(RELIST)
        elif followed.subscription is not None:
            await followed.subscription.unsubscribe()
