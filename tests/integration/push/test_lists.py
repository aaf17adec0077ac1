"""A user's sockets are sent changes of the user's list of chats, and nobody else's are."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

from parley.contracts.access import permissions
from parley.contracts.frames import Invitations, Listed, Relist
from parley.contracts.ids import new_id
from parley.contracts.live import InvitationsChanged, ListChanged
from parley.contracts.resources import ChatSummary
from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.ports import free_port
from tests.integration.push.backend import Backend, backend_on
from tests.integration.push.conftest import Describe, describe_on, url_of
from tests.integration.push.reader import WebReader, reading
from tests.support.waiting import eventually

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def change(title: str = "Night trains", version: int = 2) -> ListChanged:
    chat_id = new_id()
    chat = ChatSummary(id=chat_id, title=title, updated_at=NOW, version=version, running=True)
    return ListChanged(chat_id=chat_id, version=version, chat=chat)


def listed(reader: WebReader) -> list[Listed]:
    return [frame for frame in reader.frames if isinstance(frame, Listed)]


def relists(reader: WebReader) -> int:
    return sum(isinstance(frame, Relist) for frame in reader.frames)


async def follows(reader: WebReader) -> None:
    await eventually(lambda: relists(reader) == 1, what="being asked to read the list")


async def test_all_sockets_of_a_user_that_asked_are_informed_and_nobody_else(
    backend: Backend, describe: Describe
) -> None:
    async with (
        describe() as here,
        describe() as there,
        reading(url_of(here), chats=True) as one,
        reading(url_of(there), chats=True) as other,
        reading(url_of(here)) as unasked,
        reading(url_of(here), "ben", chats=True) as stranger,
    ):
        for reader in (one, other, stranger):
            await follows(reader)
        changed = change()
        gone = ListChanged(chat_id=new_id(), version=9, chat=None)
        await backend.tell_list("ann", changed)
        await backend.tell_list("ann", gone)
        expected = [
            Listed(chat_id=changed.chat_id, version=2, chat=changed.chat),
            Listed(chat_id=gone.chat_id, version=9, chat=None),
        ]
        for reader in (one, other):
            await eventually(lambda: listed(reader) == expected)  # noqa: B023
        for reader in (unasked, stranger):
            await reader.follow(backend.new_chat("ann", "ben"))
            assert listed(reader) == []
        assert relists(unasked) == 0


async def test_a_user_is_informed_of_invitations_on_all_sockets_that_asked_and_nobody_else(
    backend: Backend, url: str
) -> None:
    async with (
        reading(url, chats=True) as one,
        reading(url, chats=True) as other,
        reading(url) as unasked,
        reading(url, "ben", chats=True) as stranger,
    ):
        for reader in (one, other, stranger):
            await eventually(lambda: relists(reader) >= 1)  # noqa: B023
        await backend.tell_list("ann", InvitationsChanged(chat_id=new_id()))
        for reader in (one, other):
            await eventually(lambda: Invitations() in reader.frames)  # noqa: B023
        for reader in (unasked, stranger):
            await reader.follow(backend.new_chat("ann", "ben"))
            assert Invitations() not in reader.frames


async def test_a_user_with_many_sockets_has_one_subscription(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, monitor_port=free_port())

    def subscriptions() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.monitor_port}/connz?subs=1", timeout=5) as answer:
            connections = json.load(answer)["connections"]
        return sum(
            subject.startswith("user.") for one in connections for subject in one.get("subscriptions_list") or ()
        )

    with server:
        async with backend_on(server.url) as backend, describe_on(server.url)() as push:
            async with reading(url_of(push), chats=True) as one, reading(url_of(push), chats=True) as other:
                for reader in (one, other):
                    await follows(reader)
                await eventually(lambda: subscriptions() == 1)
                await one.close()
                await backend.tell_list("ann", change())
                await eventually(lambda: len(listed(other)) == 1)
                assert subscriptions() == 1
            await eventually(lambda: subscriptions() == 0)


async def test_after_an_outage_of_nats_lists_are_read_again_at_different_times(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    with server:
        async with describe_on(server.url)() as push, reading(url_of(push), chats=True) as reader:
            await follows(reader)
            server.stop()
            server.start()
            await eventually(lambda: relists(reader) == 2)
            again = [frame for frame in reader.frames if isinstance(frame, Relist)][-1]
            assert again.within > 0
            async with backend_on(server.url) as backend:
                await backend.tell_list("ann", change())
                await eventually(lambda: len(listed(reader)) == 1)


async def test_a_socket_that_takes_no_more_is_asked_later_to_read_the_list_again(
    backend: Backend, describe: Describe
) -> None:
    async with describe() as push, reading(url_of(push), chats=True, max_queue=4) as reader:
        await follows(reader)
        reader.stop_reading()
        lists = 50_000
        await backend.tell_list("ann", *(change("A long title. " * 14) for _ in range(lists)))
        reader.go_on_reading()
        await eventually(lambda: relists(reader) >= 2, deadline=60)
        assert len(listed(reader)) < lists


async def test_push_may_follow_lists_as_its_user_on_the_bus(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, passwords={each.user: f"pass-{each.user}" for each in permissions.USERS})
    with server:
        async with (
            backend_on(server.url_of("chat-store"), server.url_of("llm-worker")) as backend,
            describe_on(server.url_of("push"))() as push,
            reading(url_of(push), chats=True) as reader,
        ):
            await follows(reader)
            await backend.tell_list("ann", change())
            await eventually(lambda: len(listed(reader)) == 1)


async def test_what_is_no_change_of_a_list_makes_it_read_again(backend: Backend, url: str) -> None:
    async with reading(url, chats=True) as reader:
        await follows(reader)
        await backend.tell_list("ann", b"nonsense")
        await eventually(lambda: relists(reader) == 2)
