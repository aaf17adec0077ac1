"""Backing up and restoring, between real servers."""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from chat_store.storage import schema
from parley.contracts import rpc
from parley.contracts.ids import new_id
from parley.contracts.resources import Chat, Message
from parley.contracts.subjects import ANY_PROMPT_SUBMITTED
from parley.runtime.nats.connect import connect, wait_until_processed
from parley.runtime.nats.provision import provision
from parley_cli.backup import archive
from parley_cli.backup.archive import ArchiveReader
from parley_cli.backup.creation import back_up
from parley_cli.backup.errors import BackupError, NotAnArchive, NotEmpty, ProgramFailed, StillRunning
from parley_cli.backup.restoration import restore
from parley_cli.backup.targets import Installation
from parley_cli.dead_letters.queue import DeadLetterQueue
from parley_cli.embedded.nats import NatsServer
from tests.integration.chat_store.client import Neighbour, prompt
from tests.support.databases import Databases
from tests.support.service import ServiceProcess, run_service
from tests.support.waiting import eventually


def store(place: Installation) -> ServiceProcess:
    return run_service("chat_store", {"NATS_URL": place.nats_url, "DATABASE_URL": place.database_url})


@pytest_asyncio.fixture
async def place(nats_url: str, database_url: str) -> Installation:
    """Servers with streams and schema, and nothing in them."""
    nc = await connect(nats_url, name="test")
    await provision(nc)
    await nc.close()
    return Installation(nats_url=nats_url, database_url=database_url, keys=None)


@pytest.fixture
def other(tmp_path: Path, databases: Databases) -> Iterator[Installation]:
    """Servers with nothing at all."""
    with NatsServer(tmp_path / "other-nats") as nats:
        yield Installation(nats_url=nats.url, database_url=databases.empty(), keys=None)


def _files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith("backup")]


class ConnectedNeighbour:
    """A neighbour with a connection, which ends with the context."""

    def __init__(self, place: Installation) -> None:
        self._url = place.nats_url

    async def __aenter__(self) -> Neighbour:
        self._nc = await connect(self._url, name="test")
        neighbour = Neighbour(self._nc)
        await neighbour.listen()
        return neighbour

    async def __aexit__(self, *_: object) -> None:
        await self._nc.close()


async def rows(place: Installation, table: str) -> list[str]:
    connection = await asyncpg.connect(place.database_url)
    try:
        return [row[0] for row in await connection.fetch(f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1")]
    finally:
        await connection.close()


async def _until_idle(place: Installation) -> None:
    """chat-store's session and its pulls end a moment after its process."""
    async with ConnectedNeighbour(place) as neighbour:

        async def idle() -> bool:
            info = await neighbour.js.consumer_info("CHAT", "chat-store-prompts")
            return not info.num_waiting

        await eventually(idle, what="no active consumer")


async def test_stored_and_pending_messages_are_restored(
    place: Installation, other: Installation, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    async with ConnectedNeighbour(place) as before:
        async with store(place):
            done, running, waiting = [await before.chat(title=name) for name in ("done", "running", "waiting")]
            await before.say(done, "stored and answered")
            await before.answer(done, "as it was")
            await before.say(running, "stored, being answered")
            claim = await before.claimed(await before.request_for(running))
            await before.say(waiting, "stored, waiting for a worker")
            old_request = await before.request_for(waiting)
            await before.js.publish(f"chat.{done}.prompt.submitted", b"not an event")

            async def dead_lettered() -> bool:
                return bool([letter async for letter in DeadLetterQueue(before.js).letters()])

            await eventually(dead_lettered, what="a dead letter")
        # Nobody handles these before the backup: only their stream has them.
        owed = [await before.say(done, f"owed {number}") for number in range(3)]
        await before.finish(claim, "finished, not stored")

    manifest = await back_up(place, file)
    assert manifest.messages["CHAT: prompt.submitted"] == 3
    assert manifest.messages["CHAT: generation.finished"] == 1
    assert manifest.messages["DEAD_LETTERS: letter"] == 1
    assert manifest.tables["chats"] == 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert _files(tmp_path) == ["backup"]

    await restore(other, file, force=False)
    for table in ("chats", "members", "messages", "usage"):
        assert await rows(other, table) == await rows(place, table), table
    async with ConnectedNeighbour(other) as after:
        queue = DeadLetterQueue(after.js)
        letters = [letter async for letter in queue.letters()]
        assert [(letter.consumer, letter.body) for letter in letters] == [("chat-store-prompts", b"not an event")]
        assert letters[0].subject == f"chat.{done}.prompt.submitted"
        async with store(other):
            found = await eventually(lambda: _all(after, done, owed), what="the prompts that were owed")
            assert [message.content for message in found if message.role == "user"] == [
                "stored and answered",
                *(f"owed {number}" for number in range(3)),
            ]
            ended = await eventually(lambda: _status(after, running, claim.message_id, "complete"), what="the end")
            assert ended
            # The answer that was due is requested again, and the attempt that the backup cut off is not counted.
            request = await after.request_for(waiting)
            assert request.generation_id == old_request.generation_id
            assert (await after.claimed(request)).verdict == "stream"


async def _all(neighbour: Neighbour, chat: str, wanted: list[str]) -> list[Message]:
    messages = await neighbour.messages(chat)
    return messages if set(wanted) <= {message.id for message in messages} else []


async def _status(neighbour: Neighbour, chat: str, message_id: str, status: str) -> bool:
    message = await neighbour.message(chat, message_id)
    return message is not None and message.status == status


async def test_an_attempt_that_a_restore_cuts_off_does_not_count(
    place: Installation, other: Installation, tmp_path: Path
) -> None:
    async with ConnectedNeighbour(place) as before, store(place):
        chat = await before.chat()
        await before.say(chat)
        request = await before.request_for(chat)
        for _ in range(3):
            assert (await before.claimed(request)).verdict == "stream"
        await back_up(place, tmp_path / "backup")
    await restore(other, tmp_path / "backup", force=False)
    async with ConnectedNeighbour(other) as after, store(other):
        assert (await after.claimed(await after.request_for(chat))).verdict == "stream"


async def test_a_full_stack_is_only_replaced_by_force(place: Installation, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    async with ConnectedNeighbour(place) as neighbour:
        async with store(place):
            kept = await neighbour.chat(title="kept")
        await back_up(place, file)
        async with store(place):
            await neighbour.chat(title="newer")
        await neighbour.say(kept, "newer, too")
    await _until_idle(place)
    before = await rows(place, "chats")
    with pytest.raises(NotEmpty, match=r"2 rows in chats.* 1 messages in CHAT.*--force"):
        await restore(place, file, force=False)
    assert await rows(place, "chats") == before

    await restore(place, file, force=True)
    async with ConnectedNeighbour(place) as neighbour, store(place):
        assert [chat.title for chat in await _chats(neighbour)] == ["kept"]
        assert await neighbour.messages(kept) == []
        # The stream's memory of message ids went, too: what is sent now is new.
        assert await neighbour.say(kept, "new")


@pytest.mark.parametrize("version", [1, 4, 5, 7, 12])
async def test_a_backup_of_an_earlier_version_replaces_what_a_later_one_has_made(
    version: int, place: Installation, databases: Databases, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    earlier = Installation(nats_url=place.nats_url, database_url=databases.empty(), keys=None)
    connection = await asyncpg.connect(earlier.database_url)
    try:
        await schema.migrate(connection, to=version)
        chat = new_id()
        columns = "id, owner_id, title, created_at, updated_at, version"
        await connection.execute(f"INSERT INTO chats ({columns}) VALUES ($1, 'ann', 'kept', now(), now(), 1)", chat)
        columns = "chat_id, user_id, role, added_at"
        await connection.execute(f"INSERT INTO members ({columns}) VALUES ($1, 'ann', 'owner', now())", chat)
    finally:
        await connection.close()
    await back_up(earlier, file)
    await restore(place, file, force=True)
    async with ConnectedNeighbour(place) as neighbour, store(place):
        assert [chat.title for chat in await _chats(neighbour)] == ["kept"]


async def _chats(neighbour: Neighbour) -> list[Chat]:
    return (await neighbour.ask(rpc.ListChats(user_id="ann"))).items


async def test_nothing_is_restored_under_a_running_service(place: Installation, tmp_path: Path) -> None:
    await back_up(place, tmp_path / "backup")
    async with store(place):
        with pytest.raises(StillRunning, match="chat-store is connected"):
            await restore(place, tmp_path / "backup", force=True)


async def test_a_damaged_file_changes_nothing(place: Installation, other: Installation, tmp_path: Path) -> None:
    file, damaged = tmp_path / "backup", tmp_path / "damaged"
    async with ConnectedNeighbour(place) as neighbour, store(place):
        await neighbour.chat()
    await back_up(place, file)
    whole = file.read_bytes()
    for content in (b"", b"something else", whole[: len(whole) // 2], whole.replace(b"PGDMP", b"PGDMQ")):
        damaged.write_bytes(content)
        with pytest.raises(NotAnArchive, match="Nothing was changed"):
            await restore(other, damaged, force=True)
    assert await _tables(other) == []


async def _tables(place: Installation) -> list[str]:
    connection = await asyncpg.connect(place.database_url)
    try:
        return [row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname='public'")]
    finally:
        await connection.close()


async def test_a_restore_that_fails_leaves_the_database_as_it_was(place: Installation, tmp_path: Path) -> None:
    """Here the dump is what was backed up and cannot be restored all the same."""
    file, forged = tmp_path / "backup", tmp_path / "forged"
    async with ConnectedNeighbour(place) as neighbour, store(place):
        await neighbour.chat()
    await _until_idle(place)
    await back_up(place, file)
    with ArchiveReader(file) as reader:
        dump = b"".join(reader.chunks(archive.DATABASE))
        manifest = reader.manifest
    with archive.ArchiveWriter(forged) as writer:
        await writer.add(archive.MESSAGES, _once(b""), compress=True)
        await writer.add(archive.DATABASE, _once(dump[: len(dump) * 2 // 3]), compress=False)
        writer.finish(manifest)
    before = await rows(place, "chats")
    with pytest.raises(ProgramFailed, match="pg_restore"):
        await restore(place, forged, force=True)
    assert await rows(place, "chats") == before


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_a_newer_archive_is_left_to_the_newer_version(
    place: Installation, other: Installation, tmp_path: Path
) -> None:
    file, newer = tmp_path / "backup", tmp_path / "newer"
    await back_up(place, file)
    for field in ("format", "schema_version"):
        shutil.copy(file, newer)
        with ArchiveReader(file) as reader:
            raised = msgspec.structs.replace(reader.manifest, **{field: 999})
            parts = {name: b"".join(reader.chunks(name)) for name in raised.parts}
        with zipfile.ZipFile(newer, "w") as forged:
            forged.writestr("manifest.json", msgspec.json.encode(raised))
            for name, data in parts.items():
                forged.writestr(name, data)
        with pytest.raises(NotAnArchive, match="newer version"):
            await restore(other, newer, force=True)


async def test_a_backup_that_fails_leaves_no_file(place: Installation, empty_database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    empty = Installation(nats_url=place.nats_url, database_url=empty_database_url, keys=None)
    with pytest.raises(BackupError, match="no schema"):
        await back_up(empty, file)
    wrong = place.database_url.replace(":test@", ":wrong@")
    with pytest.raises(BackupError, match=r"Postgres cannot be used: .*password"):
        await back_up(Installation(nats_url=place.nats_url, database_url=wrong, keys=None), file)
    with pytest.raises(BackupError, match="NATS does not answer at 127"):
        await back_up(Installation(nats_url="nats://127.0.0.1:1", database_url=place.database_url, keys=None), file)
    assert _files(tmp_path) == []


async def test_thousands_of_pending_messages_are_restored_in_order(
    place: Installation, other: Installation, tmp_path: Path
) -> None:
    async with ConnectedNeighbour(place) as before:
        chat = new_id()
        for number in range(2000):
            event = prompt(chat, str(number))
            await before.nc.publish(f"chat.{chat}.prompt.submitted", msgspec.json.encode(event))
        await wait_until_processed(before.nc)

        async def stored() -> bool:
            return (await before.js.stream_info("CHAT")).state.messages == 2000

        await eventually(stored, what="all being stored")
    await back_up(place, tmp_path / "backup")
    await restore(other, tmp_path / "backup", force=False)
    async with ConnectedNeighbour(other) as after:
        subscription = await after.js.subscribe(ANY_PROMPT_SUBMITTED, ordered_consumer=True)
        contents = [msgspec.json.decode((await subscription.next_msg(10)).data)["content"] for _ in range(2000)]
    assert contents == [str(number) for number in range(2000)]
