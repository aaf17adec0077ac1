"""What a room asks, and which replies are newer than some event. No I/O."""

from typing import NamedTuple

from push.rooms.reader import Reader


class SyncRequest(NamedTuple):
    """Ask ``rpc.store.sync``.

    Attributes:
        number: Counts the requests of the room.
        after: As in ``rpc.Sync``.
        version: The room's version when it asked. An answer below it means that chat-store was set back.
    """

    number: int
    after: int | None
    version: int


class AnswerRequest(NamedTuple):
    """Ask ``rpc.generation.<id>.snapshot``."""

    generation_id: str


Request = SyncRequest | AnswerRequest


class Resync:
    """Numbers the requests to chat-store.

    A reply may be of any time since its request. So what may be outdated is current again only with the reply to a
    request that was made afterwards.
    """

    __slots__ = ("_answered", "_asked", "_needed", "_target")

    def __init__(self) -> None:
        self._asked = 0
        self._answered = 0
        self._needed = 1
        self._target = -1

    @property
    def pending(self) -> bool:
        """Whether a reply is still needed."""
        return self._answered < self._needed

    def request(self) -> None:
        """What is known may be outdated."""
        self._needed = self._asked + 1

    def expect(self, version: int) -> None:
        """There is a ``version`` that was not received. A reply that is under way may contain it."""
        self._target = max(self._target, version)
        if self._answered == self._asked:
            self.request()

    def ask(self, after: int | None, version: int) -> SyncRequest:
        """Return the next request."""
        self._asked += 1
        return SyncRequest(self._asked, after, version)

    def answered(self, request: SyncRequest) -> None:
        """``request`` was answered."""
        self._answered = max(self._answered, request.number)

    def reached(self, version: int) -> None:
        """After an answer, this is known."""
        if self._target > version:
            self.request()
        self._target = -1

    def undecided(self, reader: Reader) -> bool:
        """Whether the answer that decides about ``reader`` is still to come; the first time, it is asked for."""
        if reader.needs == 0:
            reader.needs = self._asked + 1
            self.request()
        return self._answered < reader.needs
