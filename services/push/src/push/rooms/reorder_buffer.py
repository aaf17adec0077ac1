"""Live messages that came before the room could apply them. No I/O."""

from typing import Final, TypeVar

from parley.contracts.frames import Delta, Generation
from parley.contracts.live import Changed

_MAX_ITEMS: Final = 256
_MAX_ENDED: Final = 8

T = TypeVar("T")


class ReorderBuffer:
    """What waits for a reply.

    Of each kind the newest are kept: what an older one said is asked for again.
    """

    __slots__ = ("_changes", "_deltas", "_ended", "_events")

    def __init__(self) -> None:
        self._changes: list[Changed] = []
        self._events: list[tuple[Delta | Generation, bytes]] = []
        self._deltas: list[tuple[Delta, bytes]] = []
        self._ended: list[str] = []

    @property
    def has_deltas(self) -> bool:
        """Whether a delta of the running answer waits behind a gap."""
        return bool(self._deltas)

    def add_change(self, changed: Changed) -> None:
        """Keep a change that came before the chat's first state."""
        _append(self._changes, changed)

    def take_changes(self) -> list[Changed]:
        changes, self._changes = self._changes, []
        return changes

    def add_delta(self, delta: Delta, payload: bytes) -> None:
        """Keep a delta that has a gap before it."""
        _append(self._deltas, (delta, payload))

    def take_deltas(self) -> list[tuple[Delta, bytes]]:
        deltas, self._deltas = self._deltas, []
        return deltas

    def clear_deltas(self) -> None:
        self._deltas.clear()

    def add_event(self, event: Delta | Generation, payload: bytes) -> bool:
        """Keep what belongs to an unknown generation, unless it ended. Returns whether it is the first."""
        if event.generation_id in self._ended:
            return False
        _append(self._events, (event, payload))
        return len(self._events) == 1

    def take_events(self) -> list[tuple[Delta | Generation, bytes]]:
        events, self._events = self._events, []
        return events

    def put_back(self, event: Delta | Generation, payload: bytes) -> None:
        self._events.append((event, payload))

    def end(self, generation_id: str) -> None:
        """Ignore what still comes of this generation: it is late."""
        if generation_id not in self._ended:
            self._ended.append(generation_id)
            del self._ended[:-_MAX_ENDED]

    def begin(self, generation_id: str) -> None:
        """The generation runs, whatever was known of it."""
        if generation_id in self._ended:
            self._ended.remove(generation_id)


def _append(items: list[T], item: T) -> None:
    items.append(item)
    if len(items) > _MAX_ITEMS:
        del items[0]
