"""Chat completions and models by the official Python SDK, unchanged."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletionChunk

from parley.contracts.ids import new_id
from tests.e2e.openai.conftest import Caller
from tests.support.waiting import eventually

OTTERS: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tell me about otters"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}},
    }
]


class Otters(pydantic.BaseModel):
    name: str
    count: int


IMAGE = "data:image/png;base64,iVBORw0KGgo="


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def streamed(client: openai.AsyncOpenAI, **request: Any) -> list[ChatCompletionChunk]:
    stream = await client.chat.completions.create(stream=True, **request)
    return [chunk async for chunk in stream]


async def test_models_are_listed_and_shown(caller: Caller) -> None:
    async with caller.client() as client:
        models = [model.id async for model in client.models.list()]
        assert "demo-fast" in models
        assert (await client.models.retrieve("demo-fast")).id == "demo-fast"
        with pytest.raises(openai.NotFoundError) as error:
            await client.models.retrieve("vendor/unknown")
        assert error.value.code == "model_not_found"


async def test_a_completion_is_an_answer_in_a_chat_of_its_own(caller: Caller) -> None:
    completion = await asyncio.to_thread(
        lambda: caller.sync().chat.completions.create(model="demo-fast", messages=OTTERS)
    )
    choice = completion.choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.role == "assistant"
    assert "otters" in (choice.message.content or "")
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 100
    [chat] = (await caller.own.api.chats()).items
    assert chat.title == "Tell me about otters"
    prompt, answer = (await caller.own.api.messages(chat.id)).items
    assert prompt.content == "Tell me about otters"
    assert answer.content == choice.message.content
    assert completion.id == f"chatcmpl-{answer.id.replace('-', '')}"


async def test_a_stream_begins_with_the_role_and_ends_with_the_reason_and_the_tokens(caller: Caller) -> None:
    async with caller.client() as client:
        options: Any = {"include_usage": True}
        chunks = await streamed(client, model="demo-fast", messages=OTTERS, stream_options=options)
        whole = await client.chat.completions.create(model="demo-fast", messages=OTTERS)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert text_of(chunks) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_the_synchronous_client_streams(stack_of_sync: openai.OpenAI) -> None:
    stream = stack_of_sync.chat.completions.create(model="demo-fast", messages=OTTERS, stream=True)
    chunks = list(stream)
    assert "otters" in text_of(chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.fixture
async def stack_of_sync(caller: Caller) -> openai.OpenAI:
    return caller.sync()


async def test_reasoning_has_its_own_member(caller: Caller) -> None:
    async with caller.client() as client:
        chunks = await streamed(client, model="demo-reasoning", messages=OTTERS)
    reasoning = "".join(getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks)
    assert "I am a demo" in reasoning
    assert "I am a demo" not in text_of(chunks)


async def test_parameters_messages_and_images_reach_the_provider_as_they_are(caller: Caller) -> None:
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "What is this?"},
        {"role": "assistant", "content": None, "tool_calls": [_call("a", '{"at": "it"}')]},
        {"role": "tool", "tool_call_id": "a", "content": "a dot"},
        {"role": "assistant", "content": "A dot."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "And this?"},
                {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
            ],
        },
    ]
    parameters: Any = {
        "temperature": 0.5,
        "top_p": 1,
        "stop": ["\n\n\n"],
        "seed": 7,
        "max_completion_tokens": 4000,
        "tools": TOOLS,
        "tool_choice": "none",
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "logit_bias": {"50256": -100},
    }
    async with caller.client() as client:
        completion = await client.chat.completions.create(model="demo-echo", messages=messages, **parameters)
    sent = json.loads(completion.choices[0].message.content or "")
    assert {name: sent[name] for name in parameters} == parameters
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent["messages"][2] == {"role": "assistant", "content": None, "tool_calls": [_call("a", '{"at": "it"}')]}
    assert sent["messages"][1:2] + sent["messages"][3:] == [messages[1], *messages[3:]]


def _call(name: str, arguments: str) -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": "look", "arguments": arguments}}


async def test_a_tool_is_called_and_its_result_is_answered(caller: Caller) -> None:
    async with caller.client() as client:
        request: Any = {"model": "demo-tools", "messages": OTTERS, "tools": TOOLS, "seed": 1}
        called = (await client.chat.completions.create(**request)).choices[0]
        chunks = await streamed(client, **request)
        assert called.finish_reason == "tool_calls"
        assert called.message.tool_calls is not None
        [call] = called.message.tool_calls
        assert isinstance(call, openai.types.chat.ChatCompletionMessageFunctionToolCall)
        deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or ()]
        assert deltas[0].function is not None
        assert (deltas[0].index, deltas[0].id, deltas[0].function.name) == (0, call.id, "look")
        arguments = "".join((delta.function and delta.function.arguments) or "" for delta in deltas)
        assert arguments == call.function.arguments
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "two otters"}
        messages = [*OTTERS, called.message, result]
        answer = await client.chat.completions.create(model="demo-tools", messages=messages, tools=TOOLS)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content == "The tools returned: two otters"


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # the SDK's own message with what it parsed
async def test_what_the_helper_parsed_goes_back_as_it_is(caller: Caller) -> None:
    tools: Any = [openai.pydantic_function_tool(Otters)]
    async with caller.client() as client:
        called = (
            (await client.chat.completions.parse(model="demo-tools", messages=OTTERS, tools=tools)).choices[0].message
        )
        assert called.tool_calls is not None
        assert isinstance(called.tool_calls[0].function.parsed_arguments, Otters)
        result: Any = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "two otters"}
        messages: Any = [*OTTERS, called, result]
        answer = await client.chat.completions.parse(model="demo-fast", messages=messages, response_format=Otters)
        messages += [answer.choices[0].message, *OTTERS]
        again = await client.chat.completions.parse(model="demo-fast", messages=messages, response_format=Otters)
    assert isinstance(again.choices[0].message.parsed, Otters)


@pytest.mark.parametrize("role", ["system", "assistant"])
async def test_the_last_message_is_answered_whoever_wrote_it(caller: Caller, role: str) -> None:
    messages: Any = [{"role": role, "content": "Otters"}]
    async with caller.client() as client:
        completion = await client.chat.completions.create(model="demo-echo", messages=messages)
    assert json.loads(completion.choices[0].message.content or "")["messages"] == messages


@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        ("nobodys-model", openai.NotFoundError, "model_not_found"),
        ("demo-error-401", openai.InternalServerError, "provider_auth"),
        ("demo-error-429", openai.RateLimitError, "rate_limit_exceeded"),
        ("demo-error-500", openai.InternalServerError, "provider_unavailable"),
        ("demo-context-length", openai.BadRequestError, "context_length_exceeded"),
        ("demo-error-content-filter", openai.BadRequestError, "content_filter"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_of_the_provider_is_the_status_of_the_response(
    caller: Caller, model: str, kind: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    async with caller.client() as client:
        with pytest.raises(kind) as error:
            await client.chat.completions.create(model=model, messages=OTTERS, stream=stream)
    assert error.value.code == code
    assert error.value.request_id


async def test_an_answer_that_content_rules_cut_off_has_its_reason(caller: Caller) -> None:
    async with caller.client() as client:
        completion = await client.chat.completions.create(model="demo-refusal", messages=OTTERS)
    assert completion.choices[0].finish_reason == "content_filter"
    assert completion.choices[0].message.content


@pytest.mark.parametrize(
    ("request_", "param", "code"),
    [
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type", "unsupported_parameter"),
        ({"extra_body": {"top_k": 3}}, "top_k", "unknown_parameter"),
        ({"metadata": {"parley.unknown": "1"}}, "metadata.parley.unknown", "unknown_parameter"),
        (
            {"messages": [{"role": "user", "content": "x", "nickname": "Ann"}]},
            "messages[0].nickname",
            "unknown_parameter",
        ),
        ({"messages": []}, "messages", "invalid"),
        ({"messages": [{"role": "user", "content": " "}]}, None, "empty_message"),
        ({"temperature": "warm"}, "temperature", "invalid"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_the_name_of_the_member(
    caller: Caller, request_: dict[str, Any], param: str | None, code: str
) -> None:
    async with caller.client() as client:
        with pytest.raises(openai.BadRequestError) as error:
            await client.chat.completions.create(**({"model": "demo-fast", "messages": OTTERS} | request_))
    assert (error.value.param, error.value.code) == (param, code)
    assert (await caller.own.api.chats()).items == []


async def test_a_wrong_key_a_wrong_address_and_a_body_that_is_too_large_have_the_same_shape(caller: Caller) -> None:
    async with caller.client() as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.with_options(api_key=f"pk_abcdefgh_{'x' * 43}").models.list()
        assert refused.value.code == "invalid_api_key"
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="demo", input="x")
        large_image = {"type": "image_url", "image_url": {"url": IMAGE + "A" * 900_000}}
        images: Any = [{"role": "user", "content": [large_image]}]
        with pytest.raises(openai.APIStatusError) as large:
            await client.chat.completions.create(model="demo-fast", messages=images)
        assert (large.value.status_code, large.value.code) == (413, "too_large")


async def test_the_same_key_fifty_times_at_once_is_one_answer(caller: Caller) -> None:
    async with caller.client() as client:
        headers = {"Idempotency-Key": new_id()}
        completions = await asyncio.gather(
            *(
                client.chat.completions.create(model="demo-echo", messages=OTTERS, extra_headers=headers)
                for _ in range(50)
            )
        )
    assert len({completion.model_dump_json() for completion in completions}) == 1
    [chat] = (await caller.own.api.chats()).items
    assert len((await caller.own.api.messages(chat.id)).items) == 2


async def test_a_program_has_more_answers_at_once_than_a_person_has_sockets(caller: Caller) -> None:
    async with caller.client() as client:
        streams = await asyncio.gather(*(streamed(client, model="demo-rate-20x20", messages=OTTERS) for _ in range(60)))
    assert {chunks[-1].choices[0].finish_reason for chunks in streams} == {"stop"}


async def test_a_stream_that_an_attempt_was_dropped_in_is_no_end_and_the_same_key_returns_the_whole(
    caller: Caller,
) -> None:
    request: Any = {
        "model": "demo-error-mid-stream-once",
        "messages": [{"role": "user", "content": f"Otters {new_id()}"}],
        "extra_headers": {"Idempotency-Key": new_id()},
    }
    async with caller.client() as client:
        chunks: list[ChatCompletionChunk] = []
        with pytest.raises(openai.APIError) as error:
            await _collect(await client.chat.completions.create(stream=True, **request), chunks)
        assert error.value.code == "attempt_dropped"
        assert chunks
        assert all(chunk.choices[0].finish_reason is None for chunk in chunks)
        whole = await client.chat.completions.create(**request)
        again = await streamed(client, **request)
    assert whole.choices[0].finish_reason == "stop"
    assert text_of(again) == whole.choices[0].message.content
    assert len(text_of(again)) > len(text_of(chunks))


@pytest.mark.parametrize("stream", [False, True])
async def test_who_disconnects_stops_the_answer(caller: Caller, stream: bool) -> None:
    async with caller.client() as client:
        request: Any = client.chat.completions.create(model="demo-long", messages=OTTERS, stream=stream)
        asking = asyncio.ensure_future(request)
        answer = await _running(caller)
        if stream:
            await (await asking).close()
        else:
            asking.cancel()
    stopped = await _ended(caller, answer)
    assert stopped == "stopped"


@pytest.mark.parametrize("stream", [False, True])
async def test_who_disconnects_in_the_queue_takes_the_prompt_back_and_the_others_are_answered(
    caller: Caller, stream: bool
) -> None:
    chat = await caller.own.api.create_chat()

    async def contents(*statuses: str) -> list[str]:
        return [m.content for m in (await caller.own.api.messages(chat.id)).items if m.status in statuses]

    async with caller.client() as client:

        def ask(text: str, model: str = "demo-fast", **more: Any) -> Any:
            request: Any = client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": text}],
                metadata={"parley.chat_id": chat.id},
                **more,
            )
            return asyncio.ensure_future(request)

        async def queued(*texts: str) -> None:
            async def found() -> bool:
                return await contents("queued") == list(texts)

            await eventually(found, deadline=20, what=f"{texts} being queued")

        first = ask("first", "demo-long")
        await _running(caller)
        second = ask("second", stream=stream)
        await queued("second")
        third = ask("third")
        await queued("second", "third")
        second.cancel()
        await queued("third")
        assert not first.done()
        first.cancel()
        answered = await third
    assert answered.choices[0].finish_reason == "stop"
    assert "second" not in await contents("sent")


async def test_who_detaches_leaves_the_answer_running_and_gets_it_by_the_same_key(caller: Caller) -> None:
    request: Any = {
        "model": "demo-rate-100x200",
        "messages": OTTERS,
        "metadata": {"parley.detach": "true"},
        "extra_headers": {"Idempotency-Key": new_id()},
    }
    async with caller.client() as client:
        stream = await client.chat.completions.create(stream=True, **request)
        await anext(aiter(stream))
        await stream.close()
        answer = await _running(caller)
        assert await _ended(caller, answer) == "complete"
        whole = await client.chat.completions.create(**request)
    assert whole.choices[0].finish_reason == "stop"
    assert len((await caller.own.api.chats()).items) == 1


async def test_store_false_leaves_no_chat(caller: Caller) -> None:
    async with caller.client() as client:
        completion = await client.chat.completions.create(model="demo-fast", messages=OTTERS, store=False)
    assert completion.choices[0].finish_reason == "stop"
    assert (await caller.own.api.chats()).items == []


async def test_in_a_busy_chat_the_sender_chooses(caller: Caller) -> None:
    chat = await caller.own.api.create_chat()

    def ask(client: openai.AsyncOpenAI, text: str, mode: str, model: str = "demo-fast") -> Any:
        return client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": text}],
            metadata={"parley.chat_id": chat.id},
            extra_headers={"Parley-When-Busy": mode},
        )

    async with caller.client() as client:
        first = asyncio.ensure_future(ask(client, "first", "enqueue", "demo-long"))
        await _running(caller)
        with pytest.raises(openai.ConflictError) as busy:
            await ask(client, "rejected", "reject")
        assert busy.value.code == "chat_busy"
        second = await ask(client, "second", "interrupt")
        assert "second" in second.choices[0].message.content
        with pytest.raises(openai.ConflictError) as stopped:
            await first
        assert stopped.value.code == "answer_stopped"
        third = await ask(client, "third", "reject")
        assert third.choices[0].finish_reason == "stop"
    contents = [message.content for message in (await caller.own.api.messages(chat.id)).items if message.role == "user"]
    assert contents == ["first", "second", "third"]


async def test_of_two_at_once_that_reject_exactly_one_is_answered(caller: Caller) -> None:
    async with caller.client() as client:
        for _ in range(5):
            chat = await caller.own.api.create_chat()
            outcomes = await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model="demo-fast",
                        messages=[{"role": "user", "content": text}],
                        metadata={"parley.chat_id": chat.id, "parley.when_busy": "reject"},
                    )
                    for text in ("one", "two")
                ),
                return_exceptions=True,
            )
            answered = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
            refused = [outcome for outcome in outcomes if isinstance(outcome, openai.ConflictError)]
            prompts = [m for m in (await caller.own.api.messages(chat.id)).items if m.role == "user"]
            # The second may come after the first one's answer.
            assert len(answered) + len(refused) == 2
            assert len(prompts) == len(answered) >= 1


async def _collect(stream: AsyncIterator[ChatCompletionChunk], chunks: list[ChatCompletionChunk]) -> None:
    async for chunk in stream:
        chunks.append(chunk)


async def _running(caller: Caller) -> tuple[str, str]:
    """Wait until an answer runs, and return its chat and its id."""

    async def found() -> tuple[str, str] | None:
        for chat in (await caller.own.api.chats()).items:
            for message in (await caller.own.api.messages(chat.id)).items:
                if message.status == "streaming":
                    return chat.id, message.id
        return None

    answer = await eventually(found, deadline=20)
    assert answer is not None
    return answer


async def _ended(caller: Caller, answer: tuple[str, str]) -> str:
    async def found() -> str | None:
        [status] = [m.status for m in (await caller.own.api.messages(answer[0])).items if m.id == answer[1]]
        return None if status in ("pending", "streaming") else status

    status = await eventually(found, deadline=20)
    assert status is not None
    return status
