"""What a room asks, and which answers tell of a time after some event. No input or output."""

from __future__ import annotations

from typing import NamedTuple

from push.rooms.reader import Reader

__all__ = ["AskStore", "AskWorker", "Inquiry", "Request"]


class AskStore(NamedTuple):
    """Ask ``rpc.store.sync``.

    Attributes:
        number: Counts the requests of the room.
        after: As in ``rpc.Sync``.
        version: The room's version when it asked. An answer below it means that chat-store was set back.
    """

    number: int
    after: int | None
    version: int


class AskWorker(NamedTuple):
    """Ask ``rpc.generation.<id>.snapshot``."""

    generation_id: str


Request = AskStore | AskWorker


class Inquiry:
    """Numbers the requests to chat-store.

    An answer may tell of any time since it was asked for. So a doubt is settled only by the answer to a request that
    was made after it came up.
    """

    __slots__ = ("_answered", "_asked", "_needed", "_target")

    def __init__(self) -> None:
        self._asked = 0
        self._answered = 0
        self._needed = 1
        self._target = -1

    @property
    def open(self) -> bool:
        """Whether a doubt is not settled yet."""
        return self._answered < self._needed

    def doubt(self) -> None:
        """What is known may be outdated."""
        self._needed = self._asked + 1

    def expect(self, version: int) -> None:
        """There is a ``version`` that was not told. If an answer is on its way, it may tell."""
        self._target = max(self._target, version)
        if self._answered == self._asked:
            self.doubt()

    def ask(self, after: int | None, version: int) -> AskStore:
        """Return the next request."""
        self._asked += 1
        return AskStore(self._asked, after, version)

    def answered(self, request: AskStore) -> None:
        """``request`` was answered."""
        self._answered = max(self._answered, request.number)

    def reached(self, version: int) -> None:
        """After an answer, this is known."""
        if self._target > version:
            self.doubt()
        self._target = -1

    def undecided(self, reader: Reader) -> bool:
        """Whether the answer that decides about ``reader`` is still to come; the first time, it is asked for."""
        if reader.needs == 0:
            reader.needs = self._asked + 1
            self.doubt()
        return self._answered < reader.needs
