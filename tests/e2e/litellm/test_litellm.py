"""LiteLLM's proxy as the provider, with the demo model behind it: its way of streaming and of wrapping errors."""

from collections.abc import AsyncIterator, Iterator

import pytest

from parley.contracts.resources import Message
from parley_client import ParleyClient
from tests.e2e.litellm import proxy
from tests.support.demo_model import DemoModelProcess
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.skipif(not proxy.PROGRAM.exists(), reason="LiteLLM's proxy is not installed in .venv-litellm"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoModelProcess]:
    with DemoModelProcess(tmp_path_factory.mktemp("upstream")) as running:
        yield running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, upstream: DemoModelProcess) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("litellm")
    with proxy.LiteLLMProxy(folder, upstream.url) as litellm:
        environment = {
            "OPENAI_BASE_URL": litellm.url,
            "OPENAI_API_KEY": proxy.KEY,
            "MODEL": "demo-fast",
            # The proxy lists its wildcard, not what it stands for.
            "ANY_MODEL": "true",
        }
        with RunningStack(folder / "data", environment=environment) as running:
            yield running


@pytest.fixture
async def client(stack: RunningStack) -> AsyncIterator[ParleyClient]:
    async with stack.client() as client:
        yield client


async def _answer(client: ParleyClient, model: str, content: str) -> Message:
    chat = await client.api.create_chat(model=model)
    async with client.watch(chat.id) as watch:
        return await watch.answer_to(await client.api.send(chat.id, content), timeout=90)


async def test_an_answer_comes_through_with_its_usage(client: ParleyClient) -> None:
    answer = await _answer(client, "demo-fast", "Tell me about otters")
    assert answer.status == "complete"
    assert "otters" in answer.content
    assert answer.usage is not None
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 50


async def test_reasoning_comes_through_apart_from_the_answer(client: ParleyClient) -> None:
    answer = await _answer(client, "demo-reasoning", "Tell me about tides")
    assert answer.status == "complete"
    assert answer.reasoning
    assert "tides" in answer.content
    assert answer.reasoning not in answer.content


async def test_its_models_are_listed(client: ParleyClient) -> None:
    models = await client.api.models()
    assert {"demo-fast", "demo-reasoning"} <= set(models.items)
    assert models.default == "demo-fast"


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("demo-error-401", "provider_auth"),
        ("demo-context-length", "context_too_long"),
        ("demo-error-content-filter", "content_refused"),
        ("demo-unheard-of", "model_not_found"),
    ],
)
async def test_an_error_that_no_retry_cures_is_asked_once(
    client: ParleyClient, upstream: DemoModelProcess, model: str, code: str
) -> None:
    before = upstream.stats().requests_by_model.get(model, 0)
    answer = await _answer(client, model, "permanent")
    assert upstream.stats().requests_by_model.get(model, 0) == before + 1
    assert answer.status == "failed"
    assert answer.error is not None
    assert answer.error.code == code, answer.error
    assert "litellm" not in answer.error.message.lower(), "people are not shown the proxy's exception"


@pytest.mark.parametrize(
    "model", ["demo-error-429-once", "demo-error-500-once", "demo-cut-once", "demo-error-mid-stream-once"]
)
async def test_an_error_that_passes_is_asked_again(client: ParleyClient, model: str) -> None:
    answer = await _answer(client, model, f"transient {model}")
    assert answer.status == "complete"
    assert answer.content


async def test_a_stop_closes_the_connection_of_the_model_behind_the_proxy(
    client: ParleyClient, upstream: DemoModelProcess
) -> None:
    chat = await client.api.create_chat(model="demo-rate-20x4000")
    async with client.watch(chat.id) as watch:
        prompt = await client.api.send(chat.id, "stop behind the proxy")
        await watch.until(lambda state: state.generation and len(state.generation.text) > 60)
        await client.api.stop(chat.id)
        answer = await watch.answer_to(prompt)
    assert answer.status == "stopped"

    def closed() -> bool:
        return [stream.end for stream in upstream.streams("stop behind the proxy")] == ["closed_by_client"]

    await eventually(closed, deadline=30)
