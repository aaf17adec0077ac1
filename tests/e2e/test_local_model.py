"""SmolLM2-135M, a real model, as the provider: nothing of it is scripted."""

import ctypes.util
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from parley_cli.local_model import server as local_model
from parley_client import ChatState, ParleyClient
from parley_client.state import Generation
from tests.support.stack import RunningStack

pytestmark = [
    pytest.mark.skipif(
        ctypes.util.find_library("gomp") is None, reason="llama.cpp needs libgomp.so.1 (Debian: libgomp1)"
    ),
    pytest.mark.skipif(
        local_model.model_file() is None, reason="the wheels of SmolLM2-135M are not installed on this machine"
    ),
    # At ten tokens a second on a busy machine.
    pytest.mark.timeout(300),
]

_LONG = "Tell me a long story about a ship, a storm and an island."


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("local-model") / "data"
    environment = {"MODEL": "smollm2", "ACK_WAIT": "5"}
    with RunningStack(folder, "--llm-worker", "2", environment=environment) as running:
        yield running


@pytest.fixture
async def client(stack: RunningStack) -> AsyncIterator[ParleyClient]:
    async with stack.client() as client:
        yield client


def _said(characters: int) -> Callable[[ChatState], Generation | None]:
    """Return a condition that gives the running answer once it is longer than that."""

    def condition(state: ChatState) -> Generation | None:
        return state.generation if state.generation and len(state.generation.text) > characters else None

    return condition


def _of_later_attempt(running: Generation | None, attempt: int) -> Generation | None:
    return running if running is not None and running.attempt > attempt else None


async def test_a_real_model_answers_with_its_usage(client: ParleyClient) -> None:
    chat = await client.api.create_chat()
    async with client.watch(chat.id) as watch:
        prompt = await client.api.send(chat.id, "Say hello in five words.")
        answer = await watch.answer_to(prompt, timeout=200)
    assert answer.status == "complete"
    assert answer.model == "smollm2", "the model of MODEL is the default"
    assert answer.content.strip()
    assert answer.usage is not None
    assert answer.usage.input_tokens > 5
    assert answer.usage.output_tokens > 0


async def test_an_answer_of_a_real_model_is_stopped_and_the_next_one_starts(client: ParleyClient) -> None:
    chat = await client.api.create_chat()
    async with client.watch(chat.id) as watch:
        prompt = await client.api.send(chat.id, _LONG)
        await watch.until(_said(20), timeout=90)
        await client.api.stop(chat.id)
        answer = await watch.answer_to(prompt, timeout=20)
        assert answer.status == "stopped"
        assert len(answer.content) > 20
        again = await client.api.send(chat.id, "Say yes.")
        await watch.until(_said(0), timeout=90)  # the model server was freed by the stop
        await client.api.stop(chat.id)
        assert (await watch.answer_to(again, timeout=20)).content


async def test_a_reader_who_comes_back_in_mid_answer_sees_all_of_it(client: ParleyClient) -> None:
    chat = await client.api.create_chat()
    async with client.watch(chat.id) as watch:
        prompt = await client.api.send(chat.id, _LONG)
        seen = (await watch.until(_said(40), timeout=90)).text
    async with client.watch(chat.id) as watch:
        running = await watch.until(_said(len(seen)), timeout=90)
        assert running.text.startswith(seen)
        await client.api.stop(chat.id)
        answer = await watch.answer_to(prompt, timeout=20)
    assert answer.content.startswith(seen)


async def test_another_worker_takes_a_real_answer_over_after_a_kill(stack: RunningStack, client: ParleyClient) -> None:
    chat = await client.api.create_chat()
    async with client.watch(chat.id) as watch:
        prompt = await client.api.send(chat.id, _LONG)
        attempt = (await watch.until(_said(20), timeout=90)).attempt
        for worker in stack.state.of("llm-worker").values():
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
        await watch.until(lambda state: _of_later_attempt(_said(20)(state), attempt), timeout=90)
        await client.api.stop(chat.id)
        answer = await watch.answer_to(prompt, timeout=20)
        seen = watch.state.message(answer.id)
    assert answer.status == "stopped"
    assert seen == answer == (await client.api.all_messages(chat.id))[-1]
