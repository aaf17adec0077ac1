"""One chat, one worker, two push processes and their readers, and all that may happen between them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from parley.contracts.frames import Delta, Generation, Kind
from parley.contracts.live import Changed
from parley.contracts.rpc import GenerationSnapshot, SyncReply
from push.metrics import Counters
from push.rooms.room import Room
from push.rooms.sync_requests import AnswerRequest, Request, SyncRequest
from tests.support.chat_store.scripted_chat import CHAT_ID, ScriptedChat
from tests.unit.push.world import Client, make_reader

Live = Changed | Generation | Delta


@dataclass
class Push:
    """A push process with one room: what is on its way to it, and what it asked."""

    room: Room = field(default_factory=lambda: Room(CHAT_ID, Counters()))
    from_store: deque[Live] = field(default_factory=deque)
    from_worker: deque[Live] = field(default_factory=deque)
    asked: Request | None = None
    reply: SyncReply | GenerationSnapshot | None = None
    replied: bool = False

    def queue(self, worker: bool) -> deque[Live]:
        return self.from_worker if worker else self.from_store

    def take(self, live: Live) -> None:
        payload = msgspec.json.encode(live)
        match live:
            case Delta():
                self.room.delta(live, payload)
            case Generation():
                self.room.generation(live, payload)
            case Changed():
                self.room.changed(live)


class Seat:
    """A client, and where it reads."""

    def __init__(self, client: Client, push: Push) -> None:
        self.client = client
        self.push = push
        self.pause_after = -1
        self.reader = make_reader("ann", self._write, client.cursor, events=client.events)
        push.room.readers.join(self.reader)

    def _write(self, data: bytes) -> None:
        assert self.reader.writable, "written to while it could not take more"
        self.client.write(data)
        self.pause_after -= 1
        if self.pause_after == 0:
            self.push.room.readers.pause(self.reader)


class Stage:
    """Every method is something that may happen at any time; the numbers say to whom and how much."""

    seats = 5

    def __init__(self, turns: int = 0) -> None:
        self.store = ScriptedChat()
        self.pushes = [Push(), Push()]
        self.taken: list[Seat] = []
        for _ in range(turns):
            self.store.submit()
            self.store.claim(announced=False)
            self.store.say("text", 2)
            self.store.finish()

    # --- the chat and its worker -------------------------------------------------------------------------------------

    def rename(self) -> None:
        self._publish(self.store.rename(), worker=False)

    def submit(self) -> None:
        self._publish(self.store.submit(), worker=False)

    def claim(self, announced: bool) -> None:
        """The first attempt, or a takeover."""
        if self.store.ref is not None:
            changed, started = self.store.claim(announced=announced)
            self._publish(changed, worker=False)
            self._publish(started, worker=True)

    def say(self, kind: Kind, sizes: list[int]) -> None:
        if self.store.ref is not None and self.store.ref.attempt > 0:
            for size in sizes:
                self._publish(self.store.say(kind, size), worker=True)

    def use_tool(self, news: Literal["begin", "arguments", "result"]) -> None:
        if self.store.ref is not None and self.store.ref.attempt > 0:
            self._publish(self.store.use_tool(news), worker=True)

    def finish(self) -> None:
        if self.store.ref is not None:
            self._publish(self.store.finish(), worker=False)

    def _publish(self, live: Live | None, *, worker: bool) -> None:
        if live is not None:
            for push in self.pushes:
                push.queue(worker).append(live)

    # --- what is on its way ------------------------------------------------------------------------------------------

    def deliver(self, which: int, worker: bool, number: int) -> None:
        push = self.pushes[which]
        queue = push.queue(worker)
        for _ in range(min(number, len(queue))):
            push.take(queue.popleft())

    def lose(self, which: int, worker: bool, number: int) -> None:
        queue = self.pushes[which].queue(worker)
        for _ in range(min(number, len(queue))):
            queue.popleft()

    def deliver_twice(self, which: int, worker: bool) -> None:
        push = self.pushes[which]
        queue = push.queue(worker)
        if queue:
            push.take(queue[0])
            push.take(queue.popleft())

    def flush(self, which: int) -> None:
        self.pushes[which].room.readers.flush()

    # --- requests ----------------------------------------------------------------------------------------------------

    def ask(self, which: int) -> None:
        push = self.pushes[which]
        if push.asked is None:
            push.asked, push.replied = push.room.next_request(), False

    def reply(self, which: int) -> None:
        """The answer is made; what happens from here to its arrival is not in it."""
        push = self.pushes[which]
        match push.asked:
            case SyncRequest():
                push.reply, push.replied = self.store.sync(push.asked.after), True
            case AnswerRequest():
                push.reply, push.replied = self.store.snapshot(push.asked.generation_id), True

    def arrive(self, which: int) -> None:
        push = self.pushes[which]
        if not push.replied:
            return
        asked, push.asked, push.replied = push.asked, None, False
        match asked, push.reply:
            case SyncRequest(), SyncReply() as reply:
                push.room.synced(asked, reply)
            case AnswerRequest(), GenerationSnapshot() as reply:
                push.room.snapshot(reply)
            case AnswerRequest(), None:
                push.room.unowned(asked.generation_id)

    def fail(self, which: int) -> None:
        push = self.pushes[which]
        asked, push.asked, push.replied = push.asked, None, False
        if isinstance(asked, AnswerRequest):
            push.room.unowned(asked.generation_id)

    def resync(self, which: int, text: bool) -> None:
        """Silence, anti-entropy, a reconnect."""
        self.pushes[which].room.resync(text=text)

    def discard_unused(self, which: int) -> None:
        self.pushes[which].room.discard_unused()

    # --- readers -----------------------------------------------------------------------------------------------------

    def join(self, which: int, events: bool) -> None:
        if len(self.taken) < self.seats:
            self.taken.append(Seat(Client(events=events), self.pushes[which]))

    def reconnect(self, seat: int, which: int, fresh: bool, lost: int) -> None:
        """The connection breaks before the last frames came through, and another one is made."""
        if self.taken:
            left = self.taken.pop(seat % len(self.taken))
            left.push.room.readers.leave(left.reader)
            left.client.lose(lost)
            self.taken.append(Seat(Client(events=left.client.events) if fresh else left.client, self.pushes[which]))

    def pause(self, seat: int) -> None:
        if self.taken:
            chosen = self.taken[seat % len(self.taken)]
            if chosen.reader.writable:
                chosen.push.room.readers.pause(chosen.reader)

    def pause_within(self, seat: int, writes: int) -> None:
        """The write after so many others fills the buffer."""
        if self.taken:
            self.taken[seat % len(self.taken)].pause_after = writes

    def resume(self, seat: int) -> None:
        if self.taken:
            chosen = self.taken[seat % len(self.taken)]
            chosen.pause_after = -1
            if not chosen.reader.writable:
                chosen.push.room.readers.resume(chosen.reader)

    # --- what always holds -------------------------------------------------------------------------------------------

    def check(self) -> None:
        """What each reader has is what was said until there, and what was stored until its version."""
        for seat in self.taken:
            client = seat.client
            for message in client.messages.values():
                assert message.version <= self.store.version
            for message in self.store.messages.values():
                if message.id in client.messages and message.version <= client.version:
                    assert client.messages[message.id] == message
            if (running := client.running) is not None and running.attempt > 0:
                attempt = self.store.attempts[running.generation_id, running.attempt]
                assert running.said == attempt.until(running.seq)

    # --- rest --------------------------------------------------------------------------------------------------------

    def come_to_rest(self, *, lost: bool = True) -> None:
        """All is delivered and answered, and silence noticed when something was ``lost``: everyone has everything."""
        for which, push in enumerate(self.pushes):
            self.reply(which)
            self.arrive(which)
            for worker in (False, True):
                self.deliver(which, worker, 10**9)
            if lost:
                push.room.resync()
        for number in range(len(self.taken)):
            self.resume(number)
        for which, push in enumerate(self.pushes):
            self._answer_all(which)
            if lost:
                push.room.resync()  # what was lost last shows in nothing else
                self._answer_all(which)
        for seat in self.taken:
            self._has_everything(seat.client)

    def _answer_all(self, which: int) -> None:
        push = self.pushes[which]
        for _ in range(20):
            self.ask(which)
            if push.asked is None:
                break
            self.reply(which)
            self.arrive(which)
        else:
            assert isinstance(push.room.next_request(), AnswerRequest), "asks chat-store without end"
        push.room.readers.flush()

    def _has_everything(self, client: Client) -> None:
        assert not client.gone
        assert client.refused is None
        assert client.version == self.store.version
        assert client.chat == self.store.chat
        for message in list(self.store.messages.values())[-self.store.page_size :]:
            assert client.messages[message.id] == message
        ref = self.store.ref
        if ref is None:
            assert client.running is None
        elif ref.attempt > 0:
            assert client.running is not None
            assert (client.running.generation_id, client.running.attempt) == (ref.generation_id, ref.attempt)
            attempt = self.store.attempts[ref.generation_id, ref.attempt]
            assert client.running.seq == len(attempt.chunks)
            assert client.running.said == attempt.until(client.running.seq)
