"""A room: everyone who reads one chat, and what each of them is sent.

No I/O. A room is given what came (a delta, a change, a reply, a reader), it writes frames to its readers, and
``next_request`` returns what it must ask. It has two parts: :class:`push.rooms.readers.Readers` is membership and
cursors, :class:`Room` is the live state and the handling of gaps. The invariant (``docs/decisions/0004``):

    What a reader was sent, put together, is the room's text up to the reader's cursor; a reader who is up to date has
    the room's position as its cursor, any other has one of its own and is sent nothing until it can be brought to now.
"""

from collections.abc import Set

from parley.contracts.access.policy import ChatAction
from parley.contracts.frames import Cursor, Delta, Generation
from parley.contracts.live import Changed
from parley.contracts.resources import GenerationRef
from parley.contracts.rpc import GenerationSnapshot, SyncReply
from push.metrics import Counters
from push.rooms.answer_text import AnswerText
from push.rooms.framing import Frames
from push.rooms.history import History
from push.rooms.readers import Readers
from push.rooms.reorder_buffer import ReorderBuffer
from push.rooms.state import ChatState
from push.rooms.sync_requests import AnswerRequest, Request, SyncRequest


class Room:
    """One chat's live state, and the gaps in it.

    Attributes:
        counters: What all rooms do.
        saw_traffic: Set when anything live came; whoever watches for silence clears it.
        gone: The chat does not exist; the room has no readers and will not get any.
    """

    # As of all that exists once per room: with 500 rooms a delta costs a tenth more without them.
    __slots__ = ("_buffer", "_state", "chat_id", "counters", "gone", "readers", "saw_traffic")

    def __init__(self, chat_id: str, counters: Counters) -> None:
        self.chat_id = chat_id
        self.counters = counters
        self.saw_traffic = False
        self.gone = False
        self._state = ChatState(chat_id)
        self._buffer = ReorderBuffer()
        self.readers = Readers(self._state, counters)

    # --- looks -------------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The chat's version as the room knows it; −1: not yet."""
        return self._state.history.version

    @property
    def members(self) -> Set[str]:
        """The chat's members, as far as they are known."""
        return self._state.history.roles.keys()

    def may(self, user_id: str, action: ChatAction) -> bool:
        """Whether a user may do this in the chat, as far as that is known."""
        return self._state.history.may(user_id, action)

    @property
    def running(self) -> bool:
        """Whether an answer is requested or running."""
        return self._state.answer is not None

    @property
    def is_gapless(self) -> bool:
        """Whether the running answer's text is known without a gap."""
        answer = self._state.answer
        return answer is not None and not answer.has_gap

    @property
    def wants_store(self) -> bool:
        """Whether chat-store has to be asked."""
        return not self.gone and len(self.readers) > 0 and self.readers.missing()[0]

    @property
    def wants_worker(self) -> bool:
        """Whether the worker of the running answer has to be asked."""
        answer = self._state.answer
        return answer is not None and answer.has_gap and len(self.readers) > 0

    def next_request(self) -> Request | None:
        """Return what must be asked now, if anything. One request of a room is made at a time."""
        if self.wants_store:
            return self._state.resync.ask(self.readers.missing()[1], self.version)
        if self._state.answer is not None and self.wants_worker:
            return AnswerRequest(self._state.answer.generation_id)
        return None

    def discard_unused(self) -> None:
        """Discard what is cached for joiners and none needed; called every 15 s."""
        self.readers.catch_up.clear()
        self._state.history.discard_unused()

    # --- what came live ----------------------------------------------------------------------------------------------

    def delta(self, delta: Delta, payload: bytes) -> bool:
        """Take a delta and the bytes it came in. Returns whether a flush of the readers became due.

        At most once and in order is all that is relied on: one that comes twice is ignored, a missing one is noticed.
        """
        self.saw_traffic = True
        answer = self._state.answer
        if answer is None or delta.generation_id != answer.generation_id:
            self._keep_unknown(delta, payload)
            return False
        if delta.attempt != answer.attempt:
            if delta.attempt < answer.attempt:
                return False
            self._begin(answer, delta.attempt)
        if delta.from_ != answer.seq + 1:
            if delta.to > answer.seq:
                self._keep_after_gap(answer, delta, payload)
            return False
        if delta.from_ == 1:
            # The beginning: nothing before it can be missing, whatever was asked.
            answer.has_gap = self._buffer.has_deltas
            answer.known = True
            if answer.announced != answer.attempt:
                self.readers.announce(answer)
        answer.status = "running"
        if delta.tool is None:
            answer.append(delta.to, delta.kind, delta.text)
        else:
            answer.append_tool(delta.to, delta.tool)
        return self.readers.appended(payload)

    def generation(self, generation: Generation, payload: bytes) -> None:
        """Take a ``generation`` frame and the bytes it came in."""
        self.saw_traffic = True
        answer = self._state.answer
        if answer is None or generation.generation_id != answer.generation_id:
            self._keep_unknown(generation, payload)
            return
        if generation.attempt < answer.attempt:
            return
        self.readers.flush()
        if generation.attempt > answer.attempt:
            self._begin(answer, generation.attempt)
        if generation.status == "started":
            if answer.seq > 0:
                return  # late: its deltas were here first
            answer.has_gap = self._buffer.has_deltas
            answer.known = True
            answer.status = "running"
            if answer.announced == answer.attempt:
                self.readers.update_waiting()
                return
        else:
            answer.status = "retrying"
        answer.announced = answer.attempt
        self.readers.publish(Frames(((payload, self._state.cursor(self.readers.sent)),)))

    def changed(self, changed: Changed) -> None:
        """Take a change of the chat: applied when it follows on what is known, else chat-store is asked."""
        self.saw_traffic = True
        history = self._state.history
        if changed.chat is None:
            self.deleted(changed.version)
        elif not history.known:
            self._buffer.add_change(changed)
        elif changed.version > history.version:
            if changed.since != history.version or changed.messages is None:
                self._state.resync.expect(changed.version)
                return
            self.readers.flush()
            history.apply(changed)
            self.readers.drop_removed_members()
            self._follow(changed.generation, live=True)
            self.readers.publish_changes(changed.since, list(changed.messages))
            self._replay()

    def deleted(self, version: int | None = None) -> None:
        """The chat is deleted: report it to all readers."""
        if version is not None:
            self._state.history.version = version
        self.gone = True
        self._state.answer = None
        self.readers.drop_all()

    def _begin(self, answer: AnswerText, attempt: int) -> None:
        """A newer attempt: the text of the older one is void."""
        self.readers.flush()
        answer.begin(attempt)
        self._buffer.clear_deltas()
        self.readers.restart_text()

    def _keep_after_gap(self, answer: AnswerText, delta: Delta, payload: bytes) -> None:
        """Something before ``delta`` is missing: keep it until the worker has replied."""
        if not answer.has_gap:
            answer.has_gap = True
            self.counters.gaps += 1
        self._buffer.add_delta(delta, payload)

    def _keep_unknown(self, event: Delta | Generation, payload: bytes) -> None:
        """Keep what belongs to a generation that the room does not know, and ask chat-store which one runs."""
        if self._buffer.add_event(event, payload) and self._state.history.known:
            self._state.resync.request()

    # --- replies -----------------------------------------------------------------------------------------------------

    def resync(self, *, text: bool = True) -> None:
        """Live traffic may have been lost: ask chat-store, and for the running ``text`` its worker."""
        self._state.resync.request()
        answer = self._state.answer
        if text and answer is not None and answer.attempt > 0:
            answer.has_gap = True

    def synced(self, request: SyncRequest, reply: SyncReply) -> None:
        """Take chat-store's reply to ``request``."""
        state, readers = self._state, self.readers
        state.resync.answered(request)
        readers.flush()
        before = self.version
        if reply.version < request.version:
            self._start_over()
            before = -1
        complete = state.history.merge(reply, request.after)
        if request.after is not None and not reply.recovered:
            readers.give_up_cursors(request.after)
        if self.version == reply.version:
            readers.drop_removed_members()
            self._follow(reply.generation, live=False)
        if self.version > before >= 0:
            news = state.history.since(before) if complete else None
            if news is None:
                readers.send_snapshots(None)
            else:
                readers.publish_changes(before, news)
        state.resync.reached(self.version)
        for changed in self._buffer.take_changes():
            self.changed(changed)
        self._replay()
        readers.update_waiting()

    def snapshot(self, reply: GenerationSnapshot) -> bool:
        """Take the worker's snapshot of the running answer. False: it is of no use, ask again."""
        answer, readers = self._state.answer, self.readers
        if answer is None or reply.generation_id != answer.generation_id:
            return True
        if reply.attempt < answer.attempt:
            self.unowned(reply.generation_id)  # a worker that lost its claim and does not know it yet
            return False
        readers.flush()
        if reply.attempt > answer.attempt:
            self._begin(answer, reply.attempt)
        if not answer.catch_up(reply):
            answer.announced = answer.attempt
            readers.sent = answer.seq
            # The text that they have is of no use.
            readers.send_snapshots(Cursor(version=self.version))
            readers.update_waiting()
        elif readers.sent < answer.seq:
            readers.appended(None)
            readers.flush()
        elif answer.announced != answer.attempt:
            readers.announce(answer)
        for delta, payload in self._buffer.take_deltas():
            self.delta(delta, payload)
        readers.flush()
        readers.update_waiting()
        return not answer.has_gap

    def unowned(self, generation_id: str) -> None:
        """No worker knows the text of the running answer, for now: readers get what is known."""
        answer = self._state.answer
        if answer is not None and answer.generation_id == generation_id and not answer.known:
            answer.known = True
            self.readers.update_waiting()

    def _start_over(self) -> None:
        """chat-store was set back (restored from a backup): no cursor means anything any more."""
        self._state.history = History()
        self.readers.forget_cursors()
        self.readers.send_snapshots(None)

    def _replay(self) -> None:
        """Take what came of a generation before the room knew it."""
        events = self._buffer.take_events()
        if not events:
            return
        for event, payload in events:
            answer = self._state.answer
            if answer is None or event.generation_id != answer.generation_id:
                if self._state.resync.pending:
                    self._buffer.put_back(event, payload)
                else:
                    # chat-store, asked after this came, does not know it as active: it is over.
                    self._buffer.end(event.generation_id)
            elif isinstance(event, Delta):
                self.delta(event, payload)
            else:
                self.generation(event, payload)
        self.readers.flush()

    def _follow(self, ref: GenerationRef | None, *, live: bool) -> None:
        """Follow the chat's active generation; ``live``: from its beginning, so that its text is still to come."""
        state = self._state
        answer = state.answer
        if answer is not None and (ref is None or ref.generation_id != answer.generation_id):
            self._buffer.end(answer.generation_id)
            self._buffer.clear_deltas()
            state.answer = answer = None
            self.readers.restart_text()
        if ref is None:
            return
        if answer is None:
            self._buffer.begin(ref.generation_id)
            state.answer = answer = AnswerText(ref.generation_id, ref.message_id, ref.attempt, ref.status)
            self.readers.restart_text()
            lost = ref.attempt > 0
        elif ref.attempt > answer.attempt:
            self._begin(answer, ref.attempt)
            answer.status = "running"
            lost = not live
        else:
            return
        if lost:
            answer.has_gap = True
            answer.known = False
