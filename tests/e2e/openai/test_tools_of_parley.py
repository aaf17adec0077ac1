"""Calls of tools that Parley runs, as items of OpenAI's Responses."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI

from tests.e2e.openai.test_responses import events_of, raw, sdk_of, text_of, token_of
from tests.support.counting_tools import CountingTools
from tests.support.stack import RunningStack
from tests.support.waiting import eventually
from tests.unit.gateway.openai.responses import check_response

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def tools_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("tools")
    with CountingTools(folder) as server:
        servers = json.dumps([{"name": "counting", "url": server.url}])
        with RunningStack(folder / "data", environment={"MCP_SERVERS": servers}) as running:
            yield running


@pytest.fixture
async def sdk(tools_stack: RunningStack) -> AsyncIterator[AsyncOpenAI]:
    async with tools_stack.client() as client, sdk_of(await token_of(client), tools_stack.url) as sdk:

        async def knows_tools() -> bool:
            return "count" in (await sdk.responses.create(model="demo-echo", input="Hi")).output_text

        await eventually(knows_tools, deadline=60)  # a worker answers without tools until then
        yield sdk


async def test_a_call_that_parley_runs_is_an_item_with_its_result(sdk: AsyncOpenAI) -> None:
    prompt = 'count {"step": "a"}'
    events = await events_of(await sdk.responses.create(model="demo-tools", input=prompt, stream=True))
    kinds = [event["type"] for event in events]
    assert kinds.index("response.mcp_call.in_progress") < kinds.index("response.mcp_call.completed")
    response = events[-1]["response"]
    check_response(response)
    [call] = [item for item in response["output"] if item["type"] == "mcp_call"]
    assert (call["server_label"], call["name"], call["status"]) == ("counting", "count", "completed")
    assert (json.loads(call["arguments"]), call["output"], call["error"]) == ({"step": "a"}, "counted a", None)
    replayed = await events_of(await sdk.responses.retrieve(response["id"], stream=True))
    assert text_of(replayed) == text_of(events)
    assert [event["type"] for event in replayed if ".delta" not in event["type"]] == [
        kind for kind in kinds if ".delta" not in kind
    ]
    # The output of one response as the input of the next.
    again = await sdk.responses.create(
        model="demo-echo", input=[*response["output"], {"role": "user", "content": "And now?"}]
    )
    assert "counted a" in again.output_text


async def test_a_call_that_fails_is_an_item_with_its_error(sdk: AsyncOpenAI) -> None:
    response = await sdk.responses.create(model="demo-tools", input='count {"number": 3}')
    check_response(raw(response))
    [call] = [item for item in response.output if item.type == "mcp_call"]
    assert call.status == "failed"
    assert call.error is not None
    assert response.status == "completed"
