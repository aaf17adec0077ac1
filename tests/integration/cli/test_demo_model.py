"""The demo model over real HTTP, as the ``openai`` client and as bare bytes see it."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState

from parley_cli.demo_model.behaviours import LISTED
from tests.support.demo_model import DemoModelProcess
from tests.support.waiting import eventually


@pytest.fixture
async def client(demo_model: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=demo_model, api_key="any", max_retries=0) as client:
        yield client


async def _chunks(client: openai.AsyncOpenAI, model: str, prompt: str, **parameters: Any) -> list[Any]:
    stream = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": prompt}], stream=True, **parameters
    )
    return [chunk async for chunk in stream]


def _text(chunks: list[Any], field: str = "content") -> str:
    return "".join(getattr(c.choices[0].delta, field, None) or "" for c in chunks if c.choices)


async def test_an_answer_is_markdown_that_mentions_the_prompt(client: openai.AsyncOpenAI) -> None:
    chunks = await _chunks(client, "demo-fast", "hippopotamus", stream_options={"include_usage": True})
    text = _text(chunks)
    assert all(part in text for part in ("## About “hippopotamus”", "\n- ", "\n1. ", "```python", "|---|"))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len(chunks) - 3


async def test_an_answer_that_is_not_streamed_is_the_same(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="demo-fast", messages=[{"role": "user", "content": "same"}])
    assert whole.choices[0].message.content == _text(await _chunks(client, "demo-fast", "same"))
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 100


async def test_usage_is_reported_only_on_request(client: openai.AsyncOpenAI) -> None:
    chunks = await _chunks(client, "demo-fast", "hi", max_tokens=5)
    assert all(chunk.usage is None for chunk in chunks)
    assert len(chunks) == 7
    assert chunks[-1].choices[0].finish_reason == "length"


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert tuple([model.id async for model in client.models.list()]) == LISTED


async def test_reasoning_comes_before_the_answer(client: openai.AsyncOpenAI) -> None:
    chunks = await _chunks(client, "demo-reasoning", "why", max_tokens=60)
    kinds = ["reasoning" if getattr(c.choices[0].delta, "reasoning_content", None) else "text" for c in chunks[1:-1]]
    assert kinds == sorted(kinds)
    assert set(kinds) == {"reasoning", "text"}


async def test_a_refusal_ends_as_content_filter(client: openai.AsyncOpenAI) -> None:
    chunks = await _chunks(client, "demo-refusal", "a bad thing")
    assert "a bad thing" in _text(chunks, "refusal")
    assert chunks[-1].choices[0].finish_reason == "content_filter"


async def test_it_echoes_the_request(client: openai.AsyncOpenAI) -> None:
    history: list[Any] = [{"role": "system", "content": "be brief"}, {"role": "user", "content": 'hi "you"\n'}]
    request: Any = {"model": "demo-echo", "messages": history, "stream": True, "seed": 7}
    stream: Any = await client.chat.completions.create(**request)
    assert json.loads(_text([chunk async for chunk in stream])) == request


CLOCK: Any = {
    "type": "function",
    "function": {
        "name": "clock",
        "parameters": {
            "type": "object",
            "properties": {"zone": {"type": "string", "enum": ["UTC", "CET"]}, "hours": {"type": "integer"}},
            "required": ["zone"],
        },
    },
}
DICE: Any = {"type": "function", "function": {"name": "dice"}}


async def _calls(client: openai.AsyncOpenAI, model: str, prompt: str, **parameters: Any) -> list[tuple[str, str]]:
    """Name and arguments of the calls, which a stream and a whole answer have alike."""

    def of(choice: Any) -> tuple[str, list[tuple[str, str, str]]]:
        calls = choice.message.tool_calls or []
        return choice.finish_reason, [(call.id, call.function.name, call.function.arguments) for call in calls]

    whole = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": prompt}], seed=7, **parameters
    )
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in await _chunks(client, model, prompt, seed=7, **parameters):
        state.handle_chunk(chunk)
    reason, calls = of(whole.choices[0])
    assert (reason, calls) == of(state.current_completion_snapshot.choices[0])
    assert (reason == "tool_calls") == bool(calls)
    return [(name, arguments) for _, name, arguments in calls]


async def test_it_calls_the_first_tool_with_arguments_that_its_schema_accepts(client: openai.AsyncOpenAI) -> None:
    assert await _calls(client, "demo-tools", "What time is it?", tools=[CLOCK, DICE]) == [("clock", '{"zone": "UTC"}')]
    assert await _calls(client, "demo-tools", "Throw the dice", tools=[CLOCK, DICE]) == [("dice", "{}")]
    assert await _calls(client, "demo-tools", 'In {"zone": "CET"}?', tools=[CLOCK]) == [("clock", '{"zone": "CET"}')]
    chosen: Any = {"type": "function", "function": {"name": "dice"}}
    assert await _calls(client, "demo-tools", "hi", tools=[CLOCK, DICE], tool_choice=chosen) == [("dice", "{}")]
    assert await _calls(client, "demo-tools", "hi", tools=[CLOCK], tool_choice="none") == []
    assert await _calls(client, "demo-tools", "hi") == []


async def test_it_answers_from_the_results_after_its_rounds(client: openai.AsyncOpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "clock and dice"}]
    request: Any = {"model": "demo-tools-2x2", "messages": messages, "tools": [CLOCK, DICE]}
    for number in range(2):
        choice = (await client.chat.completions.create(**request)).choices[0]
        calls: list[Any] = choice.message.tool_calls or []
        assert [call.function.name for call in calls] == ["clock", "dice"]
        messages.append(choice.message.to_dict())
        for call in calls:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name} {number}"})
    choice = (await client.chat.completions.create(**request)).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("stop", "The tools returned: clock 1, dice 1")


async def test_it_ends_before_a_stop_sequence_wherever_the_tokens_end(client: openai.AsyncOpenAI) -> None:
    chunks = await _chunks(client, "demo-fast", "go", stop=["program, not", "never"])
    assert _text(chunks).endswith("It is a ")
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert _text(await _chunks(client, "demo-fast", "go", stop="never said")) == _text(
        await _chunks(client, "demo-fast", "go")
    )


async def test_a_long_stop_sequence_does_not_delay_the_answer(client: openai.AsyncOpenAI) -> None:
    once = client.with_options(timeout=30, max_retries=0)
    text = _text(await _chunks(once, "demo-fast", "go", stop="s" * 700_000))
    assert text == _text(await _chunks(client, "demo-fast", "go"))


async def test_it_answers_in_json_where_that_is_asked_for(client: openai.AsyncOpenAI) -> None:
    text = _text(await _chunks(client, "demo-fast", "hi", response_format={"type": "json_object"}))
    assert json.loads(text) == {"answer": "hi"}
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "number", "schema": schema}}
    assert json.loads(_text(await _chunks(client, "demo-fast", "hi", response_format=form))) == {"n": 1}


async def test_rate_and_count_are_in_the_name(client: openai.AsyncOpenAI) -> None:
    start = time.monotonic()
    chunks = await _chunks(client, "demo-rate-200x100", "go")
    assert len(chunks) == 102
    assert time.monotonic() - start >= 0.49
    assert len({chunk.choices[0].delta.content for chunk in chunks[1:-1]}) == 100


async def test_timed_tokens_say_when_they_were_written(client: openai.AsyncOpenAI) -> None:
    before = time.monotonic_ns()
    times = [int(t) for t in _text(await _chunks(client, "demo-timed-500x20", "go")).split()]
    assert len(times) == 20
    assert before < times[0]
    assert times == sorted(times)
    assert times[-1] < time.monotonic_ns()


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("demo-error-401", openai.AuthenticationError, "invalid_api_key"),
        ("demo-error-429", openai.RateLimitError, "rate_limit_exceeded"),
        ("demo-error-500", openai.InternalServerError, None),
        ("demo-context-length", openai.BadRequestError, "context_length_exceeded"),
        ("demo-error-content-filter", openai.BadRequestError, "content_filter"),
        ("gpt-none", openai.NotFoundError, "model_not_found"),
        ("demo-rate-0x5", openai.NotFoundError, "model_not_found"),
    ],
)
async def test_errors_have_the_shape_of_openai(
    client: openai.AsyncOpenAI, model: str, error: type[openai.APIStatusError], code: str | None
) -> None:
    with pytest.raises(error) as caught:
        await _chunks(client, model, "hi")
    assert caught.value.code == code
    if error is openai.RateLimitError:
        assert caught.value.response.headers["retry-after"] == "1"


async def test_an_error_in_mid_stream_follows_some_text(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.APIError, match="had an error"):
        await _chunks(client, "demo-error-mid-stream", "hi")


async def test_a_cut_is_a_connection_that_ends(client: openai.AsyncOpenAI) -> None:
    with pytest.raises((httpx.RemoteProtocolError, openai.APIConnectionError)):
        await _chunks(client, "demo-cut", "hi")


async def test_a_stream_may_end_without_done(demo_model: str) -> None:
    body = {"model": "demo-no-done", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    async with httpx.AsyncClient() as http:
        text = (await http.post(f"{demo_model}/chat/completions", json=body)).text
    assert '"finish_reason":"stop"' in text
    assert "[DONE]" not in text


@pytest.mark.parametrize("model", ["demo-cut-once", "demo-error-429-once", "demo-error-mid-stream-x1"])
async def test_an_error_that_occurs_once_occurs_once_per_conversation(client: openai.AsyncOpenAI, model: str) -> None:
    for prompt in ("first", "second"):
        with pytest.raises((openai.APIError, httpx.RemoteProtocolError)):
            await _chunks(client, model, prompt)
        assert prompt in _text(await _chunks(client, model, prompt))


@pytest.mark.parametrize(("model", "tokens"), [("demo-stall", 20), ("demo-stall-first", 0)])
async def test_a_stalled_stream_counts_the_client_that_gives_up(
    client: openai.AsyncOpenAI, demo_model_process: DemoModelProcess, model: str, tokens: int
) -> None:
    prompt = f"{model} gives up"
    with pytest.raises((openai.APITimeoutError, httpx.ReadTimeout)):
        await _chunks(client, model, prompt, timeout=1.0)
    ended = await eventually(lambda: [record for record in demo_model_process.streams(prompt) if record.ended])
    assert [(record.end, record.tokens) for record in ended] == [("closed_by_client", tokens)]


async def test_a_client_that_does_not_read_holds_the_stream_back(
    demo_model: str, demo_model_process: DemoModelProcess
) -> None:
    body = {
        "model": "demo-rate-100000x200000",
        "stream": True,
        "messages": [{"role": "user", "content": "slow reader"}],
    }
    async with (
        httpx.AsyncClient(timeout=60) as http,
        http.stream("POST", f"{demo_model}/chat/completions", json=body) as response,
    ):
        seen: list[int] = []

        def rests() -> bool:
            seen.append(demo_model_process.streams("slow reader")[0].tokens)
            return len(seen) > 5 and len(set(seen[-5:])) == 1

        await eventually(rests, deadline=30)
        assert 0 < seen[-1] < 200_000
        count = 0
        async for line in response.aiter_lines():
            count += line.startswith("data:")
        assert count == 200_000 + 3


async def test_a_wrong_key_is_refused_when_one_is_asked_for(tmp_path: Path) -> None:
    with DemoModelProcess(tmp_path, api_key="secret") as process:
        async with openai.AsyncOpenAI(base_url=process.url, api_key="secret", max_retries=0) as right:
            assert "hi" in _text(await _chunks(right, "demo-fast", "hi"))
        async with openai.AsyncOpenAI(base_url=process.url, api_key="other", max_retries=0) as wrong:
            with pytest.raises(openai.AuthenticationError):
                await _chunks(wrong, "demo-fast", "hi")


@pytest.mark.parametrize("body", [b"not json", b"{}", b'{"model":"demo","messages":[]}', b"\xff\xfe"])
async def test_what_is_not_a_request_is_refused_with_a_reason(demo_model: str, body: bytes) -> None:
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{demo_model}/chat/completions", content=body)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert (await http.get(f"{demo_model}/nothing")).status_code == 404
