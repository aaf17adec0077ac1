"""For any interleaving of what may happen, what each reader has put together is the text."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parley.contracts.frames import Delta, Generation, Kind
from parley.contracts.live import Changed
from parley.contracts.rpc import GenerationSnapshot, SyncReply
from push.cursor import Reader
from push.room import AskStore, AskWorker, Request, Room, Tally
from tests.unit.push.world import CHAT_ID, ChatStore, Client

Live = Changed | Generation | Delta


@dataclass
class Push:
    """A push process with one room: what is on its way to it, and what it asked."""

    room: Room = field(default_factory=lambda: Room(CHAT_ID, Tally()))
    from_store: deque[Live] = field(default_factory=deque)
    from_worker: deque[Live] = field(default_factory=deque)
    asked: Request | None = None
    reply: SyncReply | GenerationSnapshot | None = None
    replied: bool = False
    early_request: bool = False

    def take(self, live: Live) -> None:
        payload = msgspec.json.encode(live)
        match live:
            case Delta():
                self.room.delta(live, payload)
            case Generation():
                self.room.generation(live, payload)
            case Changed():
                self.room.changed(live)


@dataclass(eq=False)
class Seat:
    """A client, and where it reads."""

    client: Client
    reader: Reader
    push: Push
    pause_after: int = -1

    def write(self, data: bytes) -> None:
        assert self.reader.writable, "written to while it could not take more"
        self.client.write(data)
        self.pause_after -= 1
        if self.pause_after == 0:
            self.push.room.pause(self.reader)


class Interleavings(RuleBasedStateMachine):
    """One chat, one worker, two push processes, up to five clients."""

    seats = 5

    def __init__(self) -> None:
        super().__init__()
        self.store = ChatStore()
        self.pushes = [Push(), Push()]
        self.taken: list[Seat] = []

    # --- helpers -----------------------------------------------------------------------------------------------------

    def publish(self, live: Live | None, *, worker: bool) -> None:
        if live is None:
            return
        for push in self.pushes:
            (push.from_worker if worker else push.from_store).append(live)

    def sit(self, client: Client, push: Push) -> Seat:
        seat = Seat(client, Reader("ann", lambda data: seat.write(data), client.cursor), push)
        self.taken.append(seat)
        push.room.join(seat.reader)
        return seat

    @initialize(turns=st.integers(0, 4))
    def begin(self, turns: int) -> None:
        for _ in range(turns):
            self.store.submit()
            self.store.claim(told=False)
            self.store.say("text", 2)
            self.store.finish()

    # --- the chat and its worker -------------------------------------------------------------------------------------

    @rule()
    def rename(self) -> None:
        self.publish(self.store.rename(), worker=False)

    @rule()
    def submit(self) -> None:
        self.publish(self.store.submit(), worker=False)

    @precondition(lambda self: self.store.ref is not None)
    @rule(told=st.booleans())
    def claim(self, told: bool) -> None:
        """The first attempt, or a takeover."""
        changed, started = self.store.claim(told=told)
        self.publish(changed, worker=False)
        self.publish(started, worker=True)

    @precondition(lambda self: self.store.ref is not None and self.store.ref.attempt > 0)
    @rule(
        kind=st.sampled_from(["text", "text", "reasoning"]), sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4)
    )
    def say(self, kind: Kind, sizes: list[int]) -> None:
        for size in sizes:
            self.publish(self.store.say(kind, size), worker=True)

    @precondition(lambda self: self.store.ref is not None)
    @rule()
    def finish(self) -> None:
        self.publish(self.store.finish(), worker=False)

    # --- what is on its way ------------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 1), worker=st.booleans(), number=st.integers(1, 6))
    def deliver(self, which: int, worker: bool, number: int) -> None:
        push = self.pushes[which]
        queue = push.from_worker if worker else push.from_store
        for _ in range(min(number, len(queue))):
            push.take(queue.popleft())

    @rule(which=st.integers(0, 1), worker=st.booleans(), number=st.integers(1, 3))
    def lose(self, which: int, worker: bool, number: int) -> None:
        push = self.pushes[which]
        queue = push.from_worker if worker else push.from_store
        for _ in range(min(number, len(queue))):
            queue.popleft()

    @rule(which=st.integers(0, 1), worker=st.booleans())
    def deliver_twice(self, which: int, worker: bool) -> None:
        push = self.pushes[which]
        queue = push.from_worker if worker else push.from_store
        if queue:
            push.take(queue[0])
            push.take(queue.popleft())

    @rule(which=st.integers(0, 1))
    def flush(self, which: int) -> None:
        self.pushes[which].room.flush()

    # --- requests ----------------------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 1))
    def ask(self, which: int) -> None:
        push = self.pushes[which]
        if push.asked is None:
            push.asked = push.room.next_request()
            push.replied = False

    @rule(which=st.integers(0, 1))
    def reply(self, which: int) -> None:
        """The answer is made; what happens from here to its arrival is not in it."""
        self.make_reply(self.pushes[which])

    def make_reply(self, push: Push) -> None:
        match push.asked:
            case AskStore():
                push.reply, push.replied = self.store.sync(push.asked.after), True
            case AskWorker():
                push.reply, push.replied = self.store.snapshot(push.asked.generation_id), True

    @rule(which=st.integers(0, 1))
    def arrive(self, which: int) -> None:
        self.take_reply(self.pushes[which])

    def take_reply(self, push: Push) -> None:
        if not push.replied:
            return
        asked, push.asked, push.replied = push.asked, None, False
        match asked, push.reply:
            case AskStore(), SyncReply() as reply:
                push.room.synced(asked, reply)
            case AskWorker(), GenerationSnapshot() as reply:
                push.room.snapshot(reply)
            case AskWorker(), None:
                push.room.unowned(asked.generation_id)

    @rule(which=st.integers(0, 1))
    def fail(self, which: int) -> None:
        push = self.pushes[which]
        asked, push.asked = push.asked, None
        push.replied = False
        if isinstance(asked, AskWorker):
            push.room.unowned(asked.generation_id)

    @rule(which=st.integers(0, 1), text=st.booleans())
    def doubt(self, which: int, text: bool) -> None:
        """Silence, anti-entropy, a reconnect."""
        self.pushes[which].room.doubt(text=text)

    # --- readers -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.taken) < self.seats)
    @rule(which=st.integers(0, 1))
    def join(self, which: int) -> None:
        self.sit(Client(), self.pushes[which])

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), which=st.integers(0, 1), fresh=st.booleans(), lost=st.integers(0, 4))
    def reconnect(self, data: st.DataObject, which: int, fresh: bool, lost: int) -> None:
        seat = data.draw(st.sampled_from(self.taken))
        self.taken.remove(seat)
        seat.push.room.leave(seat.reader)
        seat.client.lose(lost)
        self.sit(Client() if fresh else seat.client, self.pushes[which])

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        seat = data.draw(st.sampled_from(self.taken))
        if seat.reader.writable:
            seat.push.room.pause(seat.reader)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), writes=st.integers(1, 3))
    def pause_within(self, data: st.DataObject, writes: int) -> None:
        data.draw(st.sampled_from(self.taken)).pause_after = writes

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        seat = data.draw(st.sampled_from(self.taken))
        seat.pause_after = -1
        if not seat.reader.writable:
            seat.push.room.resume(seat.reader)

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def what_a_reader_has_is_what_was_said(self) -> None:
        for seat in self.taken:
            running = seat.client.running
            if running is None or running.attempt == 0:
                continue
            attempt = self.store.attempts[running.generation_id, running.attempt]
            assert (running.text, running.reasoning) == attempt.until(running.seq)

    @invariant()
    def a_reader_knows_all_messages_until_its_version(self) -> None:
        for seat in self.taken:
            for message in seat.client.messages.values():
                assert message.version <= self.store.version
            for message in self.store.messages.values():
                known = seat.client.messages.get(message.id)
                if known is not None and message.version <= seat.client.version:
                    assert known == message

    def teardown(self) -> None:
        """All is delivered and answered: everyone has everything."""
        for push in self.pushes:
            push.asked = None
            for queue in (push.from_store, push.from_worker):
                while queue:
                    push.take(queue.popleft())
            push.room.doubt()
        for seat in self.taken:
            seat.pause_after = -1
            if not seat.reader.writable:
                seat.push.room.resume(seat.reader)
        for push in self.pushes:
            self.settle(push)
            push.room.doubt()  # silence: what was lost last shows in nothing else
            self.settle(push)
        for seat in self.taken:
            self.has_everything(seat)

    def settle(self, push: Push) -> None:
        for _ in range(20):
            push.asked = push.room.next_request()
            if push.asked is None:
                break
            self.make_reply(push)
            self.take_reply(push)
        else:
            assert isinstance(push.asked, AskWorker), f"asks without end: {push.asked}"
        push.asked = None
        push.room.flush()

    def has_everything(self, seat: Seat) -> None:
        client = seat.client
        assert not client.gone
        assert client.refused is None
        assert client.version == self.store.version
        assert client.chat == self.store.chat
        newest = list(self.store.messages.values())[-self.store.page_size :]
        for message in newest:
            assert client.messages[message.id] == message
        ref = self.store.ref
        if ref is None:
            assert client.running is None
        elif ref.attempt > 0:
            assert client.running is not None
            assert (client.running.generation_id, client.running.attempt) == (ref.generation_id, ref.attempt)
            chunks = self.store.attempts[ref.generation_id, ref.attempt].chunks
            assert client.running.seq == len(chunks)
            assert (client.running.text, client.running.reasoning) == self.store.attempts[
                ref.generation_id, ref.attempt
            ].until(len(chunks))


Interleavings.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
test_what_each_reader_has_put_together_is_the_text = Interleavings.TestCase
