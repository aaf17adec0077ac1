"""Following frames to know what their reader has: the event id of a stream of server-sent events. No I/O."""

from enum import Enum

import msgspec

from parley.contracts.frames import Cursor

_TERMINAL = frozenset({"complete", "stopped", "failed"})
_REFUSALS = frozenset({"not_found", "forbidden"})


class Verdict(Enum):
    """What a frame is to a reader that has all frames before it."""

    NEW = "new"
    """It goes on where the reader is (or has no place in that order): pass it on."""
    OLD = "old"
    """The reader has it already."""
    GAP = "gap"
    """Something before it is missing: watch again with the cursor."""


class _Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    # Only the fields that move the cursor: the rest of a frame is neither decoded nor changed.
    pass


class _Running(msgspec.Struct, frozen=True, kw_only=True):
    generation_id: str
    message_id: str
    attempt: int
    seq: int


class _Snapshot(_Frame, frozen=True, kw_only=True, tag="snapshot"):
    version: int
    generation: _Running | None


class _ChangedMessage(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: str


class _Message(_Frame, frozen=True, kw_only=True, tag="message"):
    version: int
    message: _ChangedMessage


class _Generation(_Frame, frozen=True, kw_only=True, tag="generation"):
    generation_id: str
    message_id: str
    attempt: int


class _Delta(_Frame, frozen=True, kw_only=True, tag="delta"):
    generation_id: str
    attempt: int
    from_: int = msgspec.field(name="from")
    to: int


class _Nothing(msgspec.Struct, frozen=True, kw_only=True):
    pass


class _Chat(_Frame, frozen=True, kw_only=True, tag="chat"):
    version: int
    chat: _Nothing | None


class _Ready(_Frame, frozen=True, kw_only=True, tag="ready"):
    pass


class _Error(_Frame, frozen=True, kw_only=True, tag="error"):
    code: str


_decoder = msgspec.json.Decoder(_Snapshot | _Message | _Generation | _Delta | _Chat | _Ready | _Error)


class Follower:
    """Keeps the cursor of a reader to whom every ``NEW`` frame is passed on.

    The same rules as those of the client libraries: a delta is applied when its ``from`` is ``seq + 1`` in the same
    attempt of the same generation.

    Attributes:
        cursor: What the reader has; None before its first snapshot.
        over: The chat was deleted, or is not this reader's (any more): nothing will follow.
    """

    def __init__(self, after: Cursor | None = None) -> None:
        self.cursor = after
        self.over = False
        self._message_id: str | None = None
        self._awaits_snapshot = True

    def watch_again(self) -> None:
        """Take nothing that was under way before the next snapshot."""
        self._awaits_snapshot = True

    @property
    def event_id(self) -> str | None:
        """The cursor as JSON: what ``Last-Event-ID`` brings back. None before the first snapshot."""
        return None if self.cursor is None else msgspec.json.encode(self.cursor).decode()

    def follow(self, frame: bytes) -> Verdict:
        """Take one frame into account."""
        try:
            decoded = _decoder.decode(frame)
        except msgspec.DecodeError:
            # A type of frame that came after us: the reader may know it.
            return Verdict.NEW
        match decoded:
            case _Ready():
                return Verdict.OLD
            case _Error(code=code):
                self.over = code in _REFUSALS
                return Verdict.NEW
            case _Snapshot(version=version, generation=running):
                self._awaits_snapshot = False
                self._message_id = running.message_id if running else None
                self.cursor = Cursor(version=version) if running is None else _at(version, running)
            case _ if self._awaits_snapshot:
                return Verdict.OLD
            case _Message(version=version, message=message):
                ended = message.id == self._message_id and message.status in _TERMINAL
                self._advance(version, ended=ended)
            case _Chat(version=version, chat=chat):
                self.over = chat is None
                self._advance(version)
            case _Generation():
                return self._attempt(decoded)
            case _Delta():
                return self._delta(decoded)
        return Verdict.NEW

    def _advance(self, version: int, *, ended: bool = False) -> None:
        assert self.cursor is not None
        if ended:
            self._message_id = None
            self.cursor = Cursor(version=max(version, self.cursor.version))
        elif version > self.cursor.version:
            self.cursor = msgspec.structs.replace(self.cursor, version=version)

    def _attempt(self, frame: _Generation) -> Verdict:
        cursor = self.cursor
        assert cursor is not None
        if cursor.generation_id == frame.generation_id:
            if frame.attempt < cursor.attempt:
                return Verdict.OLD
            if frame.attempt == cursor.attempt:
                return Verdict.NEW
        self._message_id = frame.message_id
        self.cursor = Cursor(version=cursor.version, generation_id=frame.generation_id, attempt=frame.attempt, seq=0)
        return Verdict.NEW

    def _delta(self, frame: _Delta) -> Verdict:
        cursor = self.cursor
        assert cursor is not None
        if cursor.generation_id != frame.generation_id or frame.attempt > cursor.attempt:
            return Verdict.GAP
        if frame.attempt < cursor.attempt or frame.to <= cursor.seq:
            return Verdict.OLD
        if frame.from_ != cursor.seq + 1:
            return Verdict.GAP
        self.cursor = Cursor(
            version=cursor.version, generation_id=cursor.generation_id, attempt=cursor.attempt, seq=frame.to
        )
        return Verdict.NEW


def _at(version: int, running: _Running) -> Cursor:
    return Cursor(version=version, generation_id=running.generation_id, attempt=running.attempt, seq=running.seq)


def parse_event_id(text: str | None) -> Cursor | None:
    """Read a ``Last-Event-ID``. What cannot be read is none: the reader is then told everything."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=Cursor)
    except (msgspec.DecodeError, UnicodeError):
        return None
