"""Tools of Parley's own: servers of other projects, and a worker that is killed between two calls."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from parley.contracts.events import GenerationFinished
from parley.contracts.ids import new_id
from tests.integration.llm_worker.conftest import ACK_WAIT, StartWorker, run_worker
from tests.integration.llm_worker.harness import Harness, Turn, start_harness, text_of
from tests.support.counting_tools import CountingTools
from tests.support.demo_model import DemoModelProcess
from tests.support.everything_tools import EverythingTools
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually

TIME = {"name": "time", "command": [sys.executable, "-m", "mcp_server_time"]}
START = 60.0
"""Seconds for a worker with tool servers: it and they import much."""

COUNT = 'count {"step": "a"}'
WAIT = 'wait {"step": "a", "seconds": 60}'


def servers(*entries: dict[str, Any]) -> dict[str, str]:
    return {"MCP_SERVERS": json.dumps(entries), "LOG_LEVEL": "DEBUG"}


def statuses(turn: Turn) -> list[str]:
    """The status of the calls, as they changed."""
    return [delta.tool.call.status for delta in turn.deltas() if delta.tool is not None and delta.tool.call is not None]


async def wait_for_tools(harness: Harness, *tools: str) -> None:
    """Return when the worker knows these tools: until then its answers come without them."""

    async def known() -> bool:
        turn = await harness.ask("", model="demo-echo")
        sent = json.loads((await harness.wait_for_end(turn, deadline=START)).text)
        return {tool["function"]["name"] for tool in sent.get("tools", ())} >= set(tools)

    await eventually(known, deadline=START)


async def answer(harness: Harness, prompt: str, model: str = "demo-tools") -> GenerationFinished:
    return await harness.wait_for_end(await harness.ask(prompt, model=model), deadline=START)


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CountingTools]:
    with CountingTools(tmp_path_factory.mktemp("counting")) as server:
        yield server


@pytest.fixture
def counted(counting: CountingTools) -> CountingTools:
    """The server, with nothing counted."""
    counting.forget()
    return counting


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EverythingTools]:
    with EverythingTools(tmp_path_factory.mktemp("everything")) as server:
        yield server


@pytest.fixture(scope="module")
def tools_worker(
    module_nats_url: str,
    demo_model_process: DemoModelProcess,
    counting: CountingTools,
    everything: EverythingTools,
) -> Iterator[ServiceProcess]:
    """A worker with tool servers of each kind, for all tests of this module that need nothing special."""
    secret = {"Authorization": f"Bearer {SECRET}"}
    entries = servers(
        TIME,
        {"name": "counting", "url": counting.url, "headers": secret},
        {"name": "quick", "url": counting.url, "tools": ["wait"], "timeout": 0.5},
        {"name": "short", "url": counting.url, "tools": ["count"], "max_result_bytes": 9},
        {"name": "careful", "url": counting.url, "tools": ["co*"], "approval": ["count"]},
        {"name": "other", "url": counting.url, "models": ["gpt-*"]},
        {"name": "everything", "url": everything.url, "tools": ["get-sum", "get-tiny-image"]},
        {"name": "broken", "url": "http://127.0.0.1:9/mcp", "headers": secret},
    )
    with run_worker(module_nats_url, demo_model_process.url, **entries) as process:
        yield process


SECRET = f"secret-{new_id()}"
OFFERED = (
    "get_current_time",
    "convert_time",
    "count",
    "wait",
    "quick_wait",
    "short_count",
    "careful_count",
    "get-sum",
    "get-tiny-image",
)


@pytest.fixture
async def tools(tools_worker: ServiceProcess, module_nats_url: str) -> AsyncIterator[Harness]:
    """The harness around :func:`tools_worker`, which knows its tools."""
    async with start_harness(module_nats_url, ack_wait=ACK_WAIT) as built:
        await wait_for_tools(built, *OFFERED)
        yield built


async def test_an_answer_uses_a_server_of_another_project_over_stdio(tools: Harness) -> None:
    turn = await tools.ask('get_current_time {"timezone": "Asia/Tokyo"}', model="demo-tools")
    end = await tools.wait_for_end(turn, deadline=START)
    assert (end.outcome, end.finish_reason) == ("complete", "stop")
    (call,) = end.tool_calls
    assert (call.name, call.server, call.status) == ("get_current_time", "time", "complete")
    assert '"timezone": "Asia/Tokyo"' in (call.result or "")
    assert (call.result or "") in end.text
    await eventually(lambda: text_of(turn.deltas()) == end.text)
    assert statuses(turn) == ["called", "running", "complete"]
    assert turn.rounds[0].calls == [call]
    assert end.usage is not None
    assert not end.usage.estimated


async def test_an_answer_uses_the_reference_server_over_streamable_http(tools: Harness) -> None:
    end = await answer(tools, 'get-sum {"a": 19, "b": 23}')
    (call,) = end.tool_calls
    assert (call.name, call.server, call.status) == ("get-sum", "everything", "complete")
    assert "42" in (call.result or "")
    assert (call.result or "") in end.text
    image = await answer(tools, "get-tiny-image")
    assert "[image: image/png]" in (image.tool_calls[0].result or "")


async def test_a_failed_call_is_for_the_model_to_deal_with(tools: Harness) -> None:
    end = await answer(tools, 'get_current_time {"timezone": "Nowhere"}')
    assert (end.outcome, end.tool_calls[0].status) == ("complete", "failed")
    assert "Nowhere" in (end.tool_calls[0].result or "")
    assert (end.tool_calls[0].result or "") in end.text


async def test_calls_of_several_servers_are_run_one_after_the_other(tools: Harness, counted: CountingTools) -> None:
    end = await answer(tools, 'count and wait, {"step": "a", "seconds": 0.05}', model="demo-tools-2x2")
    assert [(call.name, call.status) for call in end.tool_calls] == [("count", "complete"), ("wait", "complete")] * 2
    assert [run.tool for run in counted.counted()] == ["count", "wait"] * 2
    assert len({run.key for run in counted.counted()}) == 4


async def test_stop_cancels_a_running_call(tools: Harness, counted: CountingTools) -> None:
    turn = await tools.ask(WAIT, model="demo-tools")
    await eventually(lambda: len(counted.counted()) == 1, deadline=START)
    await tools.stop(turn)
    end = await tools.wait_for_end(turn)
    await eventually(lambda: len(counted.counted("cancelled")) == 1)
    assert (end.outcome, end.tool_calls[0].status) == ("stopped", "failed")


async def test_a_slow_call_fails_in_time_and_the_answer_goes_on(tools: Harness, tools_worker: ServiceProcess) -> None:
    end = await answer(tools, f"quick_{WAIT}")
    assert (end.outcome, end.tool_calls[0].status) == ("complete", "failed")
    assert end.tool_calls[0].result == "The tool server quick did not answer within 0.5 seconds."
    assert "did not answer" in end.text
    assert 'tool_calls_total{outcome="failed",server="quick"} 1.0' in tools_worker.get("/metrics")[1]


async def test_a_long_result_is_cut(tools: Harness) -> None:
    end = await answer(tools, 'short_count {"step": "abc"}')
    assert end.tool_calls[0].result == "counted a\n[The first 9 of 11 bytes.]"


async def test_only_the_chosen_tools_and_models_count(tools: Harness) -> None:
    sent = json.loads((await answer(tools, "", model="demo-echo")).text)
    assert [tool["function"]["name"] for tool in sent["tools"]] == list(OFFERED)


@pytest.mark.parametrize("approved", [True, False])
async def test_a_call_waits_for_the_decision_of_a_user(tools: Harness, counted: CountingTools, approved: bool) -> None:
    turn = await tools.ask(f"careful_{COUNT}", model="demo-tools")
    await eventually(lambda: 0 in turn.rounds and turn.rounds[0].calls[0].status == "awaiting_approval")
    assert counted.counted() == []
    await tools.decide(turn, turn.rounds[0].calls[0].id, approved=approved)
    end = await tools.wait_for_end(turn)
    assert (end.outcome, end.tool_calls[0].status) == ("complete", "complete" if approved else "denied")
    assert len(counted.counted()) == approved


async def test_credentials_are_not_logged(tools: Harness, tools_worker: ServiceProcess) -> None:
    await eventually(lambda: "The tool server broken does not list its tools" in tools_worker.log, deadline=START)
    await eventually(lambda: "The connection to the tool server broken failed: ConnectError" in tools_worker.log)
    assert SECRET not in tools_worker.log


# --- a worker or a server that dies -----------------------------------------------------------------------------------


async def test_a_worker_that_is_killed_between_two_calls_runs_none_twice(
    harness: Harness, worker: StartWorker, counted: CountingTools
) -> None:
    settings = servers({"name": "counting", "url": counted.url})
    async with worker(**settings) as first:
        await wait_for_tools(harness, "wait")
        turn = await harness.ask('wait {"step": "a", "seconds": 0.3}', model="demo-tools-6x1")
        await eventually(lambda: 2 in turn.rounds and turn.rounds[2].calls[0].result is not None, deadline=START)
        first.kill()
    stored = [call for number in sorted(turn.rounds) for call in turn.rounds[number].calls if call.result is not None]
    assert len(stored) >= 3
    async with worker(**settings):
        end = await harness.wait_for_end(turn, deadline=START)
    assert (end.outcome, end.attempt, len(end.tool_calls)) == ("complete", 2, 6)
    assert end.tool_calls[: len(stored)] == stored
    keys = [run.key for run in counted.counted()]
    expected = [f"{turn.generation_id}:{number}:{call.id}" for number, call in enumerate(end.tool_calls)]
    assert set(keys) == set(expected)
    for key, call in zip(expected, end.tool_calls, strict=True):
        # The one that was running when the worker was killed ran again.
        assert keys.count(key) == 1 or (keys.count(key) == 2 and call not in stored)
    await eventually(lambda: text_of(turn.deltas(2)) == end.text)


async def test_a_call_that_ran_when_its_worker_was_killed_runs_again_with_its_key(
    harness: Harness, worker: StartWorker, counted: CountingTools
) -> None:
    settings = servers({"name": "counting", "url": counted.url})
    async with worker(**settings) as first:
        await wait_for_tools(harness, "wait")
        turn = await harness.ask(WAIT, model="demo-tools")
        await eventually(lambda: len(counted.counted()) == 1, deadline=START)
        first.kill()
    async with worker(**settings):
        await eventually(lambda: len(counted.counted()) == 2, deadline=START)
        await harness.stop(turn)
        end = await harness.wait_for_end(turn, deadline=START)
    assert (end.outcome, end.tool_calls[0].status) == ("stopped", "failed")
    assert len({run.key for run in counted.counted()}) == 1


async def test_a_server_that_goes_away_and_comes_back_is_used_again(
    harness: Harness, worker: StartWorker, tmp_path: Path
) -> None:
    with CountingTools(tmp_path) as server:
        async with worker(**servers({"name": "counting", "url": server.url})):
            await wait_for_tools(harness, "count")
            server.kill()
            end = await answer(harness, COUNT)
            assert (end.outcome, end.tool_calls[0].status) == ("complete", "failed")
            server.start()
            await asyncio.to_thread(server.wait_ready)
            end = await answer(harness, COUNT)
            assert (end.outcome, end.tool_calls[0].status) == ("complete", "complete")
