"""Chat completions while push, the chat or the session goes away; who disconnects."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest

from parley.contracts import frames
from parley.contracts.ids import new_id
from parley.contracts.resources import Message, MessageError, Usage
from tests.integration.gateway.conftest import User
from tests.integration.gateway.fake_push import FakePush, Reader
from tests.integration.gateway.test_stream import ANSWER, GENERATION, chat_of, delta
from tests.support.chat_store.fake import FakeStore
from tests.support.waiting import eventually

COMPLETIONS = "/openai/v1/chat/completions"


def answer(prompt: Message, **fields: Any) -> Message:
    values: dict[str, Any] = {
        "id": ANSWER,
        "chat_id": prompt.chat_id,
        "parent_id": prompt.id,
        "role": "assistant",
        "author_id": None,
        "content": "",
        "reasoning": "",
        "status": "streaming",
        "model": "demo",
        "error": None,
        "usage": None,
        "created_at": datetime(2026, 11, 29, tzinfo=UTC),
        "version": 7,
        "attempt": 1,
    }
    return Message(**values | fields)


def complete(prompt: Message, content: str) -> frames.MessageFrame:
    usage = Usage(input_tokens=3, output_tokens=4)
    ended = answer(prompt, content=content, status="complete", finish_reason="stop", usage=usage)
    return frames.MessageFrame(chat_id=prompt.chat_id, version=8, message=ended)


def running(chat_id: str, text: str, seq: int, after: int = 0) -> frames.Snapshot:
    answer_so_far = frames.RunningAnswer(
        generation_id=GENERATION,
        message_id=ANSWER,
        attempt=1,
        status="running",
        seq=seq,
        after=after,
        text=text,
        reasoning="",
    )
    return snapshot(chat_id, generation=answer_so_far)


def snapshot(chat_id: str, generation: frames.RunningAnswer | None = None) -> frames.Snapshot:
    return frames.Snapshot(
        chat_id=chat_id, version=7, recovered=True, chat=chat_of(chat_id), messages=[], generation=generation
    )


class Completion:
    """A streamed completion: its events as they come."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.events: list[Any] = []
        self.done = False

    async def read(self) -> None:
        """Read to the end of the response."""
        async for line in self._lines:
            self._take(line)

    async def read_until(self, text: str) -> None:
        while self.text != text:
            self._take(await anext(self._lines))

    def _take(self, line: str) -> None:
        if line == "data: [DONE]":
            self.done = True
        elif line.startswith("data: "):
            self.events.append(json.loads(line[6:]))

    @property
    def text(self) -> str:
        choices = [event["choices"][0] for event in self.events if event.get("choices")]
        return "".join(choice["delta"].get("content") or "" for choice in choices)


class Scene:
    """A completion that was asked for, with its prompt and push's side of its stream."""

    def __init__(self, store: FakeStore, push: FakePush, prompt: Message, reader: Reader) -> None:
        self.store = store
        self.push = push
        self.prompt = prompt
        self.chat_id = prompt.chat_id
        self.reader = reader

    async def next_reader(self) -> Reader:
        self.reader = await self.push.reader()
        return self.reader


def body(**more: Any) -> dict[str, Any]:
    return {"model": "demo", "stream": True, "messages": [{"role": "user", "content": "Hello"}]} | more


@asynccontextmanager
async def asked(
    user: User,
    store: FakeStore,
    push: FakePush,
    more: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> AsyncIterator[tuple[Scene, Completion]]:
    """A stream that has begun: its text is ``one``. ``more``: members of the request."""

    async def serve() -> Scene:
        reader = await push.reader()
        [prompt] = store.chats.prompts.values()
        await reader.send(running(prompt.chat_id, "one ", 1))
        return Scene(store, push, prompt, reader)

    store.chats.answer_to = answer
    serving = asyncio.create_task(serve())
    async with user.http.stream("POST", COMPLETIONS, json=body(**more or {}), headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        completion = Completion(response)
        scene = await serving
        await completion.read_until("one ")
        yield scene, completion


async def test_a_stream_is_read_with_a_cursor_that_leaves_out_old_messages(
    user: User, store: FakeStore, push: FakePush
) -> None:
    async with asked(user, store, push) as (scene, completion):
        assert scene.reader.after == frames.Cursor(version=7)
        await scene.reader.send(delta(scene.chat_id, 2, "two"))
        await scene.reader.send(complete(scene.prompt, "one two"))
        await completion.read()
    assert completion.text == "one two"
    assert completion.done
    assert completion.events[-1]["choices"][0]["finish_reason"] == "stop"


async def test_a_push_that_crashes_is_not_noticed(user: User, store: FakeStore, push: FakePush) -> None:
    async with asked(user, store, push) as (scene, completion):
        scene.reader.cut()
        again = await scene.next_reader()
        assert again.after == frames.Cursor(version=7, generation_id=GENERATION, attempt=1, seq=1)
        await again.send(running(scene.chat_id, "two ", 2, after=1))
        await completion.read_until("one two ")
        await again.drain()
        last = await scene.next_reader()
        # This one cannot cut there, and sends the whole.
        await last.send(running(scene.chat_id, "one two three", 3))
        await last.send(complete(scene.prompt, "one two three four"))
        await completion.read()
    assert completion.text == "one two three four"
    assert completion.done


async def test_missing_chunks_are_read_again_from_the_beginning(user: User, store: FakeStore, push: FakePush) -> None:
    async with asked(user, store, push) as (scene, completion):
        await scene.reader.send(delta(scene.chat_id, 3, "three"))
        again = await scene.next_reader()
        assert again.after == frames.Cursor(version=7)
        await again.send(running(scene.chat_id, "one two three", 3))
        await again.send(complete(scene.prompt, "one two three"))
        await completion.read()
    assert completion.text == "one two three"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (lambda chat_id: frames.ChatFrame(chat_id=chat_id, version=9, chat=None), "not_found"),
        (lambda chat_id: frames.Error(code="session_ended", message="Ended.", chat_id=chat_id), "invalid_api_key"),
    ],
    ids=["the chat is deleted", "the session ends"],
)
async def test_a_stream_that_cannot_go_on_ends_with_an_error(
    user: User, store: FakeStore, push: FakePush, frame: Any, code: str
) -> None:
    async with asked(user, store, push) as (scene, completion):
        await scene.reader.send(frame(scene.chat_id))
        await completion.read()
    assert completion.events[-1]["error"]["code"] == code
    assert not completion.done


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "otters"}], ids=["without a key", "with a key"])
async def test_a_dropped_attempt_ends_the_stream_with_an_error(
    user: User, store: FakeStore, push: FakePush, headers: dict[str, str]
) -> None:
    async with asked(user, store, push, headers=headers) as (scene, completion):
        await scene.reader.send(
            frames.Generation(
                chat_id=scene.chat_id, generation_id=GENERATION, message_id=ANSWER, attempt=2, status="started"
            )
        )
        await completion.read()
    assert completion.events[-1]["error"]["code"] == "attempt_dropped"
    assert not completion.done
    assert store.asked["stop"] == (0 if headers else 1), "the answer goes on for who can ask for it again"


async def test_a_queued_prompt_is_waited_for(user: User, store: FakeStore, push: FakePush) -> None:
    async def serve() -> None:
        reader = await push.reader()
        [prompt] = store.chats.prompts.values()
        await reader.send(snapshot(prompt.chat_id))
        begun = answer(prompt, status="pending", attempt=0)
        await reader.send(frames.MessageFrame(chat_id=prompt.chat_id, version=8, message=begun))
        await reader.send(complete(prompt, "at last"))

    serving = asyncio.create_task(serve())
    response = await user.http.post(COMPLETIONS, json=body(stream=False))
    await serving
    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"] == "at last"
    assert response.json()["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


async def test_an_answer_that_has_ended_is_read_without_push(user: User, store: FakeStore) -> None:
    store.chats.answer_to = lambda prompt: complete(prompt, "stored").message
    key = {"Idempotency-Key": new_id()}
    whole = await user.http.post(COMPLETIONS, json=body(stream=False), headers=key)
    assert whole.json()["choices"][0]["message"]["content"] == "stored"
    async with user.http.stream("POST", COMPLETIONS, json=body(), headers=key) as response:
        completion = Completion(response)
        await completion.read()
    assert completion.text == "stored"
    assert completion.done
    assert len(store.chats.prompts) == 1


async def test_a_prompt_that_a_busy_chat_rejects_is_a_conflict(user: User, store: FakeStore) -> None:
    error = MessageError(code="chat_busy", message="The chat is busy.", retryable=True)
    store.chats.stored_as = lambda prompt: msgspec.structs.replace(prompt, status="rejected", error=error)
    response = await user.http.post(COMPLETIONS, json=body(), headers={"Parley-When-Busy": "reject"})
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "chat_busy"
    assert response.headers["x-should-retry"] == "false"
    own = await user.http.post(
        f"/v1/chats/{await user.new_chat()}/messages", json={"content": "Hello", "when_busy": "reject"}
    )
    assert (own.status_code, own.json()["code"]) == (409, "chat_busy")


async def test_parameters_that_are_nested_too_deeply_are_refused(user: User, store: FakeStore) -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(100):
        schema = {"type": "object", "properties": {"next": schema}}
    tool = {"type": "function", "function": {"name": "walk", "parameters": schema}}
    message = {"role": "user", "content": "Walk."}
    response = await user.http.post(COMPLETIONS, json={"model": "demo", "messages": [message], "tools": [tool]})
    assert response.status_code == 400
    assert "levels" in response.json()["error"]["message"]
    assert store.chats.prompts == {}


async def test_who_disconnects_stops_the_answer(user: User, store: FakeStore, push: FakePush) -> None:
    async with asked(user, store, push):
        pass
    await eventually(lambda: store.asked["stop"] == 1, what="the request to stop")
    assert store.last["stop"].message_id == ANSWER


# --- an answer that is not to be stored ------------------------------------------------------------------------------


async def test_who_disconnects_leaves_no_chat_that_is_not_to_be_stored(
    user: User, store: FakeStore, push: FakePush
) -> None:
    async with asked(user, store, push, {"store": False}) as (scene, _):
        pass
    await eventually(lambda: store.asked["delete_chat"] == 1, what="the chat deleted")
    assert store.asked["stop"] == 1
    assert store.last["delete_chat"].chat_id == scene.chat_id


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_fails_leaves_no_chat_that_is_not_to_be_stored(
    user: User, store: FakeStore, stream: bool
) -> None:
    error = MessageError(code="provider_error", message="The provider failed.", retryable=True)
    store.chats.answer_to = lambda prompt: answer(prompt, status="failed", error=error)
    response = await user.http.post(COMPLETIONS, json=body(stream=stream, store=False))
    assert "The provider failed." in response.text
    await eventually(lambda: store.asked["delete_chat"] == 1, what="the chat deleted")
