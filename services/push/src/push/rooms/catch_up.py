"""What takes one reader from its cursor to now, built once for all readers at the same position. No I/O."""

from typing import Final

from parley.contracts.frames import Cursor
from push.rooms import frames
from push.rooms.frames import MAX_TEXT, Position
from push.rooms.framing import Frames
from push.rooms.state import ChatState

_MAX_BUILT: Final = 1024 * 1024
"""Bytes of JSON that are kept for others who are at the same place; and the most that one snapshot may have."""


class CatchUp:
    """Builds snapshots and pieces of text from the chat's state."""

    __slots__ = ("_built", "_built_at", "_built_bytes", "_state")

    def __init__(self, state: ChatState) -> None:
        self._state = state
        self._built: dict[Position | int, tuple[Frames, int]] = {}
        self._built_bytes = 0
        self._built_at = (-1, -1)

    def __len__(self) -> int:
        """How many positions something is kept for."""
        return len(self._built)

    @property
    def size(self) -> int:
        """Bytes of JSON that are kept."""
        return self._built_bytes

    def clear(self) -> None:
        """Forget what was built."""
        self._built = {}
        self._built_bytes = 0

    def is_ahead(self, cursor: Cursor | None) -> bool:
        """Whether the reader has more of the running text than the room: it was sent it by another process."""
        answer = self._state.answer
        return cursor is not None and answer is not None and answer.is_of(cursor) and cursor.seq > answer.seq

    def deltas_after(self, seq: int, epoch: int) -> tuple[Frames, int] | None:
        """Return a piece of the running text after ``seq``, and where it ends; None when it cannot be cut there."""
        state, answer = self._state, self._state.answer
        if answer is None or seq >= answer.seq:
            return Frames(()), seq
        found = self._cached(seq, epoch)
        if found is None:
            found = frames.deltas(state.chat_id, state.history.version, answer, seq, MAX_TEXT)
            if found is not None:
                self._keep(seq, found)
        return found

    def snapshot_after(self, cursor: Cursor | None, epoch: int) -> tuple[Frames, int]:
        """Return a snapshot for a reader at ``cursor``, and the chunk of the running text that it ends with."""
        state, answer = self._state, self._state.answer
        position = self._position_of(cursor)
        found = self._cached(position, epoch)
        if found is None:
            found = frames.snapshot(state.chat_id, state.history, answer, position)
            if answer is None or position.after <= answer.seq:
                self._keep(position, found)
        return found

    def _position_of(self, cursor: Cursor | None) -> Position:
        """Reduce a client's cursor, which can be anything, to one of the few positions that differ for this room."""
        answer = self._state.answer
        if cursor is None:
            return Position(None, 0)
        if answer is None or not answer.is_of(cursor):
            return Position(cursor.version, 0)
        after = cursor.seq if cursor.seq > answer.seq or answer.can_cut(cursor.seq) else 0
        return Position(cursor.version, after)

    def _cached(self, key: Position | int, epoch: int) -> tuple[Frames, int] | None:
        """Return what was built for another reader at the same position."""
        answer = self._state.answer
        now = (epoch, answer.seq if answer is not None else 0)
        if self._built_at != now:
            self._built_at = now
            self.clear()
        return self._built.get(key)

    def _keep(self, key: Position | int, found: tuple[Frames, int]) -> None:
        self._built[key] = found
        self._built_bytes += len(found[0])
        while self._built_bytes > _MAX_BUILT:
            oldest = next(iter(self._built))
            self._built_bytes -= len(self._built.pop(oldest)[0])
