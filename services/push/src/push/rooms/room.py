"""A room: everyone who reads one chat, and what each of them is sent.

No input or output. A room is told what came (a delta, a change, an answer to a request, a reader), it writes websocket
frames to its readers, and ``next_request`` says what it must ask. The rule it keeps (``docs/decisions/0004``):

    What a reader was sent, put together, is the room's text up to the reader's cursor; a reader who is up to date has
    the room's position as its cursor, any other has one of its own and is sent nothing until it can be brought to now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

from parley.contracts.frames import Cursor, Delta, Generation
from parley.contracts.live import Changed
from parley.contracts.resources import GenerationRef, Message
from parley.contracts.rpc import GenerationSnapshot, SyncReply
from push.rooms import frames
from push.rooms.answer_text import Transcript
from push.rooms.frames import MAX_TEXT, Place
from push.rooms.framing import Frames
from push.rooms.history import History
from push.rooms.reader import Reader
from push.rooms.sync_requests import AskStore, AskWorker, Inquiry, Request

__all__ = ["Room", "Tally"]

_MAX_HELD: Final = 256
_MAX_ENDED: Final = 8
_MAX_BUILT: Final = 1024 * 1024
"""Bytes of JSON that are kept for others who are at the same place; and the most that one snapshot may have."""

T = TypeVar("T")


def _keep(items: list[T], item: T) -> None:
    """Append ``item``; the oldest is forgotten when there are too many, and what it said is asked for again."""
    items.append(item)
    if len(items) > _MAX_HELD:
        del items[0]


@dataclass(slots=True)
class Tally:
    """What all rooms of a process did, as plain numbers: the path of a delta has no time for more."""

    deltas: int = 0
    frames: int = 0
    bytes: int = 0
    gaps: int = 0


class Room:
    """One chat.

    Its readers are up to date (``_live``: they share the room's position), or wait for what the room has to ask first
    (``_waiting``), or cannot take more now (neither of the two).

    Attributes:
        tally: Counts what all rooms do.
        heard: Set when anything live came; whoever watches for silence clears it.
        admitted: Somebody was let in. Until then the room serves nobody.
        gone: The chat does not exist; the room has no readers and will not get any.
    """

    __slots__ = (
        "_answer",
        "_built",
        "_built_at",
        "_built_bytes",
        "_dirty",
        "_early",
        "_early_changes",
        "_ended",
        "_epoch",
        "_fan_out",
        "_held",
        "_history",
        "_inquiry",
        "_live",
        "_readers",
        "_sent",
        "_single",
        "_waiting",
        "admitted",
        "chat_id",
        "gone",
        "heard",
        "tally",
    )

    def __init__(self, chat_id: str, tally: Tally) -> None:
        self.chat_id = chat_id
        self.heard = False
        self.admitted = False
        self.gone = False
        self.tally = tally
        self._history = History()
        self._inquiry = Inquiry()
        self._answer: Transcript | None = None
        self._ended: list[str] = []

        self._readers: dict[Reader, None] = {}
        self._live: dict[Reader, None] = {}
        self._waiting: dict[Reader, None] = {}
        self._fan_out: tuple[tuple[Reader, ...], tuple[Reader, ...]] | None = None  # sockets, streams of events

        # Readers that are up to date have the answer's text until _sent. _single is the one delta beyond it, as it
        # came, or None when there are several. The epoch counts everything but deltas that they were sent.
        self._sent = 0
        self._dirty = False
        self._single: bytes | None = None
        self._epoch = 0

        # What came before it could be understood.
        self._early_changes: list[Changed] = []
        self._early: list[tuple[Delta | Generation, bytes]] = []
        self._held: list[tuple[Delta, bytes]] = []

        self._built: dict[Place | int, tuple[Frames, int]] = {}
        self._built_bytes = 0
        self._built_at = (-1, -1)

    # --- looks -------------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The chat's version as the room knows it; −1: not yet."""
        return self._history.version

    @property
    def readers(self) -> int:
        return len(self._readers)

    @property
    def lagging(self) -> int:
        """Readers that cannot take more now."""
        return len(self._readers) - len(self._live) - len(self._waiting)

    @property
    def waiting(self) -> int:
        """Readers who could be written to, but the room has to ask something first."""
        return len(self._waiting)

    @property
    def running(self) -> bool:
        """Whether an answer is requested or running."""
        return self._answer is not None

    @property
    def text(self) -> tuple[str, str] | None:
        """Text and reasoning of the running answer."""
        return None if self._answer is None else self._answer.whole()

    def next_request(self) -> Request | None:
        """Return what must be asked now, if anything. One request of a room is made at a time."""
        if self.wants_store:
            return self._inquiry.ask(self._missing()[1], self.version)
        if self._answer is not None and self.wants_worker:
            return AskWorker(self._answer.generation_id)
        return None

    @property
    def in_step(self) -> bool:
        """Whether the running answer's text is held without a gap."""
        return self._answer is not None and not self._answer.behind

    @property
    def wants_store(self) -> bool:
        """Whether chat-store has to be asked."""
        return not self.gone and bool(self._readers) and self._missing()[0]

    @property
    def wants_worker(self) -> bool:
        """Whether the worker of the running answer has to be asked."""
        return self._answer is not None and self._answer.behind and bool(self._readers)

    def _missing(self) -> tuple[bool, int | None]:
        """Return whether to ask chat-store, and after which version."""
        history = self._history
        page = False
        oldest = history.version
        for reader in self._waiting:
            if reader.cursor is None:
                page = page or history.page() is None
            elif not history.known or history.since(reader.cursor.version) is None:
                oldest = min(oldest, reader.cursor.version) if oldest >= 0 else reader.cursor.version
        if not history.known:
            return True, None if page or oldest < 0 else oldest
        if self._inquiry.open or oldest < history.version or history.overtaken:
            return True, oldest
        return page, None

    # --- readers -----------------------------------------------------------------------------------------------------

    def join(self, reader: Reader) -> None:
        """Admit ``reader``: it gets a snapshot as soon as the room knows what to tell, or is dropped."""
        self._readers[reader] = None
        if reader.writable:
            self._settle(reader)

    def leave(self, reader: Reader) -> None:
        """Forget ``reader``; without effect when it is not here."""
        self._readers.pop(reader, None)
        self._waiting.pop(reader, None)
        if reader in self._live:
            del self._live[reader]
            self._fan_out = None

    def pause(self, reader: Reader) -> None:
        """``reader`` cannot take more: from now on it has a cursor of its own."""
        reader.writable = False
        self._waiting.pop(reader, None)
        if reader in self._live:
            del self._live[reader]
            self._fan_out = None
            reader.cursor = self._now()
            reader.epoch = self._epoch

    def resume(self, reader: Reader) -> None:
        """``reader`` can take more again."""
        reader.writable = True
        if reader in self._readers and reader not in self._live:
            self._settle(reader)

    def warn(self) -> None:
        """Tell readers who wait for a first snapshot that it takes longer; they go on waiting."""
        for reader in tuple(self._waiting):
            if reader.epoch < 0 and not reader.warned:
                reader.warned = True
                reader.send(frames.unavailable(self.chat_id))

    def tidy(self) -> None:
        """Forget what was kept for joiners and none needed; called now and then."""
        self._forget_built()
        self._history.tidy()

    def _now(self) -> Cursor:
        return frames.cursor(self.version, self._answer, self._sent)

    def _settle(self, reader: Reader) -> None:
        """Bring a reader that can be written to up to date, or let it wait for what must be asked first."""
        self.flush()
        # Settled within the flush, with all who waited; or a piece filled its buffer, and the rest follows later.
        while reader in self._readers and reader not in self._live and reader.writable:
            found = self._data_for(reader)
            if found is None:
                if reader in self._readers:
                    self._waiting[reader] = None
                return
            data, seq = found
            ahead = self._is_ahead(reader.cursor)
            self._waiting.pop(reader, None)
            self._advance(reader, seq)
            if ahead:
                self._waiting[reader] = None
            elif self._answer is None or seq >= self._answer.seq:
                self._live[reader] = None
                self._fan_out = None
            self.admitted = True
            if data:
                # Last: the write may find the buffer full and pause the reader, which then has what it is sent here.
                self.tally.frames += 1
                sent = reader.send(data)
                self.tally.bytes += sent
            if ahead:
                return

    def _advance(self, reader: Reader, seq: int) -> None:
        """Note that ``reader`` has everything until the chunk ``seq`` of the running text."""
        reader.epoch = self._epoch
        reader.cursor = frames.cursor(self.version, self._answer, seq)

    def _settle_waiting(self) -> None:
        for reader in tuple(self._waiting):
            if reader in self._waiting:
                self._settle(reader)

    def _data_for(self, reader: Reader) -> tuple[Frames, int] | None:
        """Return what takes ``reader`` to now or nearer, and the chunk it ends with.

        None: something has to be asked first, or it was dropped.
        """
        history = self._history
        if not history.known:
            return None
        if reader.user_id not in history.members:
            # Perhaps it was admitted a moment ago: only an answer to a request made after this decides.
            if self._inquiry.undecided(reader):
                return None
            self._drop(reader)
            return None
        cursor = reader.cursor
        if cursor is not None and cursor.version > history.version:
            if self._inquiry.undecided(reader):
                return None
            reader.cursor = cursor = None
        if cursor is not None and history.since(cursor.version) is None:
            return None
        if cursor is None and history.page() is None:
            return None
        answer = self._answer
        if answer is not None:
            if cursor is not None and cursor.generation_id == answer.generation_id and cursor.attempt > answer.attempt:
                self._expect_attempt(answer, cursor.attempt)
            if not answer.heard:
                return None
        if cursor is not None and reader.epoch == self._epoch:
            found = self._deltas_after(cursor.seq)
            if found is not None:
                return found
        return self._snapshot_for(self._place_of(cursor))

    def _expect_attempt(self, answer: Transcript, attempt: int) -> None:
        """A reader knows of a newer attempt than the room: ask the worker once."""
        if answer.expected < attempt:
            answer.expected = attempt
            answer.behind = True
            answer.heard = False

    def _is_ahead(self, cursor: Cursor | None) -> bool:
        """Whether the reader has more of the running text than the room, which had it from another process."""
        answer = self._answer
        return cursor is not None and answer is not None and answer.is_of(cursor) and cursor.seq > answer.seq

    def _drop(self, reader: Reader) -> None:
        self.leave(reader)
        known = reader.epoch >= 0
        reader.send(frames.gone(self.chat_id, self.version) if known else frames.not_found(self.chat_id))
        reader.dropped()

    def _drop_strangers(self) -> None:
        """Cut off readers who had access and lost it."""
        for reader in tuple(self._readers):
            if reader.epoch >= 0 and reader.user_id not in self._history.members:
                self._drop(reader)

    # --- what is sent ------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send readers that are up to date what came since the last time: one frame for one delta or for many."""
        if not self._dirty:
            return
        self._dirty = False
        answer = self._answer
        assert answer is not None
        if self._single is not None:
            data = Frames(((self._single, frames.cursor(self.version, answer, answer.seq)),))
        else:
            merged = frames.deltas(self.chat_id, self.version, answer, self._sent)
            assert merged is not None
            data = merged[0]
        self._sent = answer.seq
        self._single = None
        self._broadcast(data)
        if self._waiting:
            self._settle_waiting()

    def _broadcast(self, data: Frames) -> None:
        # The state is that of after the write: a reader who is paused by it has a cursor that counts it.
        if self._fan_out is None:
            live = tuple(self._live)
            self._fan_out = (
                tuple(reader for reader in live if not reader.events),
                tuple(reader for reader in live if reader.events),
            )
        sockets, streams = self._fan_out
        if sockets:
            encoded = data.websocket
            if len(encoded) > MAX_TEXT:
                for reader in sockets:
                    reader.write_long(encoded)
            else:
                for reader in sockets:
                    reader.write(encoded)
            self.tally.frames += len(sockets)
            self.tally.bytes += len(encoded) * len(sockets)
        if streams:
            encoded = data.events
            for reader in streams:
                reader.write_long(encoded)
            self.tally.frames += len(streams)
            self.tally.bytes += len(encoded) * len(streams)

    def _publish(self, data: Frames) -> None:
        """Send something other than a delta to all readers that are up to date."""
        self._epoch += 1
        self._broadcast(data)
        self._settle_waiting()

    def _publish_changes(self, since: int, messages: list[Message]) -> None:
        self._publish(frames.changes(self.chat_id, since, self._now(), messages, self._history.chat))

    def _place_of(self, cursor: Cursor | None) -> Place:
        """Reduce a cursor, which is the client's word, to what makes a difference: there are as few as the room has."""
        answer = self._answer
        if cursor is None:
            return Place(None, 0)
        if answer is None or not answer.is_of(cursor):
            return Place(cursor.version, 0)
        after = cursor.seq if cursor.seq > answer.seq or answer.can_cut(cursor.seq) else 0
        return Place(cursor.version, after)

    def _cached(self, key: Place | int) -> tuple[Frames, int] | None:
        """Return what was built for another reader at the same place."""
        now = (self._epoch, self._answer.seq if self._answer is not None else 0)
        if self._built_at != now:
            self._built_at = now
            self._forget_built()
        return self._built.get(key)

    def _keep_built(self, key: Place | int, found: tuple[Frames, int]) -> None:
        self._built[key] = found
        self._built_bytes += len(found[0])
        while self._built_bytes > _MAX_BUILT:
            oldest = next(iter(self._built))
            self._built_bytes -= len(self._built.pop(oldest)[0])

    def _forget_built(self) -> None:
        self._built = {}
        self._built_bytes = 0

    def _deltas_after(self, seq: int) -> tuple[Frames, int] | None:
        """Return a piece of the running text after ``seq``, and where it ends; None when it cannot be cut there."""
        answer = self._answer
        if answer is None or seq >= answer.seq:
            return Frames(()), seq
        found = self._cached(seq)
        if found is None:
            found = frames.deltas(self.chat_id, self.version, answer, seq, MAX_TEXT)
            if found is not None:
                self._keep_built(seq, found)
        return found

    def _snapshot_for(self, place: Place) -> tuple[Frames, int]:
        found = self._cached(place)
        if found is None:
            found = frames.snapshot(self.chat_id, self._history, self._answer, place)
            if self._answer is None or place.after <= self._answer.seq:
                self._keep_built(place, found)
        return found

    # --- what came live ----------------------------------------------------------------------------------------------

    def delta(self, delta: Delta, payload: bytes) -> bool:
        """Take a delta and the bytes it came in. Returns whether ``flush`` became due.

        At most once and in order is all that is relied on: one that comes twice is ignored, a missing one is noticed.
        """
        self.heard = True
        answer = self._answer
        if answer is None or delta.generation_id != answer.generation_id:
            self._keep_unknown(delta, payload)
            return False
        if delta.attempt != answer.attempt:
            if delta.attempt < answer.attempt:
                return False
            self._begin(answer, delta.attempt)
        if delta.from_ != answer.seq + 1:
            if delta.to > answer.seq:
                self._hold(answer, delta, payload)
            return False
        if delta.from_ == 1:
            # The beginning: nothing before it can be missing, whatever was asked.
            answer.behind = bool(self._held)
            answer.heard = True
            if answer.announced != answer.attempt:
                self._announce(answer)
        answer.status = "running"
        answer.append(delta.to, delta.kind, delta.text)
        if self._dirty:
            self._single = None
            return False
        self._single = payload
        self._dirty = True
        return True

    def generation(self, generation: Generation, payload: bytes) -> None:
        """Take a ``generation`` frame and the bytes it came in."""
        self.heard = True
        answer = self._answer
        if answer is None or generation.generation_id != answer.generation_id:
            self._keep_unknown(generation, payload)
            return
        if generation.attempt < answer.attempt:
            return
        self.flush()
        if generation.attempt > answer.attempt:
            self._begin(answer, generation.attempt)
        if generation.status == "started":
            if answer.seq > 0:
                return  # late: its deltas were here first
            answer.behind = bool(self._held)
            answer.heard = True
            answer.status = "running"
            if answer.announced == answer.attempt:
                self._settle_waiting()
                return
        else:
            answer.status = "retrying"
        answer.announced = answer.attempt
        self._publish(Frames(((payload, self._now()),)))

    def changed(self, changed: Changed) -> None:
        """Take a change of the chat: applied when it follows on what is known, else chat-store is asked."""
        self.heard = True
        history = self._history
        if changed.chat is None:
            self.deleted(changed.version)
        elif not history.known:
            _keep(self._early_changes, changed)
        elif changed.version > history.version:
            if changed.since != history.version or changed.messages is None:
                self._inquiry.expect(changed.version)
                return
            self.flush()
            history.apply(changed)
            self._drop_strangers()
            self._follow(changed.generation, told=True)
            self._publish_changes(changed.since, list(changed.messages))
            self._replay()

    def deleted(self, version: int | None = None) -> None:
        """The chat is gone: tell everyone."""
        if version is not None:
            self._history.version = version
        self.gone = True
        self._answer = None
        self._dirty = False
        for reader in tuple(self._readers):
            self._drop(reader)

    def _begin(self, answer: Transcript, attempt: int) -> None:
        """A newer attempt: the text of the older one is void."""
        self.flush()
        answer.begin(attempt)
        self._sent = 0
        self._held.clear()
        # Whoever is behind has a cursor into the older text.
        self._epoch += 1

    def _end(self, generation_id: str) -> None:
        """Remember that what still comes of this generation is late."""
        if generation_id not in self._ended:
            self._ended.append(generation_id)
            del self._ended[:-_MAX_ENDED]

    def _announce(self, answer: Transcript) -> None:
        """Say what the lost ``generation`` frame would have said."""
        answer.announced = answer.attempt
        self._publish(frames.started(self.chat_id, self.version, answer))

    def _hold(self, answer: Transcript, delta: Delta, payload: bytes) -> None:
        """Something before ``delta`` is missing: keep it until the worker has told."""
        if not answer.behind:
            answer.behind = True
            self.tally.gaps += 1
        _keep(self._held, (delta, payload))

    def _keep_unknown(self, event: Delta | Generation, payload: bytes) -> None:
        """Keep what belongs to a generation that the room does not know, and ask chat-store which one runs."""
        if event.generation_id in self._ended:
            return
        _keep(self._early, (event, payload))
        if self._history.known and len(self._early) == 1:
            self._inquiry.doubt()

    # --- answers and doubts ------------------------------------------------------------------------------------------

    def doubt(self, *, text: bool = True) -> None:
        """Live traffic may have been lost: ask chat-store, and for the running ``text`` its worker."""
        self._inquiry.doubt()
        if text and self._answer is not None and self._answer.attempt > 0:
            self._answer.behind = True

    def synced(self, request: AskStore, reply: SyncReply) -> None:
        """Take chat-store's answer to ``request``."""
        self._inquiry.answered(request)
        self.flush()
        before = self.version
        if reply.version < request.version:
            self._start_over()
            before = -1
        complete = self._history.merge(reply, request.after)
        if request.after is not None and not reply.recovered:
            self._give_up_cursors(request.after)
        if self.version == reply.version:
            self._drop_strangers()
            self._follow(reply.generation, told=False)
        if self.version > before >= 0:
            news = self._history.since(before) if complete else None
            if news is None:
                self._give_snapshot(None)
            else:
                self._publish_changes(before, news)
        self._inquiry.reached(self.version)
        changes, self._early_changes = self._early_changes, []
        for changed in changes:
            self.changed(changed)
        self._replay()
        self._settle_waiting()

    def _start_over(self) -> None:
        """chat-store was set back (restored from a backup): no cursor means anything any more."""
        self._history = History()
        for reader in self._readers:
            reader.cursor = None
        self._give_snapshot(None)

    def _give_up_cursors(self, after: int) -> None:
        """chat-store cannot tell what changed since ``after``: whoever needs that gets the page."""
        for reader in self._waiting:
            if reader.cursor is not None and reader.cursor.version >= after:
                reader.cursor = None

    def _give_snapshot(self, cursor: Cursor | None) -> None:
        """Have readers that are up to date wait for a snapshot after ``cursor``; None: for the page."""
        self._epoch += 1
        live, self._live, self._fan_out = self._live, {}, None
        for reader in live:
            reader.cursor = cursor
        self._waiting |= live

    def _replay(self) -> None:
        """Take what came of a generation before the room knew it."""
        if not self._early:
            return
        early, self._early = self._early, []
        for event, payload in early:
            if self._answer is None or event.generation_id != self._answer.generation_id:
                if self._inquiry.open:
                    self._early.append((event, payload))
                else:
                    # chat-store, asked after this came, does not know it as active: it is over.
                    self._end(event.generation_id)
            elif isinstance(event, Delta):
                self.delta(event, payload)
            else:
                self.generation(event, payload)
        self.flush()

    def _follow(self, ref: GenerationRef | None, *, told: bool) -> None:
        """Follow the chat's active generation; ``told``: live, so that its text is still to come."""
        answer = self._answer
        if answer is not None and (ref is None or ref.generation_id != answer.generation_id):
            self._end(answer.generation_id)
            self._held.clear()
            self._answer = answer = None
            self._sent = 0
            self._epoch += 1
        if ref is None:
            return
        if answer is None:
            if ref.generation_id in self._ended:
                self._ended.remove(ref.generation_id)
            self._answer = answer = Transcript(ref.generation_id, ref.message_id, ref.attempt, ref.status)
            self._sent = 0
            self._epoch += 1
            lost = ref.attempt > 0
        elif ref.attempt > answer.attempt:
            self._begin(answer, ref.attempt)
            answer.status = "running"
            lost = not told
        else:
            return
        if lost:
            answer.behind = True
            answer.heard = False

    def snapshot(self, reply: GenerationSnapshot) -> bool:
        """Take what the worker says of the running answer. Returns False when it is of no use and to be asked again."""
        answer = self._answer
        if answer is None or reply.generation_id != answer.generation_id:
            return True
        if reply.attempt < answer.attempt:
            self.unowned(reply.generation_id)  # a worker that lost its claim and does not know it yet
            return False
        self.flush()
        if reply.attempt > answer.attempt:
            self._begin(answer, reply.attempt)
        whole = not answer.catch_up(reply)
        if whole:
            answer.announced = answer.attempt
            self._sent = answer.seq
            # The text that they have is of no use.
            self._give_snapshot(Cursor(version=self.version))
            self._settle_waiting()
        elif self._sent < answer.seq:
            self._dirty = True
            self._single = None
            self.flush()
        elif answer.announced != answer.attempt:
            self._announce(answer)
        held, self._held = self._held, []
        for delta, payload in held:
            self.delta(delta, payload)
        self.flush()
        self._settle_waiting()
        return not answer.behind

    def unowned(self, generation_id: str) -> None:
        """Nobody tells the text of the running answer, for now: readers get what is known."""
        answer = self._answer
        if answer is not None and answer.generation_id == generation_id and not answer.heard:
            answer.heard = True
            self._settle_waiting()
