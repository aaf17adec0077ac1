"""Whatever the provider does, the answer ends, with a message for a person."""

import asyncio
import time

import pytest

from parley.contracts.ids import new_id
from parley_cli.embedded.ports import free_port
from tests.integration.llm_worker.conftest import StartWorker
from tests.integration.llm_worker.harness import Harness, text_of
from tests.support.demo_model import DemoModelProcess
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually


@pytest.mark.parametrize("model", ["demo-error-429-once", "demo-error-500-once", "demo-error-500-x3"])
async def test_a_transient_error_before_the_first_token_is_retried(shared: Harness, model: str) -> None:
    turn = await shared.ask(new_id(), model=model)
    end = await shared.wait_for_end(turn)
    assert (end.outcome, end.attempt, end.error) == ("complete", 1, None)
    retrying = [frame for frame in turn.generations() if frame.status == "retrying"]
    assert len(retrying) == (3 if model.endswith("x3") else 1)
    assert all(frame.retry_at is not None for frame in retrying)
    await eventually(lambda: text_of(turn.deltas()) == end.text)


async def test_retry_after_is_respected(shared: Harness, demo_model_process: DemoModelProcess) -> None:
    began = time.monotonic()
    mark = new_id()
    turn = await shared.ask(mark, model="demo-error-429-once")
    await shared.wait_for_end(turn)
    [record] = demo_model_process.streams(mark)
    assert record.started - began >= 1.0


@pytest.mark.parametrize("model", ["demo-error-mid-stream-once", "demo-cut-once"])
async def test_a_transient_error_in_mid_stream_starts_a_new_attempt(shared: Harness, model: str) -> None:
    turn = await shared.ask(new_id(), model=model)
    end = await shared.wait_for_end(turn)
    assert (end.outcome, end.attempt) == ("complete", 2)
    await eventually(lambda: text_of(turn.deltas(2)) == end.text)
    assert text_of(turn.deltas(1))
    assert [frame.attempt for frame in turn.generations() if frame.status == "started"] == [1, 2]
    assert [frame.status for frame in turn.generations()] == ["started", "retrying", "started"]
    await eventually(lambda: shared.unacknowledged_is(0))


async def test_a_token_timeout_starts_a_new_attempt(
    harness: Harness, worker: StartWorker, demo_model_process: DemoModelProcess
) -> None:
    async with worker(TOKEN_TIMEOUT="0.5"):
        mark = new_id()
        turn = await harness.ask(mark, model="demo-stall-once")
        end = await harness.wait_for_end(turn)
        assert (end.outcome, end.attempt) == ("complete", 2)
        assert demo_model_process.streams(mark)[0].end == "closed_by_client"


async def test_a_first_token_timeout_is_retried(harness: Harness, worker: StartWorker) -> None:
    async with worker(FIRST_TOKEN_TIMEOUT="0.5"):
        turn = await harness.ask(new_id(), model="demo-stall-first-once")
        end = await harness.wait_for_end(turn)
        assert (end.outcome, end.attempt) == ("complete", 1)


@pytest.mark.parametrize(
    ("model", "code"), [("demo-cut", "provider_unavailable"), ("demo-error-mid-stream", "provider_unavailable")]
)
async def test_exhausted_attempts_end_with_the_partial_text(shared: Harness, model: str, code: str) -> None:
    turn = await shared.ask(new_id(), model=model)
    end = await shared.wait_for_end(turn)
    assert (end.outcome, end.attempt) == ("failed", 4)
    assert end.error is not None
    assert (end.error.code, end.error.retryable) == (code, True)
    assert end.text == text_of(turn.deltas(3))
    assert end.text
    assert len({claim.claim_id for claim in turn.claims}) == 4


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("demo-error-401", "provider_auth"),
        ("demo-context-length", "context_too_long"),
        ("demo-error-content-filter", "content_refused"),
        ("no-such-model", "model_not_found"),
    ],
)
async def test_a_permanent_error_fails_at_once(
    shared: Harness, shared_worker: ServiceProcess, model: str, code: str
) -> None:
    turn = await shared.ask(new_id(), model=model)
    end = await shared.wait_for_end(turn)
    assert (end.outcome, end.attempt, end.text) == ("failed", 1, "")
    assert end.error is not None
    assert end.error.code == code
    assert not [frame for frame in turn.generations() if frame.status == "retrying"]
    await eventually(lambda: code in shared_worker.log)


async def test_a_refusal_keeps_the_text_of_the_model(shared: Harness) -> None:
    turn = await shared.ask(new_id(), model="demo-refusal")
    end = await shared.wait_for_end(turn)
    assert (end.outcome, end.finish_reason) == ("failed", "content_filter")
    assert end.error is not None
    assert end.error.code == "content_refused"
    assert end.text == text_of(turn.deltas())
    assert end.text


async def test_a_stream_without_done_is_complete(shared: Harness) -> None:
    turn = await shared.ask(new_id(), model="demo-no-done")
    assert (await shared.wait_for_end(turn)).outcome == "complete"


async def test_retries_end_after_retry_time(harness: Harness, worker: StartWorker) -> None:
    async with worker(RETRY_TIME="1.5"):
        limited = await harness.ask(new_id(), model="demo-error-429")
        broken = await harness.ask(new_id(), model="demo-error-500")
        silent = await harness.ask(new_id(), model="demo-error-500")
        for turn, code in (
            (limited, "rate_limited"),
            (broken, "provider_unavailable"),
            (silent, "provider_unavailable"),
        ):
            end = await harness.wait_for_end(turn)
            assert end.outcome == "failed"
            assert end.error is not None
            assert (end.error.code, end.error.retryable) == (code, True)


async def test_retries_of_a_first_token_timeout_end_after_retry_time(harness: Harness, worker: StartWorker) -> None:
    async with worker(FIRST_TOKEN_TIMEOUT="0.3", RETRY_TIME="0.5"):
        turn = await harness.ask(new_id(), model="demo-stall-first")
        end = await harness.wait_for_end(turn)
        assert end.error is not None
        assert end.error.code == "provider_timeout"


async def test_a_provider_that_is_not_there_is_named_in_the_log_only(harness: Harness, worker: StartWorker) -> None:
    port = free_port()
    async with worker(OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1", RETRY_TIME="0.5") as process:
        turn = await harness.ask(new_id(), model="any")
        end = await harness.wait_for_end(turn)
        assert end.error is not None
        assert end.error.code == "provider_unavailable"
        assert str(port) not in end.error.message
        await eventually(lambda: str(port) in process.log)


async def test_an_answer_continues_when_the_provider_is_back(harness: Harness, worker: StartWorker) -> None:
    port = free_port()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        chunk = b'data: {"choices":[{"delta":{"content":"Back."},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + chunk)
        await writer.drain()
        writer.close()

    async with worker(OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1"):
        turn = await harness.ask(new_id(), model="any")
        await eventually(lambda: any(frame.status == "retrying" for frame in turn.generations()))
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        async with server:
            assert (await harness.wait_for_end(turn)).text == "Back."


async def test_a_server_that_is_no_provider_is_a_permanent_error(harness: Harness, worker: StartWorker) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server, worker(OPENAI_BASE_URL=url) as process:
        turn = await harness.ask(new_id(), model="any")
        end = await harness.wait_for_end(turn)
        assert end.error is not None
        assert (end.error.code, end.error.retryable) == ("provider_error", False)
        await eventually(lambda: "OPENAI_BASE_URL must be an OpenAI-compatible API" in process.log)


async def test_without_a_key_and_a_base_url_the_log_names_what_to_set(harness: Harness, worker: StartWorker) -> None:
    async with worker(OPENAI_BASE_URL="") as process:
        turn = await harness.ask(new_id(), model=None)
        end = await harness.wait_for_end(turn)
        assert end.error is not None
        assert end.error.code == "provider_auth"
        await eventually(lambda: "Set OPENAI_API_KEY" in process.log)
        assert end.model == "gpt-4o-mini"
