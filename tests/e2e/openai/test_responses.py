"""OpenAI's Responses and Conversations by the official SDK, unchanged."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from parley_client import ParleyClient
from tests.support.stack import RunningStack
from tests.unit.gateway.openai.responses import check_event, check_response

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}


@pytest.fixture
async def sdk(stack: RunningStack, client: ParleyClient) -> AsyncIterator[AsyncOpenAI]:
    """The SDK of a new guest."""
    async with sdk_of(await token_of(client), stack.url) as sdk:
        yield sdk


async def token_of(client: ParleyClient) -> str:
    await client.api.ensure_session()
    assert client.api.access_token is not None
    return client.api.access_token


def sdk_of(token: str, url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=token, max_retries=0)


def raw(model: Any) -> dict[str, Any]:
    """An object as it came over the wire."""
    fields: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return fields


async def events_of(stream: Any) -> list[dict[str, Any]]:
    """Read a stream to its end, and check each event."""
    events = [raw(event) async for event in stream]
    for event in events:
        check_event(event)
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(set(numbers))
    return events


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


async def test_a_text_is_answered_and_kept(sdk: AsyncOpenAI) -> None:
    response = await sdk.responses.create(model="demo-fast", input="Name a night train.", metadata={"a": "b"})
    check_response(raw(response))
    assert response.status == "completed"
    assert response.output_text
    assert response.metadata == {"a": "b"}
    assert response.usage is not None
    assert raw(await sdk.responses.retrieve(response.id)) == raw(response)


async def test_a_response_is_an_answer_in_a_chat(sdk: AsyncOpenAI, client: ParleyClient) -> None:
    response = await sdk.responses.create(model="demo-fast", input="Name a night train.")
    [chat] = (await client.api.chats()).items
    prompt, answer = await client.api.all_messages(chat.id)
    assert (prompt.content, answer.content) == ("Name a night train.", response.output_text)


async def test_the_helper_for_streams_reads_a_stream(sdk: AsyncOpenAI) -> None:
    async with sdk.responses.stream(model="demo-reasoning", input="Think.") as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert final.output_text == "".join(deltas)
    assert [item.type for item in final.output] == ["reasoning", "message"]
    # From any number: the helper asks for everything, and filters.
    async with sdk.responses.stream(response_id=final.id, starting_after=1 << 32) as stream:
        assert (await stream.get_final_response()).output_text == final.output_text


async def test_a_stream_is_replayed_from_any_number(sdk: AsyncOpenAI) -> None:
    whole = await events_of(await sdk.responses.create(model="demo-rate-200x60", input="Hi", stream=True))
    identifier = whole[0]["response"]["id"]
    assert whole[-1]["type"] == "response.completed"
    for index in (0, 1, len(whole) // 2, len(whole) - 3, len(whole) - 1):
        number = whole[index]["sequence_number"]
        rest = await events_of(await sdk.responses.retrieve(identifier, stream=True, starting_after=number))
        assert all(event["sequence_number"] > number for event in rest)
        assert text_of([*whole[: index + 1], *rest]) == text_of(whole)
        if rest:
            assert rest[-1] == whole[-1]


async def test_a_response_in_the_background_is_read_while_it_runs_and_cancelled(sdk: AsyncOpenAI) -> None:
    response = await sdk.responses.create(model="demo-rate-50x2000", input="Long.", background=True)
    check_response(raw(response))
    assert response.status in ("queued", "in_progress")
    seen: list[dict[str, Any]] = []
    async for event in await sdk.responses.create(
        model="demo-rate-50x2000", input="Long.", background=True, stream=True
    ):
        seen.append(raw(event))
        if len(seen) == 20:
            break
    streamed = seen[0]["response"]["id"]
    rest = asyncio.create_task(
        events_of(await sdk.responses.retrieve(streamed, stream=True, starting_after=seen[-1]["sequence_number"]))
    )
    for identifier in (response.id, streamed):
        cancelled = await sdk.responses.cancel(identifier)
        check_response(raw(cancelled))
        assert cancelled.status == "cancelled"
        assert raw(await sdk.responses.cancel(identifier)) == raw(cancelled)
    events = await rest
    assert (events[-1]["type"], events[-1]["response"]["status"]) == ("response.incomplete", "cancelled")
    stored = await sdk.responses.retrieve(streamed)
    assert text_of([*seen, *events]) == stored.output_text


async def test_a_client_that_disconnects_stops_the_answer_unless_it_is_in_the_background(
    sdk: AsyncOpenAI, client: ParleyClient
) -> None:
    async with await sdk.responses.create(model="demo-rate-50x2000", input="Hang up", stream=True) as stream:
        created = raw(await anext(aiter(stream)))
    identifier = created["response"]["id"]

    async def status() -> str | None:
        return (await sdk.responses.retrieve(identifier)).status

    deadline = asyncio.get_running_loop().time() + 15
    while (last := await status()) != "cancelled":
        assert asyncio.get_running_loop().time() < deadline, last
        await asyncio.sleep(0.05)


async def test_a_chain_of_responses_is_one_chat(sdk: AsyncOpenAI, client: ParleyClient) -> None:
    first = await sdk.responses.create(model="demo-fast", input="Remember papaya.", instructions="Be short.")
    second = await sdk.responses.create(model="demo-echo", input="Which word?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.instructions is None
    assert "Remember papaya." in second.output_text
    assert "Be short." not in second.output_text
    other = await sdk.responses.create(model="demo-echo", input="Another branch", previous_response_id=first.id)
    assert "Which word?" not in other.output_text
    assert len((await client.api.chats()).items) == 1
    with pytest.raises(openai.ConflictError, match="conversation"):
        await sdk.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError, match="There is no response") as refused:
        await sdk.responses.create(model="demo-fast", input="Hi", previous_response_id="resp_none")
    assert refused.value.code == "previous_response_not_found"


async def test_a_function_is_called_and_its_result_answered(sdk: AsyncOpenAI) -> None:
    events = await events_of(
        await sdk.responses.create(
            model="demo-tools", input='get_weather {"location": "Rome"}', tools=[WEATHER], stream=True
        )
    )
    response = events[-1]["response"]
    check_response(response)
    [call] = [item for item in response["output"] if item["type"] == "function_call"]
    assert (call["name"], call["arguments"]) == ("get_weather", '{"location": "Rome"}')
    result: Any = {"type": "function_call_output", "call_id": call["call_id"], "output": "Sunny, 24 degrees"}
    final = await sdk.responses.create(
        model="demo-tools", previous_response_id=response["id"], input=[result], tools=[WEATHER]
    )
    assert "Sunny, 24 degrees" in final.output_text
    # Without what is stored: the client sends everything.
    again = await sdk.responses.create(
        model="demo-tools",
        input=[{"role": "user", "content": "Weather?"}, *response["output"], result],
        tools=[WEATHER],
        store=False,
    )
    assert "Sunny, 24 degrees" in again.output_text
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(again.id)


async def test_the_input_of_a_response_is_listed(sdk: AsyncOpenAI) -> None:
    content: Any = [{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": PIXEL}]
    response = await sdk.responses.create(
        model="demo-fast",
        input=[{"role": "system", "content": "Be short."}, {"role": "user", "content": content}],
    )
    items = [item async for item in sdk.responses.input_items.list(response.id, limit=1, order="asc")]
    assert [item.type for item in items] == ["message", "message"]
    last: Any = items[-1]
    assert [part.type for part in last.content] == ["input_text", "input_image"]


async def test_a_response_is_deleted_with_its_chat(sdk: AsyncOpenAI, client: ParleyClient) -> None:
    response = await sdk.responses.create(model="demo-fast", input="Hi")
    await sdk.responses.delete(response.id)
    assert (await client.api.chats()).items == []
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(response.id)


async def test_a_response_that_is_not_stored_is_gone_once_it_is_delivered(
    sdk: AsyncOpenAI, client: ParleyClient
) -> None:
    events = await events_of(await sdk.responses.create(model="demo-fast", input="Hi", store=False, stream=True))
    assert events[-1]["response"]["store"] is False
    assert (await client.api.chats()).items == []


async def test_a_response_that_is_not_stored_deletes_no_chat_with_other_turns(
    sdk: AsyncOpenAI, client: ParleyClient
) -> None:
    key = {"Idempotency-Key": "one"}
    kept = await sdk.responses.create(model="demo-fast", input="Keep this", extra_headers=key)
    [chat] = (await client.api.chats()).items
    await sdk.responses.create(model="demo-fast", input="And this", previous_response_id=kept.id)
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(model="demo-fast", input="Hi", store=False, metadata={"parley.chat_id": chat.id})
    assert refused.value.param == "store"
    # The chat that the key stands for has another turn by now.
    await sdk.responses.create(model="demo-fast", input="Keep this", store=False, extra_headers=key)
    messages: Any = [{"role": "user", "content": "Keep this"}]
    await sdk.chat.completions.create(model="demo-fast", messages=messages, store=False, extra_headers=key)
    assert (await sdk.responses.retrieve(kept.id)).status == "completed"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"include": ["message.output_text.logprobs"]}, "include[0]"),
        ({"extra_body": {"frobnicate": 1}}, "frobnicate"),
        ({"conversation": "conv_none"}, None),
    ],
)
async def test_a_refusal_has_openais_shape(sdk: AsyncOpenAI, fields: dict[str, Any], param: str | None) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as refused:
        await sdk.responses.create(model="demo-fast", input="Hi", **fields)
    assert refused.value.type == "invalid_request_error"
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        ("nobodys-model", openai.NotFoundError, "model_not_found"),
        ("demo-context-length", openai.BadRequestError, "context_length_exceeded"),
        ("demo-error-401", openai.InternalServerError, "provider_auth"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_provider_refuses_is_the_status_of_the_response(
    sdk: AsyncOpenAI, model: str, kind: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    with pytest.raises(kind) as refused:
        await sdk.responses.create(model=model, input="Hi", stream=stream)
    assert refused.value.code == code


async def test_an_answer_that_the_provider_fails_is_a_failed_response(sdk: AsyncOpenAI) -> None:
    request: Any = {"model": "demo-error-401", "input": "Hi", "background": True}
    created = await events_of(await sdk.responses.create(stream=True, **request))
    assert created[-1]["type"] == "response.failed"
    response = await sdk.responses.retrieve(created[0]["response"]["id"])
    check_response(raw(response))
    assert response.status == "failed"
    assert response.error is not None
    events = await events_of(await sdk.responses.retrieve(response.id, stream=True))
    assert events[-1]["type"] == "response.failed"


async def test_input_refers_to_items_of_earlier_responses(sdk: AsyncOpenAI, stack: RunningStack) -> None:
    called = await sdk.responses.create(model="demo-tools", input="Weather?", tools=[WEATHER])
    [call] = called.output
    assert call.type == "function_call"
    question: Any = {"role": "user", "content": "Weather?"}
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Sun"}
    request: Any = {"model": "demo-tools", "tools": [WEATHER]}
    items: Any = [question, {"type": "item_reference", "id": call.id}, result]
    answered = await sdk.responses.create(input=items, **request)
    assert answered.output_text == "The tools returned: Sun"
    listed = [item async for item in sdk.responses.input_items.list(answered.id, order="asc")]
    assert [item.type for item in listed] == ["message", "function_call", "function_call_output"]
    async with stack.client() as other, sdk_of(await token_of(other), stack.url) as others:
        with pytest.raises(openai.NotFoundError) as refused:
            await others.responses.create(input=items, **request)
    assert refused.value.param == "input[1].id"


async def test_an_answer_that_is_cut_off_by_its_limit_is_incomplete(sdk: AsyncOpenAI) -> None:
    response = await sdk.responses.create(model="demo-fast", input="Hi", max_output_tokens=5)
    check_response(raw(response))
    assert (response.status, response.max_output_tokens) == ("incomplete", 5)
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


async def test_the_same_idempotency_key_is_the_same_response(sdk: AsyncOpenAI) -> None:
    async def create() -> str:
        headers = {"Idempotency-Key": "night-train"}
        return (await sdk.responses.create(model="demo-fast", input="Hi", extra_headers=headers)).id

    assert len(set(await asyncio.gather(*(create() for _ in range(10))))) == 1


async def test_a_conversation_is_a_chat(sdk: AsyncOpenAI, client: ParleyClient) -> None:
    conversation = await sdk.conversations.create(metadata={"title": "Trains", "system_prompt": "Be short."})
    assert conversation.metadata == {"title": "Trains", "system_prompt": "Be short."}
    [chat] = (await client.api.chats()).items
    assert chat.title == "Trains"
    changed = await sdk.conversations.update(conversation.id, metadata={"title": "Night trains"})
    assert changed.metadata == {"title": "Night trains", "system_prompt": "Be short."}
    assert (await sdk.conversations.retrieve(conversation.id)).metadata == changed.metadata
    first = await sdk.responses.create(model="demo-fast", input="One", conversation=conversation.id)
    assert first.conversation is not None
    assert first.conversation.id == conversation.id
    second = await sdk.responses.create(model="demo-echo", input="Two", conversation=conversation.id)
    assert "Be short." in second.output_text
    assert "One" in second.output_text
    await sdk.conversations.delete(conversation.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.conversations.retrieve(conversation.id)


async def test_the_items_of_a_conversation_are_listed_in_both_orders(sdk: AsyncOpenAI) -> None:
    conversation = await sdk.conversations.create()
    for text in ("One", "Two", "Three"):
        await sdk.responses.create(model="demo-fast", input=text, conversation=conversation.id)
    ascending: list[Any] = [item async for item in sdk.conversations.items.list(conversation.id, order="asc", limit=2)]
    assert [item.content[0].text for item in ascending if item.role == "user"] == ["One", "Two", "Three"]
    assert len(ascending) == 6
    descending = [item async for item in sdk.conversations.items.list(conversation.id, limit=4)]
    assert [raw(item) for item in descending] == [raw(item) for item in reversed(ascending)]
    item: Any = await sdk.conversations.items.retrieve(ascending[2].id, conversation_id=conversation.id)
    assert raw(item) == raw(ascending[2])
    with pytest.raises(openai.BadRequestError):
        await sdk.conversations.create(items=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError):
        await sdk.conversations.create(metadata={"colour": "red"})


async def test_another_user_sees_neither_response_nor_conversation(stack: RunningStack, sdk: AsyncOpenAI) -> None:
    response = await sdk.responses.create(model="demo-fast", input="Hi")
    conversation = await sdk.conversations.create()
    async with stack.client() as other, sdk_of(await token_of(other), stack.url) as theirs:
        for refused in (
            theirs.responses.retrieve(response.id),
            theirs.responses.retrieve(response.id, stream=True),
            theirs.responses.cancel(response.id),
            theirs.responses.delete(response.id),
            theirs.responses.create(model="demo-fast", input="Hi", previous_response_id=response.id),
            theirs.conversations.retrieve(conversation.id),
        ):
            with pytest.raises(openai.NotFoundError):
                await refused


async def test_a_response_can_follow_one_that_is_not_answered_yet(sdk: AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="demo-rate-50x100", input="First", background=True)
    second = await sdk.responses.create(
        model="demo-echo", input="Second", previous_response_id=first.id, background=True
    )
    third = await sdk.responses.create(model="demo-echo", input="Third", previous_response_id=second.id)
    assert third.status == "completed"
    assert "First" in third.output_text
    assert "Second" in third.output_text
    assert (await sdk.responses.retrieve(first.id)).status == "completed"


async def test_a_busy_conversation_refuses_or_interrupts_as_the_request_asks(sdk: AsyncOpenAI) -> None:
    conversation = await sdk.conversations.create()
    running = await sdk.responses.create(
        model="demo-rate-50x2000", input="Long", conversation=conversation.id, background=True
    )
    with pytest.raises(openai.ConflictError) as refused:
        await sdk.responses.create(
            model="demo-fast",
            input="Now",
            conversation=conversation.id,
            extra_headers={"Parley-When-Busy": "reject"},
        )
    assert refused.value.code == "chat_busy"
    interrupting = await sdk.responses.create(
        model="demo-fast", input="Now", conversation=conversation.id, metadata={"parley.when_busy": "interrupt"}
    )
    assert interrupting.status == "completed"
    assert interrupting.metadata == {}
    assert (await sdk.responses.retrieve(running.id)).status == "cancelled"


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "a\0b"},
        {"input": [{"role": "system", "content": "a\0b"}, {"role": "user", "content": "Hi"}]},
        {"input": "Hi", "instructions": "a\0b"},
        {"input": "Hi", "metadata": {"a": "a\0b"}},
    ],
)
async def test_text_that_cannot_be_stored_is_refused_or_answered(sdk: AsyncOpenAI, fields: dict[str, Any]) -> None:
    try:
        response = await sdk.responses.create(model="demo-fast", timeout=15, **fields)
    except openai.BadRequestError:
        return
    assert response.status == "completed"
