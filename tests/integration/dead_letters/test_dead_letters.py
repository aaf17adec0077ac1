"""``parley dead-letters``, against a real nats-server."""

import argparse
import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from parley.contracts import streams, subjects
from parley.runtime.nats import authorization, dead_letters
from parley.runtime.nats.connect import connect
from parley.runtime.nats.provision import provision
from parley_cli.dead_letters import command
from parley_cli.dead_letters.errors import NoAddress, NoSuchLetter
from parley_cli.dead_letters.queue import DeadLetterBox
from parley_cli.embedded.nats import NatsServer
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
def box(js: JetStreamContext) -> DeadLetterBox:
    return DeadLetterBox(js)


async def take(js: JetStreamContext) -> Msg:
    """The next prompt event, as chat-store would fetch it."""
    subscription = await js.pull_subscribe_bind(PROMPTS.name, stream=PROMPTS.stream)
    (message,) = await subscription.fetch(1, timeout=10)
    await subscription.unsubscribe()
    return message


async def bury(js: JetStreamContext, body: bytes, *, chat: str = "c1", reason: str = "does not decode") -> None:
    """Publish a prompt event that its consumer gives up on."""
    headers = {"Nats-Msg-Id": f"{chat}:m1", "traceparent": "00-abc"}
    await js.publish(subjects.prompt_submitted(chat), body, headers=headers)
    message = await take(js)
    await dead_letters.publish(js, consumer=PROMPTS.name, message=message, reason=reason)
    await message.ack_sync()


async def test_a_letter_says_what_died_where_and_why(js: JetStreamContext, box: DeadLetterBox) -> None:
    await bury(js, b'{"damaged', reason="JSON is\ntruncated")
    (letter,) = [letter async for letter in box.letters()]
    assert letter == await box.letter(letter.number)
    assert letter.consumer == "chat-store-prompts"
    assert letter.reason == "JSON is truncated"
    assert letter.subject == "chat.c1.prompt.submitted"
    assert (letter.stream, letter.sequence, letter.deliveries) == ("CHAT", 1, 1)
    assert letter.headers == {"traceparent": "00-abc"}
    assert letter.body == b'{"damaged'


async def test_replay_brings_the_original_to_its_consumer_again_within_the_window_of_its_id(
    js: JetStreamContext, box: DeadLetterBox
) -> None:
    await bury(js, b'{"v": 2}')
    (letter,) = [letter async for letter in box.letters()]
    await box.replay(letter.number)
    again = await take(js)
    assert again.subject == "chat.c1.prompt.submitted"
    assert again.data == b'{"v": 2}'
    assert again.headers is not None
    assert again.headers["traceparent"] == "00-abc"
    assert again.headers["Nats-Msg-Id"] == letter.replay_id
    assert not [name for name in again.headers if name.startswith("Parley-Dead")]
    assert [letter async for letter in box.letters()] == []


async def test_a_replay_that_dies_again_is_a_new_letter(js: JetStreamContext, box: DeadLetterBox) -> None:
    await bury(js, b"x")
    await box.replay(1)
    message = await take(js)
    await dead_letters.publish(js, consumer=PROMPTS.name, message=message, reason="still")
    (letter,) = [letter async for letter in box.letters()]
    assert (letter.number, letter.reason) == (2, "still")


async def test_a_replay_cut_off_before_the_removal_is_sent_once(
    js: JetStreamContext, box: DeadLetterBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(js, b"x")

    async def lost(number: int) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(box, "drop", lost)
        with pytest.raises(ConnectionError):
            await box.replay(1)
    assert (await box.letter(1)).body == b"x"
    await box.replay(1)
    assert (await js.stream_info("CHAT")).state.messages == 2


async def test_a_letter_without_an_address_can_only_be_dropped(js: JetStreamContext, box: DeadLetterBox) -> None:
    await js.publish("dead.somebody.chat", b"?")
    with pytest.raises(NoAddress):
        await box.replay(1)
    await box.drop(1)
    with pytest.raises(NoSuchLetter):
        await box.letter(1)
    with pytest.raises(NoSuchLetter):
        await box.drop(1)


async def test_letters_of_one_consumer(js: JetStreamContext, box: DeadLetterBox) -> None:
    await js.publish("dead.a.chat", b"1")
    await js.publish("dead.b.chat", b"2")
    await js.publish("dead.a.chat", b"3")
    assert [letter.body async for letter in box.letters("a")] == [b"1", b"3"]
    assert [letter.body async for letter in box.letters()] == [b"1", b"2", b"3"]


# --- the command ------------------------------


async def parley_dead_letters(nats_url: str, *words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = parser.parse_args([words[0], *words[1:], "--nats-url", nats_url])
    return await asyncio.to_thread(command.run, arguments)


async def test_the_command_lists_shows_replays_and_drops(
    nats_url: str, js: JetStreamContext, capsys: pytest.CaptureFixture[str]
) -> None:
    await bury(js, b'{"v": 99}', chat="c1", reason="version 99 is from the future")
    await bury(js, b"\xff\xfe", chat="c2")
    await bury(js, b"{}", chat="c3")

    assert await parley_dead_letters(nats_url, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "version 99 is from the future" in lines[0]
    assert "chat.c1.prompt.submitted" in lines[0]

    assert await parley_dead_letters(nats_url, "show", "1") == 0
    assert '"v": 99' in capsys.readouterr().out
    assert await parley_dead_letters(nats_url, "show", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["body"] == r"\xff\xfe"

    assert await parley_dead_letters(nats_url, "replay", "1") == 0
    assert (await take(js)).data == b'{"v": 99}'
    assert await parley_dead_letters(nats_url, "drop", "--all") == 0
    capsys.readouterr()
    assert await parley_dead_letters(nats_url, "list") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("show", "7"), 1, "no dead letter 7"),
        (("replay",), 2, "by their numbers"),
        (("drop", "1", "--all"), 2, "by their numbers"),
    ],
)
async def test_a_wrong_command_says_what_is_wrong(
    nats_url: str, nc: Client, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    assert await parley_dead_letters(nats_url, *words) == code
    assert said in capsys.readouterr().err


async def test_a_server_that_is_away_or_empty_is_named(
    nats_url: str, unused_tcp_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await parley_dead_letters(f"nats://127.0.0.1:{unused_tcp_port}", "list") == 1
    assert "NATS does not answer" in capsys.readouterr().err
    assert await parley_dead_letters(nats_url, "list") == 1
    assert "DEAD_LETTERS does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nats://operator:wrong@{address}", "refuses the user or the password (operator). Set NATS_URL to "),
        ("mysql://{address}", "NATS_URL begins with mysql://, which is no address of NATS."),
    ],
)
def test_what_is_wrong_with_the_server_is_told(
    url: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with NatsServer(tmp_path, passwords=authorization.random_passwords()) as server:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        address = url.format(address=f"127.0.0.1:{server.port}")
        assert command.run(parser.parse_args(["list", "--nats-url", address])) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert "wrong" not in said


async def test_a_server_that_hangs_ends_a_command_within_its_deadline(
    nats_server: NatsServer, nc: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    pause(nats_server.process.pid)
    try:
        arguments = parser.parse_args(["list", "--nats-url", nats_server.url, "--timeout", "1"])
        assert await asyncio.to_thread(command.run, arguments) == 1
    finally:
        nats_server.process.send_signal(signal.SIGCONT)
    assert "parley: NATS did not answer all of it within 1 seconds." in capsys.readouterr().err
