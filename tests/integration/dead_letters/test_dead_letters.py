"""``parley dead-letters``, against a real nats-server."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from typer.testing import CliRunner, Result

from parley.contracts import streams, subjects
from parley.runtime.nats import dead_letters
from parley.runtime.nats.connect import connect
from parley.runtime.nats.provision import provision
from parley_cli.dead_letters.errors import NoOriginalSubject, NoSuchDeadLetter
from parley_cli.dead_letters.queue import DeadLetterQueue
from parley_cli.embedded.nats import NatsServer
from parley_cli.main import app
from tests.support.bus_passwords import random_passwords
from tests.support.pausing import pause

PROMPTS = streams.CHAT_STORE_PROMPTS


@pytest.fixture
async def nc(nats_url: str) -> AsyncIterator[Client]:
    client = await connect(nats_url, name="test")
    await provision(client)
    yield client
    await client.close()


@pytest.fixture
def js(nc: Client) -> JetStreamContext:
    return nc.jetstream(timeout=10)


@pytest.fixture
def queue(js: JetStreamContext) -> DeadLetterQueue:
    return DeadLetterQueue(js)


async def fetch_prompt(js: JetStreamContext) -> Msg:
    """The next prompt event, as chat-store would fetch it."""
    subscription = await js.pull_subscribe_bind(PROMPTS.name, stream=PROMPTS.stream)
    (message,) = await subscription.fetch(1, timeout=10)
    await subscription.unsubscribe()
    return message


async def dead_letter(js: JetStreamContext, body: bytes, *, chat: str = "c1", reason: str = "does not decode") -> None:
    """Publish a prompt event that its consumer gives up on."""
    headers = {"Nats-Msg-Id": f"{chat}:m1", "traceparent": "00-abc"}
    await js.publish(subjects.prompt_submitted(chat), body, headers=headers)
    message = await fetch_prompt(js)
    await dead_letters.publish(js, consumer=PROMPTS.name, message=message, reason=reason)
    await message.ack_sync()


async def test_a_letter_says_what_died_where_and_why(js: JetStreamContext, queue: DeadLetterQueue) -> None:
    await dead_letter(js, b'{"damaged', reason="JSON is\ntruncated")
    (letter,) = [letter async for letter in queue.letters()]
    assert letter == await queue.letter(letter.number)
    assert letter.consumer == "chat-store-prompts"
    assert letter.reason == "JSON is truncated"
    assert letter.subject == "chat.c1.prompt.submitted"
    assert (letter.stream, letter.sequence, letter.deliveries) == ("CHAT", 1, 1)
    assert letter.headers == {"traceparent": "00-abc"}
    assert letter.body == b'{"damaged'


async def test_replay_brings_the_original_to_its_consumer_again_within_the_window_of_its_id(
    js: JetStreamContext, queue: DeadLetterQueue
) -> None:
    await dead_letter(js, b'{"v": 2}')
    (letter,) = [letter async for letter in queue.letters()]
    await queue.replay(letter.number)
    again = await fetch_prompt(js)
    assert again.subject == "chat.c1.prompt.submitted"
    assert again.data == b'{"v": 2}'
    assert again.headers is not None
    assert again.headers["traceparent"] == "00-abc"
    assert again.headers["Nats-Msg-Id"] == letter.replay_id
    assert not [name for name in again.headers if name.startswith("Parley-Dead")]
    assert [letter async for letter in queue.letters()] == []


async def test_a_replay_that_dies_again_is_a_new_letter(js: JetStreamContext, queue: DeadLetterQueue) -> None:
    await dead_letter(js, b"x")
    await queue.replay(1)
    message = await fetch_prompt(js)
    await dead_letters.publish(js, consumer=PROMPTS.name, message=message, reason="still")
    (letter,) = [letter async for letter in queue.letters()]
    assert (letter.number, letter.reason) == (2, "still")


async def test_a_replay_cut_off_before_the_removal_is_sent_once(
    js: JetStreamContext, queue: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dead_letter(js, b"x")

    async def lost(number: int) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(queue, "drop", lost)
        with pytest.raises(ConnectionError):
            await queue.replay(1)
    assert (await queue.letter(1)).body == b"x"
    await queue.replay(1)
    assert (await js.stream_info("CHAT")).state.messages == 2


async def test_a_letter_without_an_address_can_only_be_dropped(js: JetStreamContext, queue: DeadLetterQueue) -> None:
    await js.publish("dead.somebody.chat", b"?")
    with pytest.raises(NoOriginalSubject):
        await queue.replay(1)
    await queue.drop(1)
    with pytest.raises(NoSuchDeadLetter):
        await queue.letter(1)
    with pytest.raises(NoSuchDeadLetter):
        await queue.drop(1)


async def test_letters_of_one_consumer(js: JetStreamContext, queue: DeadLetterQueue) -> None:
    await js.publish("dead.a.chat", b"1")
    await js.publish("dead.b.chat", b"2")
    await js.publish("dead.a.chat", b"3")
    assert [letter.body async for letter in queue.letters("a")] == [b"1", b"3"]
    assert [letter.body async for letter in queue.letters()] == [b"1", b"2", b"3"]


# --- the command ------------------------------


def run_command(*words: str) -> Result:
    return CliRunner().invoke(app, ["dead-letters", *words])


async def parley_dead_letters(nats_url: str, *words: str) -> Result:
    return await asyncio.to_thread(run_command, *words, "--nats-url", nats_url)


async def test_the_command_lists_shows_replays_and_drops(nats_url: str, js: JetStreamContext) -> None:
    await dead_letter(js, b'{"v": 99}', chat="c1", reason="version 99 is from the future")
    await dead_letter(js, b"\xff\xfe", chat="c2")
    await dead_letter(js, b"{}", chat="c3")

    done = await parley_dead_letters(nats_url, "list")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert "version 99 is from the future" in lines[0]
    assert "chat.c1.prompt.submitted" in lines[0]

    done = await parley_dead_letters(nats_url, "show", "1")
    assert done.exit_code == 0
    assert '"v": 99' in done.stdout
    done = await parley_dead_letters(nats_url, "show", "2", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["body"] == r"\xff\xfe"

    assert (await parley_dead_letters(nats_url, "replay", "1")).exit_code == 0
    assert (await fetch_prompt(js)).data == b'{"v": 99}'
    assert (await parley_dead_letters(nats_url, "drop", "--all")).exit_code == 0
    done = await parley_dead_letters(nats_url, "list")
    assert (done.exit_code, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("show", "7"), 1, "no dead letter 7"),
        (("replay",), 2, "by their numbers"),
        (("drop", "1", "--all"), 2, "by their numbers"),
    ],
)
async def test_a_wrong_command_reports_what_is_wrong(
    nats_url: str, nc: Client, words: tuple[str, ...], code: int, message: str
) -> None:
    done = await parley_dead_letters(nats_url, *words)
    assert done.exit_code == code
    assert message in done.stderr


async def test_a_server_that_is_away_or_empty_is_named(nats_url: str, unused_tcp_port: int) -> None:
    done = await parley_dead_letters(f"nats://127.0.0.1:{unused_tcp_port}", "list")
    assert done.exit_code == 1
    assert "NATS does not answer" in done.stderr
    done = await parley_dead_letters(nats_url, "list")
    assert done.exit_code == 1
    assert "DEAD_LETTERS does not exist" in done.stderr


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nats://operator:wrong@{address}", "refuses the user or the password (operator). Set NATS_URL to "),
        ("mysql://{address}", "NATS_URL begins with mysql://, which is no address of NATS."),
    ],
)
def test_a_wrong_address_of_the_server_is_reported(url: str, sentence: str, tmp_path: Path) -> None:
    with NatsServer(tmp_path, passwords=random_passwords()) as server:
        done = run_command("list", "--nats-url", url.format(address=f"127.0.0.1:{server.port}"))
    assert done.exit_code == 1
    assert sentence in done.stderr
    assert "wrong" not in done.stderr


async def test_a_server_that_hangs_ends_a_command_within_its_deadline(nats_server: NatsServer, nc: Client) -> None:
    pause(nats_server.process.pid)
    try:
        done = await parley_dead_letters(nats_server.url, "list", "--timeout", "1")
    finally:
        nats_server.process.send_signal(signal.SIGCONT)
    assert done.exit_code == 1
    assert "parley: NATS did not complete all requests within 1 seconds." in done.stderr
