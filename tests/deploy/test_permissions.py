"""The bus is not open: each user may do what it must, and its neighbour's subjects are refused by a real server."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from parley.contracts import rpc, streams, subjects
from parley.contracts.access import permissions
from parley.contracts.events import GenerationFinished, GenerationRequested, GenerationSegment, PromptSubmitted
from parley.contracts.ids import new_id
from parley.runtime.nats import authorization, dead_letters
from parley.runtime.nats.connect import connect, wait_until_processed
from parley.runtime.nats.errors import NoResponder
from parley.runtime.nats.provision import provision
from parley.runtime.nats.publish import publish_durable
from parley.runtime.nats.requests import ask
from parley.runtime.nats.requirements import require
from parley_cli.embedded.ports import LOOPBACK
from tests.deploy.support.nats import DeployedNats
from tests.deploy.support.paths import DEPLOY
from tests.support.bus_passwords import random_passwords

CHAT = "0190a1b2-0000-7000-8000-000000000001"
GENERATION = "0190a1b2-0000-7000-8000-000000000002"

# Per user: what it must be able to do, and what it must not. "pub" and "sub" as in NATS.
ALLOWED = {
    "gateway": (
        f"pub chat.{CHAT}.prompt.submitted",
        "pub rpc.store.create_chat",
        "pub rpc.store.check_access",
        "pub rpc.models.list",
        "pub $JS.API.STREAM.INFO.CHAT",
        "pub audit.sign_in_refused",
        "sub _INBOX.gateway.x.*",
    ),
    "chat-store": (
        "sub rpc.store.*",
        "sub rpc.store.claim",
        f"pub chat.{CHAT}.generation.requested",
        f"pub live.{CHAT}.changed",
        f"pub ctl.generation.{GENERATION}.stop",
        f"pub rpc.generation.{GENERATION}.snapshot",
        f"pub dead.chat-store-prompts.{CHAT}",
        f"pub live.{CHAT}.rejected",
        "pub $JS.API.CONSUMER.MSG.NEXT.CHAT.chat-store-prompts",
        "pub $JS.ACK.CHAT.chat-store-finished.1.1.1.1.0",
        "sub _INBOX.chat-store.x",
    ),
    "llm-worker": (
        f"pub live.{CHAT}.delta",
        f"pub live.{CHAT}.generation",
        f"pub chat.{CHAT}.generation.segment",
        f"pub chat.{CHAT}.generation.finished",
        "pub rpc.store.claim",
        "pub rpc.store.release",
        f"pub dead.llm-worker-requests.{CHAT}",
        "pub $JS.API.CONSUMER.MSG.NEXT.CHAT.llm-worker-requests",
        f"sub rpc.generation.{GENERATION}.snapshot",
        f"sub ctl.generation.{GENERATION}.stop",
        "sub rpc.models.list",
        "sub _INBOX.llm-worker.x",
    ),
    "push": (
        f"sub live.{CHAT}.>",
        "pub rpc.store.sync",
        "pub rpc.store.versions",
        f"pub rpc.generation.{GENERATION}.snapshot",
        "sub _INBOX.push.x",
    ),
    "migrate": (
        "pub $JS.API.STREAM.CREATE.CHAT",
        "pub $JS.API.STREAM.INFO.DEAD_LETTERS",
        "sub _INBOX.migrate.x",
    ),
    "operator": (
        "pub $JS.API.STREAM.MSG.DELETE.DEAD_LETTERS",
        "pub $JS.API.STREAM.SNAPSHOT.CHAT",
        f"pub chat.{CHAT}.prompt.submitted",
        "sub _INBOX.operator.x",
    ),
}
REFUSED = {
    "gateway": (
        "pub rpc.store.claim",
        "pub rpc.store.sync",
        f"pub chat.{CHAT}.generation.requested",
        f"pub chat.{CHAT}.generation.finished",
        f"pub live.{CHAT}.delta",
        f"pub ctl.generation.{GENERATION}.stop",
        "pub dead.chat-store-prompts",
        "pub _INBOX.push.x",
        "pub $JS.API.STREAM.PURGE.CHAT",
        "pub audit.user_erased",
        "pub $JS.API.STREAM.MSG.GET.CHAT",
        "pub $JS.API.CONSUMER.MSG.NEXT.CHAT.chat-store-prompts",
        "sub rpc.store.create_chat",
        "sub live.*.>",
        "sub chat.>",
        "sub _INBOX.>",
        "sub _INBOX.chat-store.>",
        "sub >",
    ),
    "chat-store": (
        f"pub chat.{CHAT}.prompt.submitted",
        f"pub chat.{CHAT}.generation.finished",
        f"pub live.{CHAT}.delta",
        "pub rpc.store.claim",
        "pub _INBOX.gateway.x",
        "pub dead.llm-worker-requests",
        "pub $JS.API.STREAM.DELETE.CHAT",
        "pub $JS.API.CONSUMER.MSG.NEXT.CHAT.llm-worker-requests",
        "pub $JS.ACK.CHAT.llm-worker-requests.1.1.1.1.0",
        "sub _INBOX.gateway.>",
        "sub live.*.>",
        f"sub rpc.generation.{GENERATION}.snapshot",
    ),
    "llm-worker": (
        "pub rpc.store.create_chat",
        "pub rpc.store.delete_chat",
        f"pub live.{CHAT}.changed",
        f"pub chat.{CHAT}.prompt.submitted",
        f"pub chat.{CHAT}.generation.requested",
        "pub _INBOX.push.x",
        "pub $JS.API.CONSUMER.DELETE.CHAT.llm-worker-requests",
        "pub $JS.API.STREAM.MSG.GET.CHAT",
        "sub rpc.store.*",
        "sub chat.*.prompt.submitted",
        "sub live.*.>",
        "sub _INBOX.>",
    ),
    "push": (
        f"pub live.{CHAT}.delta",
        "pub rpc.store.get_chat",
        "pub rpc.store.put_member",
        f"pub chat.{CHAT}.prompt.submitted",
        f"pub ctl.generation.{GENERATION}.stop",
        "pub $JS.API.STREAM.INFO.CHAT",
        "sub live.>",
        "sub rpc.store.*",
        "sub rpc.generation.*.snapshot",
        "sub _INBOX.gateway.>",
    ),
    "migrate": (
        "pub $JS.API.STREAM.DELETE.CHAT",
        "pub $JS.API.STREAM.PURGE.CHAT",
        f"pub chat.{CHAT}.prompt.submitted",
        "sub chat.>",
    ),
    "operator": (
        "pub rpc.store.claim",
        f"pub live.{CHAT}.delta",
        "sub live.*.>",
        "sub rpc.store.*",
        "sub _INBOX.gateway.>",
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedNats]:
    server = DeployedNats(tmp_path_factory.mktemp("nats"))
    with server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def provisioned(server: DeployedNats) -> list[str]:
    """The user `migrate` creates all streams and consumers."""

    async def migrate() -> list[str]:
        async with connected(server, "migrate") as nc:
            return await provision(nc)

    return asyncio.run(migrate())


@asynccontextmanager
async def connected(server: DeployedNats, user: str, errors: list[Exception] | None = None) -> AsyncIterator[Client]:
    async def on_error(error: Exception) -> None:
        if errors is not None:
            errors.append(error)

    nc = await connect(server.url_of(user), name=f"test of {user}", on_error=on_error)
    try:
        yield nc
    finally:
        await nc.close()


async def refusals(server: DeployedNats, user: str, action: str) -> list[Exception]:
    """What the server says when ``user`` does ``action``; nothing when it may."""
    verb, subject = action.split(" ")
    errors: list[Exception] = []
    async with connected(server, user, errors) as nc:
        if verb == "pub":
            await nc.publish(subject, b"")
        else:
            await nc.subscribe(subject)
        await wait_until_processed(nc)
    return errors


def _cases(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(user, action) for user, actions in table.items() for action in actions]


@pytest.mark.parametrize(("user", "action"), _cases(ALLOWED))
async def test_a_user_may_do_what_it_must(server: DeployedNats, user: str, action: str) -> None:
    assert await refusals(server, user, action) == []


@pytest.mark.parametrize(("user", "action"), _cases(REFUSED))
async def test_a_neighbours_subject_is_refused(server: DeployedNats, user: str, action: str) -> None:
    errors = await refusals(server, user, action)
    assert any("permissions violation" in str(error).lower() for error in errors), errors


@pytest.mark.parametrize("user", [None, *(user.user for user in permissions.USERS)])
def test_nobody_enters_without_the_password(server: DeployedNats, user: str | None) -> None:
    options = {"verbose": False} if user is None else {"verbose": False, "user": user, "pass": "guess"}
    with socket.create_connection((LOOPBACK, server.port), timeout=5) as client, client.makefile("rwb") as stream:
        assert json.loads(stream.readline().removeprefix(b"INFO "))["auth_required"] is True
        stream.write(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
        stream.flush()
        assert stream.readline() == b"-ERR 'Authorization Violation'\r\n"


async def test_the_migration_creates_everything_that_is_declared(provisioned: list[str]) -> None:
    declared = [spec.name for spec in (*streams.STREAMS, *streams.CONSUMERS)]
    assert sorted(provisioned) == sorted(declared)


async def test_a_prompt_and_an_answer_travel_between_the_users_that_they_are_for(server: DeployedNats) -> None:
    now = datetime.now(UTC)
    prompt = PromptSubmitted(chat_id=CHAT, occurred_at=now, message_id=new_id(), user_id=new_id(), content="Hello")
    request = GenerationRequested(
        chat_id=CHAT, occurred_at=now, generation_id=GENERATION, message_id=prompt.message_id, request=1
    )
    finished = GenerationFinished(
        chat_id=CHAT,
        occurred_at=now,
        generation_id=GENERATION,
        message_id=prompt.message_id,
        attempt=1,
        outcome="complete",
        text="Hello!",
        model="demo",
    )
    refused: list[Exception] = []
    async with (
        connected(server, "gateway", refused) as gateway,
        connected(server, "chat-store", refused) as store,
        connected(server, "llm-worker", refused) as worker,
    ):
        await require(gateway.jetstream(), streams=(streams.CHAT,))
        await require(
            store.jetstream(),
            streams=(streams.CHAT, streams.ADVISORIES),
            consumers=(streams.CHAT_STORE_PROMPTS, streams.CHAT_STORE_FINISHED, streams.CHAT_STORE_ADVISORIES),
        )
        await require(
            worker.jetstream(), streams=(streams.CHAT, streams.SEGMENTS), consumers=(streams.LLM_WORKER_REQUESTS,)
        )
        await publish_durable(gateway.jetstream(), prompt, deadline=5)
        await _take(store, streams.CHAT_STORE_PROMPTS)
        await publish_durable(store.jetstream(), request, deadline=5)
        message = await _take(worker, streams.LLM_WORKER_REQUESTS)
        await dead_letters.publish(
            worker.jetstream(), consumer=streams.LLM_WORKER_REQUESTS.name, message=message, reason="a test"
        )
        await publish_durable(worker.jetstream(), finished, deadline=5)
        await _take(store, streams.CHAT_STORE_FINISHED)
    assert refused == []


async def _take(nc: Client, consumer: streams.ConsumerSpec) -> Msg:
    """Take one message as a service does: fetch, send in_progress, acknowledge."""
    pull = await nc.jetstream().pull_subscribe_bind(consumer.name, consumer.stream)
    (message,) = await pull.fetch(1, timeout=5)
    await message.in_progress()
    await message.ack_sync(timeout=5)
    return message


async def test_what_an_operator_needs_in_an_outage_can_be_read_back(server: DeployedNats) -> None:
    segment = GenerationSegment(
        chat_id=CHAT, occurred_at=datetime.now(UTC), generation_id=GENERATION, attempt=1, from_=1, to=1, text="Hello"
    )
    refused: list[Exception] = []
    async with connected(server, "llm-worker", refused) as worker, connected(server, "chat-store", refused) as store:
        await publish_durable(worker.jetstream(), segment, deadline=5)
        # The partial text of an answer whose attempts are used up.
        stored = await worker.jetstream().get_last_msg(streams.SEGMENTS.name, subjects.generation_segment(CHAT))
        assert stored.data is not None
        # The event that an advisory is about, and how far the workers are.
        await store.jetstream().publish(subjects.generation_requested(CHAT), b"{}")
        stored = await store.jetstream().get_last_msg(streams.CHAT.name, subjects.generation_requested(CHAT))
        assert stored.data == b"{}"
        await store.jetstream().consumer_info(streams.CHAT.name, streams.LLM_WORKER_REQUESTS.name)
    assert refused == []


async def test_a_request_is_answered_to_the_one_that_asked(server: DeployedNats) -> None:
    errors: list[Exception] = []
    async with connected(server, "push", errors) as push, connected(server, "chat-store", errors) as store:

        async def answer(message: Msg) -> None:
            await message.respond(b'{"type":"versions","moved":{}}')

        await store.subscribe(subjects.rpc_store(rpc.Versions.VERB), queue="chat-store", cb=answer)
        await wait_until_processed(store)
        reply = await ask(push, rpc.Versions(chats={}), timeout=5)
    assert reply.moved == {}
    assert errors == []


async def test_a_request_is_answered_once(server: DeployedNats) -> None:
    errors: list[Exception] = []
    asked = asyncio.Event()
    async with connected(server, "push") as push, connected(server, "chat-store", errors) as store:

        async def answer_twice(message: Msg) -> None:
            await message.respond(b"{}")
            await message.respond(b"{}")
            asked.set()

        await store.subscribe(subjects.rpc_store(rpc.Sync.VERB), cb=answer_twice)
        await wait_until_processed(store)
        await push.request(subjects.rpc_store(rpc.Sync.VERB), b"", timeout=5)
        await asyncio.wait_for(asked.wait(), 5)
        await wait_until_processed(store)
    assert len(errors) == 1


async def test_nobody_listening_is_said_at_once_to_a_user_with_its_own_inbox(server: DeployedNats) -> None:
    async with connected(server, "push") as push:
        with pytest.raises(NoResponder):
            await ask(push, rpc.SnapshotRequest(), subject=subjects.rpc_generation_snapshot(new_id()), timeout=5)


def test_the_committed_configuration_is_what_the_permissions_say() -> None:
    committed = (DEPLOY / "nats" / "authorization.conf").read_text()
    assert committed == authorization.render(), "write it anew: .venv/bin/python deploy/nats/render.py"


async def test_random_passwords_make_a_configuration_that_the_server_takes(tmp_path: Path) -> None:
    passwords = random_passwords()
    assert len(set(passwords.values())) == len(permissions.USERS)
    server = DeployedNats(tmp_path, authorization=authorization.render(passwords))
    with server:
        for user in permissions.USERS:
            nc = await nats.connect(server.url_of(user.user, passwords), allow_reconnect=False)
            await nc.close()


def test_every_subject_has_somebody_who_may_publish_it() -> None:
    published = {subject for user in permissions.USERS for subject in user.publish}
    for name in subjects.TEMPLATES:
        if name in ("rpc_store", "dead_letter"):
            continue
        assert permissions._template(name) in published, name
    assert {subjects.dead_letter(consumer.name, "*") for consumer in streams.CONSUMERS} <= published


def test_every_verb_of_chat_store_may_be_asked_by_somebody() -> None:
    published = {subject for user in permissions.USERS for subject in user.publish}
    assert {subjects.rpc_store(verb) for verb in rpc.STORE_REQUESTS} <= published


async def test_the_server_writes_down_what_it_refused(server: DeployedNats) -> None:
    await refusals(server, "push", "pub rpc.store.delete_chat")
    assert 'user:push" - Publish Violation - Subject "rpc.store.delete_chat"' in server.log_file.read_text()
