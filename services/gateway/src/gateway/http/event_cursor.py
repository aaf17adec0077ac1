"""Following frames to know what their reader has: the event id of a stream of server-sent events. No I/O."""

from enum import Enum

import msgspec

from parley.contracts.decoding import UNDECODABLE
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
    after: int
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

    The rules are those of the client libraries (``tests/cases/README.md``). One change of a chat can be several frames
    of one version, so the cursor claims the version before the newest seen, unless that came with a snapshot.

    Attributes:
        over: The chat was deleted, or is not this reader's (any more): nothing will follow.
    """

    def __init__(self, after: Cursor | None = None) -> None:
        self.over = False
        self._awaits_snapshot = True
        self._version = after.version if after is not None else 0
        self._settled = self._version
        self._generation_id = after.generation_id if after is not None else None
        self._attempt = after.attempt if after is not None else 0
        self._seq = after.seq if after is not None else 0
        self._known = after is not None
        self._message_id: str | None = None
        self._ended_id: str | None = None

    @property
    def cursor(self) -> Cursor | None:
        """What the reader has; None when it must be told everything."""
        if not self._known:
            return None
        if self._generation_id is None:
            return Cursor(version=self._settled)
        return Cursor(version=self._settled, generation_id=self._generation_id, attempt=self._attempt, seq=self._seq)

    @property
    def event_id(self) -> str | None:
        """The cursor as JSON: what ``Last-Event-ID`` brings back."""
        cursor = self.cursor
        return None if cursor is None else msgspec.json.encode(cursor).decode()

    def watch_again(self) -> None:
        """Take nothing that was under way before the next snapshot."""
        self._awaits_snapshot = True

    def follow(self, frame: bytes) -> Verdict:
        """Take one frame into account."""
        try:
            decoded = _decoder.decode(frame)
        except msgspec.DecodeError:
            # A type of frame that came after us: the reader may know it.
            return Verdict.NEW
        if isinstance(decoded, _Snapshot):
            return self._snapshot(decoded)
        if isinstance(decoded, _Error):
            self.over = decoded.code in _REFUSALS
            return Verdict.NEW
        if isinstance(decoded, _Ready) or self._awaits_snapshot:
            return Verdict.OLD
        match decoded:
            case _Message():
                return self._message(decoded)
            case _Chat():
                return self._chat(decoded)
            case _Generation():
                return self._generation(decoded)
            case _:
                return self._delta(decoded)

    def _snapshot(self, frame: _Snapshot) -> Verdict:
        running = frame.generation
        if running is not None and running.after and not self._is_at(running):
            self._known = False
            self._awaits_snapshot = True
            return Verdict.GAP
        self._awaits_snapshot = False
        self._known = True
        self._version = self._settled = frame.version
        if running is None:
            self._end()
        else:
            self._go_to(running.generation_id, running.message_id, running.attempt, running.seq)
        return Verdict.NEW

    def _message(self, frame: _Message) -> Verdict:
        self._advance(frame.version)
        if frame.message.id == self._message_id and frame.message.status in _TERMINAL:
            self._end()
        return Verdict.NEW

    def _chat(self, frame: _Chat) -> Verdict:
        if frame.chat is None:
            self.over = True
            self._known = False
            self._awaits_snapshot = True
        else:
            self._advance(frame.version)
        return Verdict.NEW

    def _generation(self, frame: _Generation) -> Verdict:
        if frame.generation_id == self._ended_id:
            return Verdict.OLD
        if frame.generation_id == self._generation_id:
            if frame.attempt < self._attempt:
                return Verdict.OLD
            if frame.attempt == self._attempt:
                return Verdict.NEW
        self._go_to(frame.generation_id, frame.message_id, frame.attempt, 0)
        return Verdict.NEW

    def _delta(self, frame: _Delta) -> Verdict:
        if frame.generation_id != self._generation_id:
            return Verdict.OLD if frame.generation_id == self._ended_id else Verdict.GAP
        if frame.attempt > self._attempt:
            return Verdict.GAP
        if frame.attempt < self._attempt or frame.to <= self._seq:
            return Verdict.OLD
        if frame.from_ != self._seq + 1:
            return Verdict.GAP
        self._seq = frame.to
        return Verdict.NEW

    def _advance(self, version: int) -> None:
        if version > self._version:
            self._settled = self._version
            self._version = version

    def _is_at(self, running: _Running) -> bool:
        return (self._generation_id, self._attempt, self._seq) == (
            running.generation_id,
            running.attempt,
            running.after,
        )

    def _go_to(self, generation_id: str, message_id: str, attempt: int, seq: int) -> None:
        self._generation_id = generation_id
        self._message_id = message_id
        self._attempt = attempt
        self._seq = seq

    def _end(self) -> None:
        if self._generation_id is not None:
            self._ended_id = self._generation_id
        self._generation_id = None
        self._message_id = None


def parse_event_id(text: str | None) -> Cursor | None:
    """Read a ``Last-Event-ID``. What cannot be read is none: the reader is then told everything."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=Cursor)
    except (*UNDECODABLE, UnicodeEncodeError):
        return None
