"""The readers of a room: who they are, what each of them has, and what they are sent. No I/O."""

from collections.abc import Iterator

from parley.contracts.frames import Cursor
from parley.contracts.resources import Message
from push.metrics import Counters
from push.rooms import frames
from push.rooms.answer_text import AnswerText
from push.rooms.catch_up import CatchUp
from push.rooms.frames import MAX_TEXT
from push.rooms.framing import Frames, text_frame
from push.rooms.reader import Reader
from push.rooms.state import ChatState


class FanOut:
    """The readers that are up to date, and the writing of the same bytes to all of them.

    Sockets and streams of events are apart: they are sent the same frames, framed differently.
    """

    __slots__ = ("_counters", "_groups", "_readers")

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._readers: dict[Reader, None] = {}
        self._groups: tuple[tuple[Reader, ...], tuple[Reader, ...]] | None = None

    def __len__(self) -> int:
        return len(self._readers)

    def __contains__(self, reader: object) -> bool:
        return reader in self._readers

    def __iter__(self) -> Iterator[Reader]:
        return iter(tuple(self._readers))

    def add(self, reader: Reader) -> None:
        self._readers[reader] = None
        self._groups = None

    def remove(self, reader: Reader) -> bool:
        """Remove a reader; return whether it was here."""
        if reader not in self._readers:
            return False
        del self._readers[reader]
        self._groups = None
        return True

    def remove_all(self) -> dict[Reader, None]:
        """Remove all readers and return them."""
        readers, self._readers, self._groups = self._readers, {}, None
        return readers

    def groups(self) -> tuple[tuple[Reader, ...], tuple[Reader, ...]]:
        """Return sockets and streams of events."""
        if self._groups is None:
            sockets = tuple(reader for reader in self._readers if not reader.events)
            self._groups = sockets, tuple(reader for reader in self._readers if reader.events)
        return self._groups

    def broadcast(self, data: Frames) -> None:
        # The state is that of after the write: a reader who is paused by it has a cursor that counts it.
        sockets, streams = self.groups()
        if sockets:
            self.write(sockets, data.websocket)
        if streams:
            self.write(streams, data.events)

    def write(self, readers: tuple[Reader, ...], data: bytes) -> None:
        if len(data) > MAX_TEXT:
            for reader in readers:
                reader.write_long(data)
        else:
            for reader in readers:
                reader.write(data)
        self._counters.frames += len(readers)
        self._counters.bytes += len(data) * len(readers)


class Readers:
    """Readers are up to date (``_live``), or wait for a reply (``_waiting``), or cannot take more now (neither).

    Those that are up to date share the room's position: the version, and the running answer's text up to ``sent``. Any
    other has a cursor of its own and is sent nothing until it can be brought to now (``docs/decisions/0004``).

    Attributes:
        sent: The last chunk of the running answer that readers that are up to date have.
        epoch: Counts everything but deltas that they were sent.
        admitted: A reader was admitted. Until then the room serves nobody.
        catch_up: Builds what takes a reader to now.
    """

    __slots__ = (
        "_all",
        "_counters",
        "_dirty",
        "_live",
        "_single",
        "_state",
        "_waiting",
        "admitted",
        "catch_up",
        "epoch",
        "sent",
    )

    def __init__(self, state: ChatState, counters: Counters) -> None:
        self._state = state
        self._counters = counters
        self.catch_up = CatchUp(state)
        self._all: dict[Reader, None] = {}
        self._live = FanOut(counters)
        self._waiting: dict[Reader, None] = {}
        self.admitted = False
        self.sent = 0
        self.epoch = 0
        # There is text beyond ``sent``: one delta as it came, or, when _single is None, several.
        self._dirty = False
        self._single: bytes | None = None

    def __len__(self) -> int:
        return len(self._all)

    @property
    def lagging(self) -> int:
        """Readers that cannot take more now."""
        return len(self._all) - len(self._live) - len(self._waiting)

    @property
    def waiting(self) -> int:
        """Readers who could be written to, but a reply has to come first."""
        return len(self._waiting)

    def missing(self) -> tuple[bool, int | None]:
        """Return whether chat-store has to be asked for them, and after which version."""
        history = self._state.history
        page = False
        oldest = history.version
        for reader in self._waiting:
            if reader.cursor is None:
                page = page or history.page() is None
            elif not history.known or history.since(reader.cursor.version) is None:
                oldest = min(oldest, reader.cursor.version) if oldest >= 0 else reader.cursor.version
        if not history.known:
            return True, None if page or oldest < 0 else oldest
        if self._state.resync.pending or oldest < history.version or history.overtaken:
            return True, oldest
        return page, None

    # --- membership --------------------------------------------------------------------------------------------------

    def join(self, reader: Reader) -> None:
        """Admit ``reader``: it gets a snapshot as soon as the room knows what to send, or is dropped."""
        self._all[reader] = None
        if reader.writable:
            self._update(reader)

    def leave(self, reader: Reader) -> None:
        """Forget ``reader``; without effect when it is not here."""
        self._all.pop(reader, None)
        self._waiting.pop(reader, None)
        self._live.remove(reader)

    def pause(self, reader: Reader) -> None:
        """``reader`` cannot take more: from now on it has a cursor of its own."""
        reader.writable = False
        self._waiting.pop(reader, None)
        if self._live.remove(reader):
            reader.cursor = self._state.cursor(self.sent)
            reader.epoch = self.epoch

    def resume(self, reader: Reader) -> None:
        """``reader`` can take more again."""
        reader.writable = True
        if reader in self._all and reader not in self._live:
            self._update(reader)

    def warn(self) -> None:
        """Report to readers who wait for a first snapshot that it takes longer; they go on waiting."""
        for reader in tuple(self._waiting):
            if reader.epoch < 0 and not reader.warned:
                reader.warned = True
                reader.send(frames.unavailable(self._state.chat_id))

    def drop_all(self) -> None:
        """Drop all readers: the chat is deleted."""
        self._dirty = False
        for reader in tuple(self._all):
            self._drop(reader)

    def drop_removed_members(self) -> None:
        """Cut off readers who had access and lost it."""
        for reader in tuple(self._all):
            if reader.epoch >= 0 and not self._state.history.may(reader.user_id, "read"):
                self._drop(reader)

    def _drop(self, reader: Reader) -> None:
        self.leave(reader)
        chat_id = self._state.chat_id
        known = reader.epoch >= 0
        reader.send(frames.gone(chat_id, self._state.history.version) if known else frames.not_found(chat_id))
        reader.dropped()

    # --- presence ----------------------------------------------------------------------------------------------------

    def user_ids(self) -> frozenset[str]:
        """Return the users who were admitted."""
        return frozenset(reader.user_id for reader in self._all if reader.epoch >= 0)

    def send_presence(self, number: int, data: Frames) -> None:
        """Send readers that are up to date the presence with this number, unless they have it; it moves no cursor."""
        for reader in self._live:
            if reader.presence != number and reader in self._live:
                reader.presence = number
                reader.send(data)

    # --- cursors -----------------------------------------------------------------------------------------------------

    def update_waiting(self) -> None:
        """Bring those who wait up to date, as far as that is possible now."""
        for reader in tuple(self._waiting):
            if reader in self._waiting:
                self._update(reader)

    def send_snapshots(self, after: Cursor | None) -> None:
        """Have readers that are up to date wait for a snapshot after a cursor; None: for the page."""
        self.epoch += 1
        live = self._live.remove_all()
        for reader in live:
            reader.cursor = after
        self._waiting |= live

    def forget_cursors(self) -> None:
        """No cursor means anything any more."""
        for reader in self._all:
            reader.cursor = None

    def give_up_cursors(self, after: int) -> None:
        """Nobody knows what changed since the version ``after``: whoever needs that gets the page."""
        for reader in self._waiting:
            if reader.cursor is not None and reader.cursor.version >= after:
                reader.cursor = None

    def _update(self, reader: Reader) -> None:
        """Bring a reader that can be written to up to date, or let it wait for what must be asked first."""
        self.flush()
        # Settled within the flush, with all who waited; or a piece filled its buffer, and the rest follows later.
        while reader in self._all and reader not in self._live and reader.writable:
            found = self._data_for(reader)
            if found is None:
                if reader in self._all:
                    self._waiting[reader] = None
                return
            data, seq = found
            answer = self._state.answer
            ahead = self.catch_up.is_ahead(reader.cursor)
            self._waiting.pop(reader, None)
            reader.epoch = self.epoch
            reader.cursor = self._state.cursor(seq)
            if ahead:
                self._waiting[reader] = None
            elif answer is None or seq >= answer.seq:
                self._live.add(reader)
            self.admitted = True
            if data:
                # Last: the write may find the buffer full and pause the reader, which then has what it is sent here.
                self._counters.frames += 1
                sent = reader.send(data)
                self._counters.bytes += sent
            if ahead:
                return

    def _data_for(self, reader: Reader) -> tuple[Frames, int] | None:
        """Return what takes ``reader`` to now or nearer, and the chunk it ends with.

        None: something has to be asked first, or it was dropped.
        """
        history, resync = self._state.history, self._state.resync
        if not history.known:
            return None
        if not history.may(reader.user_id, "read"):
            # Perhaps it was admitted a moment ago: only a reply to a request made after this decides.
            if not resync.undecided(reader):
                self._drop(reader)
            return None
        cursor = reader.cursor
        if cursor is not None and cursor.version > history.version:
            if resync.undecided(reader):
                return None
            reader.cursor = cursor = None
        if cursor is None:
            if history.page() is None:
                return None
        elif history.since(cursor.version) is None:
            return None
        answer = self._state.answer
        if answer is not None:
            if cursor is not None and cursor.generation_id == answer.generation_id:
                answer.expect(cursor.attempt)
            if not answer.known:
                return None
        if cursor is not None and reader.epoch == self.epoch:
            found = self.catch_up.deltas_after(cursor.seq, self.epoch)
            if found is not None:
                return found
        return self.catch_up.snapshot_after(cursor, self.epoch)

    # --- what is sent ------------------------------------------------------------------------------------------------

    def appended(self, payload: bytes | None) -> bool:
        """Text was appended to the running answer: one delta, or None. Returns whether ``flush`` became due."""
        became_due = not self._dirty
        self._single = payload if became_due else None
        self._dirty = True
        return became_due

    def restart_text(self) -> None:
        """The running answer is another one, or another attempt: cursors into the older text are void."""
        self.sent = 0
        self.epoch += 1

    def flush(self) -> None:
        """Send readers that are up to date what came since the last time: one frame for one delta or for many."""
        if not self._dirty:
            return
        self._dirty = False
        state, answer = self._state, self._state.answer
        assert answer is not None
        before, self.sent = self.sent, answer.seq
        single = self._single
        sockets, streams = self._live.groups()
        if single is None:
            merged = frames.deltas(state.chat_id, state.history.version, answer, before)
            assert merged is not None
            self._live.broadcast(merged[0])
        elif streams:
            self._live.broadcast(Frames(((single, state.cursor(answer.seq)),)))
        elif sockets:
            # The path of a token: sockets need no cursor, and making one costs as much as the rest.
            self._live.write(sockets, text_frame(single))
        if self._waiting:
            self.update_waiting()

    def publish(self, data: Frames) -> None:
        """Send something other than a delta to all readers that are up to date."""
        self.epoch += 1
        self._live.broadcast(data)
        self.update_waiting()

    def publish_changes(self, since: int, messages: list[Message]) -> None:
        """Send what changed since a version."""
        state = self._state
        now = state.cursor(self.sent)
        self.publish(frames.changes(state.chat_id, since, now, messages, state.history.chat))

    def announce(self, answer: AnswerText) -> None:
        """Send what the lost ``generation`` frame of this attempt would have said."""
        answer.announced = answer.attempt
        self.publish(frames.started(self._state.chat_id, self._state.history.version, answer))
