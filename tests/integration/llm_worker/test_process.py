"""The process: its start, its errors at start, its end."""

import signal
import time

from parley.contracts import rpc
from parley.contracts.streams import LLM_WORKER_REQUESTS
from parley.runtime.nats.connect import connect
from parley.runtime.nats.provision import provision
from parley.runtime.nats.requests import ask
from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.ports import free_port
from tests.integration.llm_worker.conftest import ACK_WAIT, StartWorker
from tests.integration.llm_worker.harness import Harness
from tests.support.service import run_service
from tests.support.waiting import eventually


async def test_a_missing_setting_is_named() -> None:
    process = run_service("llm_worker", {}, ready=False)
    process.start()
    assert process.wait() == 2
    assert "NATS_URL: Field required" in process.log
    assert "Traceback" not in process.log


async def test_a_missing_stream_is_named(nats_server: NatsServer) -> None:
    process = run_service("llm_worker", {"NATS_URL": nats_server.url, "OPENAI_BASE_URL": "http://127.0.0.1:1"})
    process.start()
    assert process.wait(deadline=30) == 3
    assert "stream CHAT does not exist" in process.log
    assert "parley migrate" in process.log
    assert "Traceback" not in process.log


async def test_it_waits_for_a_migration_that_comes_later(nats_server: NatsServer) -> None:
    settings = {"NATS_URL": nats_server.url, "OPENAI_BASE_URL": "http://127.0.0.1:1", "MIGRATION_WAIT": "60"}
    async with run_service("llm_worker", settings, ready=False) as process:
        await eventually(lambda: "for the migration: The stream CHAT does not exist" in process.log, deadline=30)
        assert process.get("/healthz")[0] == 200
        assert process.get("/readyz")[0] == 503
        nc = await connect(nats_server.url, name="test")
        await provision(nc)
        await nc.close()
        await eventually(lambda: process.get("/readyz")[0] == 200, deadline=30)


async def test_it_waits_for_nats_and_ends_on_sigterm_meanwhile() -> None:
    process = run_service("llm_worker", {"NATS_URL": f"nats://127.0.0.1:{free_port()}"}, ready=False)
    process.start()
    await eventually(lambda: process.get("/healthz")[0] == 200)
    await eventually(lambda: "not connected" in process.get("/readyz")[1])
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert "Traceback" not in process.log


async def test_probes_and_metrics_report_its_state(
    nats_server: NatsServer, harness: Harness, worker: StartWorker
) -> None:
    async with worker() as process:
        turn = await harness.ask("count me")
        await harness.wait_for_end(turn)
        await eventually(
            lambda: 'parley_llm_worker_answers_total{outcome="complete"} 1.0' in process.get("/metrics")[1]
        )
        metrics = process.get("/metrics")[1]
        assert "parley_llm_worker_queue_seconds_count 1.0" in metrics
        assert "parley_llm_worker_takeovers_total 0.0" in metrics
        assert f"parley_llm_worker_tokens_total {turn.deltas()[-1].to}" in metrics
        assert turn.chat_id not in metrics
        nats_server.kill()
        await eventually(lambda: process.get("/readyz")[0] == 503)
        assert process.get("/healthz")[0] == 200
        nats_server.start()
        await eventually(lambda: process.get("/readyz")[0] == 200)


async def test_tokens_are_counted_by_model_but_a_made_up_name_is_no_label(
    harness: Harness, worker: StartWorker
) -> None:
    async with worker() as process:
        await ask(harness.nc, rpc.ListModels(), timeout=10)
        usages = {}
        for model, label in (("demo-fast", "demo-fast"), ("demo-rate-500x20", "other")):
            usages[label] = (await harness.wait_for_end(await harness.ask("count me", model=model))).usage
        expected = {
            f'parley_llm_worker_model_tokens_total{{direction="{direction}",model="{label}"}} {count:.1f}'
            for label, usage in usages.items()
            if usage is not None
            for direction, count in (("input", usage.input_tokens), ("output", usage.output_tokens))
        }
        assert len(expected) == 4
        await eventually(lambda: expected <= set(process.get("/metrics")[1].splitlines()))
        assert "demo-rate" not in process.get("/metrics")[1]


async def test_it_ends_while_nats_is_away(nats_server: NatsServer, harness: Harness, worker: StartWorker) -> None:
    async with worker() as process:
        turn = await harness.ask("cut off", model="demo-long")
        await harness.wait_for_text(turn)
        nats_server.kill()
        await eventually(lambda: process.get("/readyz")[0] == 503)
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        assert process.wait(deadline=20) == 0
        assert time.monotonic() - began < 15


async def test_a_missing_consumer_is_reported_and_the_worker_continues_when_it_is_back(
    harness: Harness, worker: StartWorker, nats_server: NatsServer
) -> None:
    async with worker() as process:
        await harness.wait_for_end(await harness.ask("before"))
        nc = await connect(nats_server.url, name="test")
        try:
            await nc.jetstream().delete_consumer("CHAT", LLM_WORKER_REQUESTS.name)
            sentence = "The consumer llm-worker-requests of CHAT does not exist. Run `parley migrate`."
            await eventually(lambda: sentence in process.get("/readyz")[1], deadline=30)
            await provision(nc, ack_wait=ACK_WAIT)
            await eventually(lambda: process.get("/readyz")[0] == 200, deadline=30)
            await harness.wait_for_end(await harness.ask("after"))
            await eventually(lambda: process.log.count(f"Not ready: {sentence}") == 1)
        finally:
            await nc.close()
