"""Answers that can be read no further: one that its client cannot ask for again is stopped, before the client knows.

SDKs send a request again by themselves after a 503, and programs after a stream that broke off.
"""

import asyncio
import signal
from typing import Any

import httpx
import msgspec
import pytest

from parley.contracts import rpc
from parley.contracts.ids import new_id
from parley_cli.embedded.nats import NatsServer
from tests.integration.gateway.conftest import User, gateway_alone
from tests.integration.gateway.fake_push import FakePush
from tests.integration.gateway.test_completions import COMPLETIONS, Completion, answer, body, running
from tests.integration.gateway.test_stream import ANSWER
from tests.support.chat_store.fake import FakeStore
from tests.support.waiting import eventually

RESPONSES = "/openai/v1/responses"


def body_of(path: str, **more: Any) -> dict[str, Any]:
    return body(**more) if path == COMPLETIONS else {"model": "demo", "input": "Hello"} | more


def keyed() -> dict[str, str]:
    return {"Idempotency-Key": new_id()}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [COMPLETIONS, RESPONSES])
async def test_an_answer_that_cannot_be_followed_is_stopped_unless_a_key_names_it(
    user: User, store: FakeStore, push: FakePush, path: str, stream: bool
) -> None:
    store.chats.answer_to = answer
    push.refuse_with = (503, "unavailable")
    refused = await user.http.post(path, json=body_of(path, stream=stream), headers=keyed())
    assert refused.status_code == 503
    assert store.asked["stop"] == 0
    refused = await user.http.post(path, json=body_of(path, stream=stream))
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "unavailable"
    assert int(refused.headers["retry-after"]) >= 1
    assert store.asked["stop"] == 1
    assert store.last["stop"].message_id == ANSWER


@pytest.mark.parametrize("path", [COMPLETIONS, RESPONSES])
async def test_an_answer_that_is_detached_or_in_the_background_goes_on(
    user: User, store: FakeStore, push: FakePush, path: str
) -> None:
    store.chats.answer_to = answer
    push.refuse_with = (503, "unavailable")
    more: dict[str, Any] = {"background": True, "stream": True} if path == RESPONSES else {}
    await user.http.post(path, json=body_of(path, metadata={"parley.detach": "true"}, **more))
    assert store.asked["get_turn"] > 0
    assert store.asked["stop"] == 0


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_response_whose_id_was_sent_goes_on_unless_it_is_not_to_be_stored(
    user: User, store: FakeStore, push: FakePush, is_stored: bool
) -> None:
    async def serve() -> None:
        reader = await push.reader()
        [prompt] = store.chats.prompts.values()
        await reader.send(running(prompt.chat_id, "one ", 1))
        push.refuse_with = (404, "not_found")  # final: no other push is looked for
        reader.cut()

    store.chats.answer_to = answer
    serving = asyncio.create_task(serve())
    response = await user.http.post(RESPONSES, json=body_of(RESPONSES, stream=True, store=is_stored))
    await serving
    assert response.status_code == 200
    assert "event: error" in response.text
    assert store.asked["stop"] == store.asked["delete_chat"] == (0 if is_stored else 1)


class Once(dict[str, Any]):
    """Refusals that are given once."""

    def get(self, verb: str, default: Any = None) -> Any:
        return self.pop(verb, default)


@pytest.mark.parametrize("path", [COMPLETIONS, RESPONSES])
async def test_a_prompt_that_may_have_been_accepted_is_taken_back(user: User, store: FakeStore, path: str) -> None:
    away = rpc.RpcError(code="unavailable", message="Away.", retry_after=1)
    store.chats.stored_as = lambda prompt: msgspec.structs.replace(prompt, status="queued")
    for headers in ({}, keyed()):
        store.refusals = Once(get_turn=away)
        response = await user.http.post(path, json=body_of(path), headers=headers | {"Parley-When-Busy": "reject"})
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "unavailable"
        assert store.asked["delete_message"] == 1


async def test_sigterm_stops_the_answers_that_nobody_can_ask_for_again(nats_server: NatsServer) -> None:
    async with gateway_alone(nats_server.url) as (push, store, process, user):
        store.chats.answer_to = answer

        async def stream(headers: dict[str, str]) -> Completion:
            async with user.http.stream("POST", COMPLETIONS, json=body(), headers=headers) as response:
                completion = Completion(response)
                await completion.read()
                return completion

        async def whole() -> httpx.Response:
            return await user.http.post(COMPLETIONS, json=body(stream=False))

        asking = (asyncio.create_task(stream({})), asyncio.create_task(stream(keyed())), asyncio.create_task(whole()))
        for _ in asking:
            reader = await push.reader()
            await reader.send(running(reader.chat_id, "one ", 1))
        await eventually(lambda: store.asked["get_turn"] == len(asking), what="the answers being read")
        process.signal(signal.SIGTERM)
        lost, kept, refused = await asyncio.gather(*asking)
        for completion in (lost, kept):
            assert completion.events[-1]["error"]["code"] == "unavailable"
            assert not completion.done
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert store.asked["stop"] == 2
        assert await asyncio.to_thread(process.wait) == 0
