"""What the properties do not say: how little is sent and asked."""

from __future__ import annotations

import msgspec

from parley.contracts.frames import ChatFrame, Cursor, Delta, Generation, MessageFrame, Snapshot
from push.metrics import Counters
from push.rooms.framing import text_frame
from push.rooms.reader import Reader
from push.rooms.room import Room
from push.rooms.sync_requests import AnswerRequest, SyncRequest
from tests.support.chat_store.scripted_chat import CHAT_ID, ScriptedChat
from tests.unit.push.world import Client, make_reader


class Scene:
    """A room and its chat, with everything delivered at once."""

    def __init__(self) -> None:
        self.store = ScriptedChat()
        self.room = Room(CHAT_ID, Counters())
        self.asked: list[SyncRequest | AnswerRequest] = []

    def enter(self, client: Client | None = None, user: str = "ann") -> tuple[Client, Reader]:
        client = client or Client()
        reader = make_reader(user, client.write, client.cursor)
        self.room.readers.join(reader)
        self.answer()
        return client, reader

    def answer(self) -> None:
        while (request := self.room.next_request()) is not None:
            self.asked.append(request)
            if isinstance(request, SyncRequest):
                self.room.synced(request, self.store.sync(request.after))
            elif (snapshot := self.store.snapshot(request.generation_id)) is not None:
                self.room.snapshot(snapshot)
            else:
                self.room.unowned(request.generation_id)
                return

    def run(self) -> None:
        self.room.changed(self.store.submit())
        _, started = self.store.claim(announced=False)
        self.room.generation(started, msgspec.json.encode(started))

    def say(self, number: int = 1) -> bytes:
        delta = self.store.say("text", number)
        payload = msgspec.json.encode(delta)
        self.room.delta(delta, payload)
        return payload


def test_a_delta_goes_to_all_as_it_came() -> None:
    scene = Scene()
    written: list[bytes] = []
    for _ in range(3):
        _, reader = scene.enter()
        reader.write = reader.write_long = written.append
    scene.run()
    written.clear()
    payload = scene.say()
    scene.room.readers.flush()
    assert written == [text_frame(payload)] * 3


def test_deltas_of_one_read_go_out_as_one_frame() -> None:
    scene = Scene()
    client, _ = scene.enter()
    scene.run()
    before = len(client.frames)
    for _ in range(10):
        scene.say()
    scene.room.readers.flush()
    (frame,) = client.frames[before:]
    assert isinstance(frame, Delta)
    assert (frame.from_, frame.to) == (1, 10)


def test_a_catch_up_is_built_once_for_readers_at_the_same_place() -> None:
    scene = Scene()
    written: list[bytes] = []
    readers = [scene.enter()[1] for _ in range(3)]
    scene.run()
    for reader in readers:
        scene.room.readers.pause(reader)
        reader.write = reader.write_long = written.append
    for _ in range(100):
        scene.say()
    scene.room.readers.flush()
    assert written == []
    for reader in readers:
        scene.room.readers.resume(reader)
    assert len(written) == 3
    assert written[0] is written[1] is written[2]


def test_snapshots_are_built_once_for_joiners_at_the_same_place() -> None:
    scene = Scene()
    scene.enter()
    scene.run()
    scene.say(5)
    written: list[bytes] = []
    for _ in range(3):
        scene.room.readers.join(make_reader("ann", written.append))
    assert written[0] is written[1] is written[2]


def test_only_the_first_joiner_costs_requests() -> None:
    scene = Scene()
    scene.store.submit()
    scene.store.claim(announced=False)
    scene.store.say("text", 5)
    scene.enter()
    assert [type(request) for request in scene.asked] == [SyncRequest, AnswerRequest]
    for user in ("ann", "ben"):
        client, _ = scene.enter(user=user)
        assert client.running is not None
        assert client.running.seq == 5
    assert len(scene.asked) == 2


def test_many_cursors_cost_one_request() -> None:
    """A whole room that reconnects: each with another version, all served by the oldest one's answer."""
    scene = Scene()
    cursors = []
    for _ in range(3):
        cursors.append(scene.store.version)
        scene.store.submit()
        scene.store.claim(announced=False)
        scene.store.finish()
    clients = []
    for version in cursors:
        client = Client()
        client.version = version
        clients.append(client)
        scene.room.readers.join(make_reader("ann", client.write, Cursor(version=version)))
    scene.answer()
    assert [request.after for request in scene.asked if isinstance(request, SyncRequest)] == [cursors[0]]
    for client in clients:
        (frame,) = client.frames
        assert isinstance(frame, Snapshot)
        assert frame.recovered
        assert client.version == scene.store.version


def test_a_change_of_two_messages_takes_readers_on_with_the_last() -> None:
    scene = Scene()
    client, _ = scene.enter()
    version = client.version
    scene.room.changed(scene.store.submit())
    prompt, answer, chat = client.frames[1:]
    assert isinstance(prompt, MessageFrame)
    assert isinstance(answer, MessageFrame)
    assert isinstance(chat, ChatFrame)
    assert [prompt.version, answer.version, chat.version] == [version, version + 1, version + 1]


def test_a_reader_who_lagged_through_the_end_of_an_answer_gets_what_changed() -> None:
    scene = Scene()
    client, reader = scene.enter()
    scene.run()
    scene.say(5)
    scene.room.readers.flush()
    scene.room.readers.pause(reader)
    scene.say(5)
    scene.room.changed(scene.store.finish())
    scene.run()
    scene.say(3)
    asked = len(scene.asked)
    before = len(client.frames)
    scene.room.readers.resume(reader)
    scene.answer()
    (frame,) = client.frames[before:]
    assert isinstance(frame, Snapshot)
    assert frame.recovered
    assert client.messages == scene.store.messages
    assert client.running is not None
    assert client.running.seq == 3
    assert len(scene.asked) == asked


def test_late_deltas_of_an_answer_that_ended_cost_nothing() -> None:
    scene = Scene()
    client, _ = scene.enter()
    scene.run()
    late = scene.store.say("text", 1)
    scene.room.changed(scene.store.finish())
    before, asked = len(client.frames), len(scene.asked)
    scene.room.delta(late, msgspec.json.encode(late))
    scene.room.readers.flush()
    scene.answer()
    assert (len(client.frames), len(scene.asked)) == (before, asked)


def test_deltas_of_a_generation_that_chat_store_does_not_know_are_asked_about_once() -> None:
    scene = Scene()
    scene.enter()
    asked = len(scene.asked)
    for number in range(1, 50):
        stray = Delta(chat_id=CHAT_ID, generation_id="gone", attempt=1, from_=number, to=number, kind="text", text="x")
        scene.room.delta(stray, msgspec.json.encode(stray))
        scene.answer()
    assert len(scene.asked) == asked + 1


def test_an_older_worker_that_still_talks_is_not_heard() -> None:
    scene = Scene()
    client, _ = scene.enter()
    scene.run()
    stale = scene.store.say("text", 1)
    _, started = scene.store.claim(announced=False)
    scene.room.generation(started, msgspec.json.encode(started))
    scene.room.delta(stale, msgspec.json.encode(stale))
    scene.say(2)
    scene.room.readers.flush()
    assert client.running is not None
    assert (client.running.attempt, client.running.seq) == (2, 2)


def test_a_retry_is_reported_and_ends_with_the_next_delta() -> None:
    scene = Scene()
    client, _ = scene.enter()
    scene.run()
    assert scene.store.ref is not None
    retrying = Generation(
        chat_id=CHAT_ID,
        generation_id=scene.store.ref.generation_id,
        message_id=scene.store.ref.message_id,
        attempt=1,
        status="retrying",
    )
    scene.room.generation(retrying, msgspec.json.encode(retrying))
    assert client.frames[-1] == retrying
    joiner, _ = scene.enter()
    assert isinstance(joiner.frames[0], Snapshot)
    assert joiner.frames[0].generation is not None
    assert joiner.frames[0].generation.status == "retrying"
    scene.say()
    scene.room.readers.flush()
    assert client.running is not None
    assert client.running.seq == 1
    joiner, _ = scene.enter()
    assert isinstance(joiner.frames[0], Snapshot)
    assert joiner.frames[0].generation is not None
    assert joiner.frames[0].generation.status == "running"


def test_a_chat_store_that_was_set_back_is_believed() -> None:
    scene = Scene()
    before = ScriptedChat()
    client, _ = scene.enter()
    for _ in range(3):
        scene.room.changed(scene.store.rename())
    assert client.version > before.version
    scene.store = before
    scene.room.resync()
    client.version = -1  # it starts over as well, by the snapshot
    scene.answer()
    frame = client.frames[-1]
    assert isinstance(frame, Snapshot)
    assert not frame.recovered
    assert client.version == before.version == scene.room.version


def test_nothing_is_asked_for_nobody() -> None:
    scene = Scene()
    _, reader = scene.enter()
    scene.run()
    scene.room.readers.leave(reader)
    scene.room.resync()
    assert scene.room.next_request() is None
    scene.enter()
    assert scene.room.next_request() is None


def test_who_waited_for_the_worker_is_not_sent_twice_what_came_meanwhile() -> None:
    scene = Scene()
    scene.enter()
    scene.run()
    scene.say(3)
    scene.room.readers.flush()
    assert scene.store.ref is not None
    client = Client()
    cursor = Cursor(version=scene.store.version, generation_id=scene.store.ref.generation_id, attempt=9, seq=1)
    client.version = cursor.version
    scene.room.readers.join(make_reader("ann", client.write, cursor))
    assert client.frames == []
    assert isinstance(scene.room.next_request(), AnswerRequest)
    scene.say(2)
    scene.room.unowned(cursor.generation_id or "")
    (frame,) = client.frames
    assert isinstance(frame, Snapshot)
    assert frame.generation is not None
    assert (frame.generation.attempt, frame.generation.after, frame.generation.seq) == (1, 0, 5)


def test_a_change_that_comes_while_another_is_asked_about_is_asked_about_too() -> None:
    scene = Scene()
    client, _ = scene.enter()
    scene.store.rename()
    scene.room.changed(scene.store.rename())
    request = scene.room.next_request()
    assert isinstance(request, SyncRequest)
    reply = scene.store.sync(request.after)
    scene.store.rename()
    scene.room.changed(scene.store.rename())
    scene.room.synced(request, reply)
    scene.answer()
    assert client.version == scene.store.version


def test_a_change_that_comes_before_the_first_answer_is_kept() -> None:
    scene = Scene()
    client = Client()
    scene.room.readers.join(make_reader("ann", client.write))
    request = scene.room.next_request()
    assert isinstance(request, SyncRequest)
    reply = scene.store.sync(request.after)
    scene.room.changed(scene.store.rename())
    scene.room.synced(request, reply)
    assert client.version == scene.store.version
    assert scene.room.next_request() is None


def test_a_reader_who_is_ahead_goes_on_when_the_room_has_caught_up() -> None:
    scene = Scene()
    other = Scene()
    other.store = scene.store
    ahead, reader = other.enter()
    scene.enter()
    changed = scene.store.submit()
    _, started = scene.store.claim(announced=False)
    deltas = [scene.store.say("text", 2) for _ in range(4)]
    for room in (scene.room, other.room):
        room.changed(changed)
        room.generation(started, msgspec.json.encode(started))
    for delta in deltas[:3]:
        other.room.delta(delta, msgspec.json.encode(delta))
    other.room.readers.flush()
    other.room.readers.leave(reader)
    scene.enter(ahead)
    asked = len(scene.asked)
    seqs = []
    for delta in deltas:
        scene.room.delta(delta, msgspec.json.encode(delta))
        scene.room.readers.flush()
        assert ahead.running is not None
        seqs.append(ahead.running.seq)
    assert seqs == [6, 6, 6, 8]
    assert len(scene.asked) == asked


def test_a_chat_deleted_between_a_delta_and_its_sending_ends_quietly() -> None:
    scene = Scene()
    client, _ = scene.enter()
    scene.run()
    scene.say()
    scene.room.changed(scene.store.delete())
    scene.room.readers.flush()
    assert client.gone


def test_cursors_that_nobody_was_given_are_one_place() -> None:
    """A stranger to the running answer gets its text, built once, whatever it claims to have."""
    scene = Scene()
    scene.enter()
    scene.run()
    scene.say(5)
    written: list[bytes] = []
    for number in range(200):
        cursor = Cursor(version=scene.room.version, generation_id=f"invented-{number}", attempt=1, seq=number)
        scene.room.readers.join(make_reader("ann", written.append, cursor))
    assert len({id(data) for data in written}) == 1
    for number in range(200):
        ref = scene.store.ref
        assert ref is not None
        cursor = Cursor(
            version=scene.room.version, generation_id=ref.generation_id, attempt=1, seq=6 + number
        )  # further than anybody is
        scene.room.readers.join(make_reader("ann", written.append, cursor))
    assert len(scene.room.readers.catch_up) <= 2


def test_what_is_kept_for_others_has_a_bound() -> None:
    scene = Scene()
    readers = []
    scene.run()
    scene.enter()
    for _ in range(60):
        delta = msgspec.structs.replace(scene.store.say("text", 1), text="x" * 50_000)
        readers.append(scene.enter()[1])
        scene.room.readers.pause(readers[-1])
        scene.room.delta(delta, msgspec.json.encode(delta))
        scene.room.readers.flush()
    for reader in readers:
        reader.write = reader.write_long = lambda data: None
        scene.room.readers.resume(reader)
    assert scene.room.readers.catch_up.size <= 1024 * 1024


def test_a_catch_up_comes_in_pieces_as_the_reader_takes_them() -> None:
    scene = Scene()
    scene.run()
    written: list[bytes] = []
    _, reader = scene.enter()

    def write(data: bytes) -> None:
        written.append(data)
        scene.room.readers.pause(reader)  # each piece fills its buffer

    scene.room.readers.pause(reader)
    reader.write = reader.write_long = write
    for _ in range(100):
        delta = msgspec.structs.replace(scene.store.say("text", 1), text="x" * 10_000)
        scene.room.delta(delta, msgspec.json.encode(delta))
    scene.room.readers.flush()
    pieces = 0
    while scene.room.readers.lagging:
        scene.room.readers.resume(reader)
        pieces += 1
        assert pieces < 100
    assert len(written) > 10
    assert max(map(len, written)) < 70_000


def test_a_warm_room_s_first_page_is_the_newest_page_and_no_longer() -> None:
    """However many messages came since somebody joined, a joiner gets what chat-store cuts."""
    scene = Scene()
    scene.store.page_size = 50
    scene.enter()
    for _ in range(160):
        scene.run()
        scene.room.changed(scene.store.finish())
    client, _ = scene.enter()
    assert isinstance(client.frames[0], Snapshot)
    assert len(client.frames[0].messages) == 50
    assert client.frames[0].next is not None
    assert [message.id for message in client.frames[0].messages] == list(scene.store.messages)[-50:]
