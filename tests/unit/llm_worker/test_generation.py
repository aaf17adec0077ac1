"""How an answer ends, by what its provider sends."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_worker.generation import attempt, generation
from llm_worker.provider import error_mapping, error_templates
from parley.contracts.completion import Span, ToolCall
from parley.contracts.events import GenerationFinished
from parley.contracts.limits import MAX_ATTEMPTS
from parley.contracts.resources import Usage
from parley.runtime.backoff import Backoff
from tests.unit.llm_worker.scripted_run import COUNT, Ended, Reads, Run
from tests.unit.llm_worker.test_completion import DONE, chunk, event


def again(*items: bytes | float, times: int = 9999) -> Reads:
    return [*items] * times


def error_of(end: GenerationFinished) -> tuple[str, bool]:
    assert end.error is not None
    return end.error.code, end.error.retryable


async def test_an_answer_is_complete_and_its_usage_is_the_providers(ended: Ended) -> None:
    end = await ended(Run([chunk(content="Late."), chunk("stop"), COUNT, DONE]))
    assert (end.outcome, end.text, end.finish_reason) == ("complete", "Late.", "stop")
    assert end.usage == Usage(input_tokens=7, output_tokens=3)


async def test_the_parameters_of_a_claim_are_sent_and_their_tools_are_counted(ended: Ended) -> None:
    run = Run([chunk(content="Late."), DONE])
    run.claims.parameters = {"seed": 7, "tools": [{"type": "function", "function": {"name": "clock"}}], "model": "x"}
    end = await ended(run)
    [(_, model, members)] = run.provider.asked
    assert (model, members["seed"], members["tools"][0]["function"]) == ("m", 7, {"name": "clock"})
    assert "model" not in members
    assert end.usage is not None
    assert end.usage.input_tokens > 16


async def test_the_usage_of_an_answer_without_a_count_is_estimated(ended: Ended) -> None:
    end = await ended(Run([chunk(content="Late."), chunk("stop"), DONE]))
    assert end.usage == Usage(input_tokens=8, output_tokens=2, estimated=True)


ERROR = event({"error": {"message": "went away", "code": 502}})


@pytest.mark.parametrize("script", [[chunk(content="Late.") + ERROR], [chunk(content="Late."), ERROR]])
async def test_text_before_an_error_is_published_and_its_attempt_counts_wherever_the_reads_end(
    ended: Ended, script: Reads
) -> None:
    run = Run(script)
    end = await ended(run)
    assert (end.outcome, end.text, end.attempt) == ("failed", "Late.", MAX_ATTEMPTS + 1)
    assert len(run.provider.asked) == MAX_ATTEMPTS
    assert error_of(end) == ("provider_unavailable", True)


@pytest.mark.parametrize("script", [[ERROR], [chunk(role="assistant", content="") + ERROR]])
async def test_an_error_before_any_text_is_retried_within_the_attempt(ended: Ended, script: Reads) -> None:
    run = Run(script, [chunk(content="Late."), DONE])
    end = await ended(run)
    assert (end.outcome, end.text, end.attempt) == ("complete", "Late.", 1)


async def test_a_permanent_error_is_not_retried_and_keeps_the_text(ended: Ended) -> None:
    run = Run([chunk(content="Late."), event({"error": {"message": "insufficient balance", "code": 402}})])
    end = await ended(run)
    assert (end.outcome, end.text, len(run.provider.asked)) == ("failed", "Late.", 1)
    assert error_of(end) == ("rate_limited", False)


@pytest.mark.parametrize("reason", ["network_error", "insufficient_system_resource", "error"])
async def test_a_finish_reason_that_means_failure_is_a_new_attempt(ended: Ended, reason: str) -> None:
    end = await ended(Run([chunk(content="La"), chunk(reason), DONE], [chunk(content="Late."), chunk("stop"), DONE]))
    assert (end.outcome, end.text, end.attempt) == ("complete", "Late.", 2)


@pytest.mark.parametrize("reason", ["content_filter", "sensitive", "SAFETY"])
async def test_an_answer_that_is_filtered_fails_with_what_was_said(ended: Ended, reason: str) -> None:
    run = Run([chunk(content="La"), chunk(reason), DONE])
    end = await ended(run)
    assert (end.outcome, end.text, end.finish_reason) == ("failed", "La", "content_filter")
    assert error_of(end) == ("content_refused", True)
    assert len(run.provider.asked) == 1


@pytest.mark.parametrize("script", [[DONE], [chunk("stop"), DONE], [chunk(content=""), chunk("stop")]])
async def test_an_empty_answer_fails_with_that_reason(ended: Ended, script: Reads) -> None:
    end = await ended(Run(script))
    assert (end.outcome, error_of(end)) == ("failed", ("provider_error", True))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([chunk(tool_calls=[{"index": 0, "function": {"name": "f"}}]), chunk("tool_calls"), DONE], "tool_calls"),
        ([chunk("length"), DONE], "length"),
    ],
)
async def test_an_empty_answer_with_a_reason_is_complete(ended: Ended, script: Reads, reason: str) -> None:
    end = await ended(Run(script))
    assert (end.outcome, end.text, end.finish_reason) == ("complete", "", reason)


TIME = chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "clock", "arguments": "{}"}}])


@pytest.mark.parametrize("last", [[chunk("tool_calls"), DONE], [chunk("stop"), DONE], [DONE]])
async def test_an_answer_that_calls_a_tool_ends_with_its_calls(ended: Ended, last: Reads) -> None:
    run = Run([TIME, *last])
    end = await ended(run)
    assert (end.outcome, end.text, end.finish_reason, end.error) == ("complete", "", "tool_calls", None)
    assert (end.tool_calls, end.layout) == ([ToolCall(id="a", name="clock", arguments="{}")], [])
    (delta,) = [frame for frame in run.live.frames if frame["type"] == "delta"]
    assert delta["tool"] == {"index": 0, "call": {"id": "a", "name": "clock", "arguments": "{}"}}
    assert (delta["kind"], delta["text"], delta["from"], delta["to"]) == ("text", "", 1, 1)
    assert (await run.generation.snapshot()).tool_calls == end.tool_calls


async def test_an_answer_that_promises_calls_and_has_none_ends_with_its_text(ended: Ended) -> None:
    end = await ended(Run([chunk(content="Late."), chunk("tool_calls"), DONE]))
    assert (end.outcome, end.text, end.finish_reason) == ("complete", "Late.", "stop")


async def test_an_answer_that_goes_on_after_a_call_has_a_layout(ended: Ended) -> None:
    end = await ended(Run([chunk(content="La"), TIME, chunk(content="te."), chunk("stop"), DONE]))
    assert (end.text, end.layout) == ("Late.", [Span("text", 2), Span("tool"), Span("text", 3)])


async def test_the_usage_of_calls_without_a_count_is_estimated(ended: Ended) -> None:
    end = await ended(Run([TIME, chunk("stop"), DONE]))
    assert end.usage is not None
    assert end.usage.estimated
    assert end.usage.output_tokens > 8


async def test_a_call_without_a_name_is_no_answer(ended: Ended) -> None:
    nameless = chunk(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}])
    end = await ended(Run([nameless, chunk("tool_calls"), DONE]))
    assert (end.outcome, error_of(end)) == ("failed", ("provider_error", True))


async def test_a_stream_that_does_not_end_after_its_finish_reason_is_waited_for_briefly(
    ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "_AFTER_FINISH", 0.1)
    began = time.monotonic()
    run = Run([chunk(content="Late."), chunk("stop"), COUNT, *again(0.02, b": ping\n\n")])
    end = await ended(run)
    assert (end.outcome, end.text, end.usage) == ("complete", "Late.", Usage(input_tokens=7, output_tokens=3))
    assert time.monotonic() - began < 10, "and not the 60 s between two tokens"
    assert run.provider.closed == 1


@pytest.mark.parametrize("last", [chunk("stop") + DONE, chunk("stop"), DONE])
async def test_a_connection_that_breaks_off_after_the_end_of_the_answer_is_no_error(ended: Ended, last: bytes) -> None:
    run = Run([chunk(content="Late."), last, error_templates.CONNECTION_LOST.error("reset")])
    end = await ended(run)
    assert (end.outcome, end.text, len(run.provider.asked)) == ("complete", "Late.", 1)


async def test_text_after_an_early_finish_reason_is_part_of_the_answer(ended: Ended) -> None:
    end = await ended(Run([chunk("stop", reasoning="Hm."), 0.05, chunk(content="Late."), chunk("stop"), DONE]))
    assert (end.text, end.reasoning) == ("Late.", "Hm.")


@pytest.mark.parametrize("sign", [b": ping\n\n", chunk(role="assistant", content=""), event({"choices": []})])
async def test_only_a_token_resets_the_first_token_timeout(ended: Ended, sign: bytes) -> None:
    run = Run(again(0.02, sign), first_token_timeout=0.2, retry_time=0)
    end = await ended(run)
    assert error_of(end) == ("provider_timeout", True)
    assert end.error is not None
    assert "did not begin" in end.error.message


async def test_a_tool_call_is_a_token(ended: Ended) -> None:
    call = chunk(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "x"}}])
    run = Run([*again(0.05, call, times=10), chunk("tool_calls"), DONE], token_timeout=0.3, first_token_timeout=0.3)
    assert (await ended(run)).outcome == "complete"


@pytest.mark.parametrize("end_of_stream", [[], [error_templates.CONNECTION_LOST.error("reset")]])
async def test_buffered_text_is_published_when_the_stream_is_cut_off(ended: Ended, end_of_stream: Reads) -> None:
    run = Run([chunk(content="<think>Hm. </thi"), *end_of_stream])
    assert (await ended(run)).reasoning == "Hm. </thi"


async def test_a_leading_tag_is_reasoning_but_for_models_that_are_named(ended: Ended) -> None:
    script = [chunk(content="<think>Hm.</think>Late."), DONE]
    end = await ended(Run(script))
    assert (end.text, end.reasoning) == ("Late.", "Hm.")


async def test_a_setting_keeps_the_tag_in_the_text(ended: Ended) -> None:
    end = await ended(Run([chunk(content="<think>Hm.</think>Late."), DONE], keep_think_tag="other, m*"))
    assert (end.text, end.reasoning) == ("<think>Hm.</think>Late.", "")


async def test_a_model_that_is_not_listed_is_not_requested(ended: Ended) -> None:
    run = Run([chunk(content="Late."), DONE], model="../../admin")
    assert error_of(await ended(run)) == ("model_not_found", False)
    assert run.provider.asked == []


# --- usage of what did not come to its end ----------------------------------------------------------------------------


async def test_a_stopped_answer_has_an_estimated_usage(ended: Ended) -> None:
    run = Run([chunk(content="It is late, and"), 15.0])
    run.live.on_frame = lambda: run.generation.stop() if run.live.text() else None
    end = await ended(run)
    assert (end.outcome, end.text) == ("stopped", "It is late, and")
    assert end.usage == Usage(input_tokens=8, output_tokens=4, estimated=True)
    assert run.provider.closed == 1


async def test_a_failed_answer_has_an_estimated_usage_but_where_the_provider_counted(ended: Ended) -> None:
    refused = event({"error": {"message": "no", "code": 401}})
    end = await ended(Run([chunk(content="It is"), refused]))
    assert end.usage == Usage(input_tokens=8, output_tokens=2, estimated=True)


async def test_a_failed_answer_that_was_counted_is_not_estimated(ended: Ended) -> None:
    end = await ended(Run([chunk(content="It is"), COUNT, event({"error": {"message": "no", "code": 401}})]))
    assert end.usage == Usage(input_tokens=7, output_tokens=3)


async def test_each_request_that_the_provider_answered_is_in_the_usage(ended: Ended) -> None:
    run = Run(
        [chunk(content="Late."), ERROR], [chunk(content="Late."), COUNT, ERROR], [chunk(content="Late."), COUNT, DONE]
    )
    end = await ended(run)
    assert (end.outcome, end.attempt) == ("complete", 3)
    assert end.usage == Usage(input_tokens=8 + 7 + 7, output_tokens=2 + 3 + 3, estimated=True)


async def test_a_part_that_the_provider_did_not_count_is_estimated(ended: Ended) -> None:
    input_only = event({"choices": [], "usage": {"prompt_tokens": 7}})
    end = await ended(Run([chunk(content="It is"), input_only, event({"error": {"message": "no", "code": 401}})]))
    assert end.usage == Usage(input_tokens=7, output_tokens=2, estimated=True)


async def test_an_answer_that_the_provider_refused_has_no_usage(ended: Ended) -> None:
    end = await ended(Run(error_mapping.from_status(401, b"", {}, model="m")))
    assert (end.outcome, end.usage) == ("failed", None)


# --- how often it is asked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [None, 0.0, 0.001])
async def test_retries_back_off_whatever_the_provider_asks_for(
    ended: Ended, monkeypatch: pytest.MonkeyPatch, asked: float | None
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(generation, "publish_durable", lambda *_, **__: asyncio.sleep(0))
    failure = error_mapping.from_status(429, b"", {}, model="m")
    failure.retry_after = asked
    delays: list[float] = []
    wait = attempt.Attempt._wait

    async def record(self: attempt.Attempt, delay: float) -> None:
        delays.append(delay)
        await wait(self, delay)

    monkeypatch.setattr(attempt.Attempt, "_wait", record)
    run = Run(failure, retry_time=3.0)
    await run.generation.run()
    times = [at for at, *_ in run.provider.asked]
    assert 2 <= len(times) <= 5
    assert sum(delays) <= 3.0
    assert all(later - earlier >= delay for (earlier, later), delay in zip(pairwise(times), delays, strict=True))
    assert all(delay >= 0.25 * 2**retry for retry, delay in enumerate(delays))


async def test_a_retry_after_longer_than_retry_time_ends_the_answer_at_once(ended: Ended) -> None:
    busy = error_mapping.from_status(429, b"", {"retry-after": "3600"}, model="m")
    run = Run(busy, retry_time=60)
    assert error_of(await ended(run)) == ("rate_limited", True)
    assert len(run.provider.asked) == 1


async def test_a_retry_after_longer_than_retry_time_also_ends_an_answer_with_text(ended: Ended) -> None:
    busy = event({"error": {"message": "Rate limit reached. Please try again in 1h.", "code": 429}})
    run = Run([chunk(content="Late."), busy], retry_time=60)
    end = await ended(run)
    assert (error_of(end), end.text, len(run.provider.asked)) == (("rate_limited", True), "Late.", 1)


@given(retries=st.integers(0, 20), requested=st.floats(0, 100))
def test_a_retry_waits_at_least_what_the_provider_asks_for_and_little_more(retries: int, requested: float) -> None:
    backoff = Backoff(0.5, 20.0)
    for _ in range(retries):
        backoff.next_delay()
    failure = error_mapping.from_status(429, b"", {"retry-after": str(requested)}, model="m")
    assert requested <= attempt._retry_delay(backoff, failure) <= max(requested * 1.1, 20.0) + 1e-9


@pytest.mark.parametrize("requested", [0.0, 0.001, 1.0])
def test_the_delay_of_retries_grows_however_short_a_delay_the_provider_asks_for(
    requested: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: low)
    failure = error_mapping.from_status(429, b"", {"retry-after": str(requested)}, model="m")
    backoff = Backoff(0.5, 20.0)
    delays = [attempt._retry_delay(backoff, failure) for _ in range(5)]
    assert delays == [max(requested, 0.25 * 2**retry) for retry in range(5)]
