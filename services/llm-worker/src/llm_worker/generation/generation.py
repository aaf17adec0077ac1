"""The life of one answer: claim, stream, finish."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from nats.aio.client import Client
from nats.js import JetStreamContext

from llm_worker import backoff, metrics
from llm_worker.errors import LeaseLost, ProviderFailure
from llm_worker.generation import context, segments
from llm_worker.generation.answer import Answer
from llm_worker.generation.cancel_scope import Interruption
from llm_worker.generation.idle_timeout import Watchdog
from llm_worker.generation.lease import Lease
from llm_worker.generation.live import LiveChannel
from llm_worker.generation.publishing import Wire
from llm_worker.generation.segments import SegmentPace, SegmentWriter
from llm_worker.provider import failures, finish
from llm_worker.provider.client import Provider
from llm_worker.provider.completion import CompletionStream, Piece
from llm_worker.provider.models import Models
from llm_worker.settings import WorkerSettings
from llm_worker.store_client import StoreClient
from parley.contracts.events import GenerationFinished, GenerationRequested
from parley.contracts.live import READ_AT
from parley.contracts.resources import Usage
from parley.contracts.rpc import Claimed, GenerationSnapshot
from parley.runtime import tasks, tracing
from parley.runtime.nats.errors import BusUnavailable
from parley.runtime.nats.publish import publish_durable

log = logging.getLogger(__name__)

_AFTER_DONE: Final = 0.25
"""Seconds to wait for the end of the response after ``[DONE]``; with it, the connection can be used again."""

_AFTER_FINISH: Final = 2.0
"""Seconds to wait for more after the model has said that it ends: the usage comes later, ``[DONE]`` not always."""

_PUBLISH_DEADLINE: Final = 5.0
_RECONNECT_PAUSE: Final = 0.05
_READ_BACK_TRIES: Final = 4
_CLAIM_REPLY_TIMEOUT: Final = 2.0
"""Seconds that cancelled work waits for the reply to its claim."""

_SAMPLE_EVERY: Final = 1.0
"""Seconds between two deltas of an answer that say when they were read, for the delay that we add."""


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """What every generation works with."""

    nc: Client
    js: JetStreamContext
    wire: Wire
    segments: SegmentPace
    store: StoreClient
    provider: Provider
    models: Models
    settings: WorkerSettings


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an answer ended."""

    outcome: Literal["complete", "stopped", "failed"]
    failure: ProviderFailure | None = None
    finish_reason: str | None = None


class Generation:
    """One answer, from its claim to its end.

    Attributes:
        over: The end is stored.
    """

    def __init__(self, requested: GenerationRequested, lease: Lease, bench: Workbench) -> None:
        self._requested = requested
        self._lease = lease
        self._bench = bench
        self._answer = Answer(
            chat_id=requested.chat_id, generation_id=requested.generation_id, message_id=requested.message_id
        )
        self._live = LiveChannel(bench.wire, self._answer)
        self._claimed = asyncio.Event()
        self._stop = Interruption()
        self._stopped_at = 0.0
        self._model: str | None = None
        self._usage: Usage | None = None
        self._asked = 0
        self._last_failure: ProviderFailure | None = None
        self._log_fields = {"chat_id": requested.chat_id, "generation_id": requested.generation_id}
        self.over = False

    @property
    def id(self) -> str:
        return self._requested.generation_id

    @property
    def attempt(self) -> int:
        """0 until the first claim."""
        return self._answer.attempt

    @property
    def lease(self) -> Lease:
        return self._lease

    async def snapshot(self) -> GenerationSnapshot:
        """The answer so far. Before the claim is answered there is nothing to tell: waits for it."""
        await self._claimed.wait()
        return self._answer.snapshot()

    def stop(self) -> None:
        """Close the provider connection now and end the answer with what was said. Again: no effect."""
        if not self._stop.happened:
            self._stopped_at = time.monotonic()
            self._stop.interrupt()

    async def run(self) -> None:
        """Return when the answer's end is stored, or when there was nothing to do.

        Raises:
            LeaseLost: it may be another worker's by now.
            WorkerError: chat-store refuses the claim for no reason that we know.
        """
        claim = await self._claim()
        while claim is not None:
            step = await self._follow(claim)
            if isinstance(step, Ending):
                await self._finish(step)
                break
            claim = await self._claim(after=step)
        await self._lease.acknowledge()

    # --- claiming ----------------------------------------------------------------------------------------------------

    async def _claim(self, after: ProviderFailure | None = None) -> Claimed | None:
        # Not interrupted by a stop: an end is only accepted with the attempt that the claim's answer names.
        claiming = asyncio.create_task(self._bench.store.claim(self._requested))
        try:
            # Not `shield`: since Python 3.14 it logs what a task raises after its waiter was cancelled.
            await asyncio.wait([claiming])
            claim = claiming.result()
        except asyncio.CancelledError:
            await self._await_claim(claiming)
            raise
        self._lease.check()
        if claim is None:
            return None
        self._answer.claimed(claim)
        self._last_failure = after
        self._claimed.set()
        metrics.ATTEMPTS.inc()
        if claim.attempt > 1 and after is None:
            metrics.TAKEOVERS.inc()
        elif claim.attempt == 1:
            metrics.QUEUE.observe(max(0.0, (datetime.now(UTC) - self._requested.occurred_at).total_seconds()))
        return claim

    async def _await_claim(self, claiming: asyncio.Task[Claimed | None]) -> None:
        """Learn the attempt of a claim that was under way when the work was cancelled, so that it can be released."""
        await asyncio.wait({claiming}, timeout=_CLAIM_REPLY_TIMEOUT)
        if claiming.done() and not claiming.cancelled() and claiming.exception() is None:
            if (claim := claiming.result()) is not None:
                self._answer.claimed(claim)
        else:
            await tasks.end(claiming)

    async def _follow(self, claim: Claimed) -> Ending | ProviderFailure:
        """Do what the claim says. A failure: the attempt broke off after it had begun to speak; claim anew."""
        if claim.verdict == "stop_requested":
            return await self._stopped()
        if claim.verdict == "exhausted":
            return await self._exhausted()
        step: Ending | ProviderFailure | None = None
        async with self._stop:
            step = await self._attempt(claim)
            if isinstance(step, ProviderFailure):
                seconds = backoff.delay(claim.attempt, at_least=step.retry_after)
                if seconds > self._bench.settings.retry_time:
                    return Ending(outcome="failed", failure=step)
                await self._pause(seconds)
        if self._stopped_at:
            metrics.STOP.observe(time.monotonic() - self._stopped_at)
        if step is None or (self._stop.happened and isinstance(step, ProviderFailure)):
            return await self._stopped()
        return step

    async def _stopped(self) -> Ending:
        """End with what was said; a takeover that has said nothing yet, with the text of the attempt before."""
        if self._answer.attempt > 1:
            await self._restore_text()
        return Ending(outcome="stopped")

    async def _exhausted(self) -> Ending:
        """All attempts are used up: end with the text of the last one, ours or what another worker left."""
        await self._restore_text()
        return Ending(outcome="failed", failure=self._last_failure or failures.exhausted())

    async def _restore_text(self) -> None:
        if self._answer.transcript.seq == 0 and (partial := await self._left_behind()) is not None:
            self._answer.transcript.add([Piece("reasoning", partial.reasoning), Piece("text", partial.text)])

    async def _left_behind(self) -> segments.Partial | None:
        """The text of the last attempt; None also when it cannot be read: an answer must end."""
        tries = 0
        while True:
            if not self._bench.nc.is_connected:
                # Not for ever: the lease ends sooner.
                await asyncio.sleep(_RECONNECT_PAUSE)
                continue
            try:
                return await segments.read_back(
                    self._bench.js, chat_id=self._answer.chat_id, generation_id=self._answer.generation_id
                )
            except BusUnavailable as error:
                tries += 1
                if tries >= _READ_BACK_TRIES:
                    log.error("An answer ends without its partial text: %s", error, extra=self._log_fields)
                    return None
                log.debug("Reading segments again: %r", error)
            await asyncio.sleep(backoff.delay(tries, first=0.1))

    # --- streaming ---------------------------------------------------------------------------------------------------

    async def _attempt(self, claim: Claimed) -> Ending | ProviderFailure:
        """Ask the provider until it answers. A failure: it broke off after it had begun to speak."""
        self._live.generation("started")
        give_up_at = time.monotonic() + self._bench.settings.retry_time
        tries = 0
        writer = SegmentWriter(
            self._bench.js,
            self._bench.segments,
            chat_id=self._answer.chat_id,
            generation_id=self._answer.generation_id,
            attempt=self._answer.attempt,
        )
        async with _beside(writer.write()):
            while True:
                try:
                    return await self._stream(claim, writer)
                except LeaseLost:
                    raise
                except Exception as error:
                    # Also a fault of our own ends the answer: another worker would only make it again.
                    failure = error if isinstance(error, ProviderFailure) else failures.internal(repr(error))
                    if failure is not error:
                        log.exception("An answer failed for no reason that we know", extra=self._log_fields)
                    self._note(failure)
                    tries += 1
                    if not failure.curable:
                        return Ending(outcome="failed", failure=failure)
                    if self._answer.transcript.seq > 0:
                        return failure
                    seconds = backoff.delay(tries, at_least=failure.retry_after)
                    if time.monotonic() + seconds > give_up_at:
                        return Ending(outcome="failed", failure=failure)
                    await self._pause(seconds)

    async def _stream(self, claim: Claimed, writer: SegmentWriter) -> Ending:
        """One request to the provider, to the end of its answer.

        Raises:
            ProviderFailure
            LeaseLost
        """
        model = self._model = await self._bench.models.named(claim.model)
        # Named as OpenTelemetry's conventions for generative AI have it. No text of a message goes into a trace.
        with tracing.span(
            f"chat {model}",
            kind="client",
            attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": model},
        ) as span:
            try:
                ending = await self._read(claim, model, writer, span)
            except ProviderFailure as failure:
                span.set_attribute("error.type", failure.code)
                raise
            if ending.failure is not None:
                span.set_attribute("error.type", ending.failure.code)
                span.fail(ending.failure.code)
            if ending.finish_reason is not None:
                span.set_attribute("gen_ai.response.finish_reasons", [ending.finish_reason])
            if self._usage is not None:
                span.set_attribute("gen_ai.usage.input_tokens", self._usage.input_tokens)
                span.set_attribute("gen_ai.usage.output_tokens", self._usage.output_tokens)
            return ending

    async def _read(self, claim: Claimed, model: str, writer: SegmentWriter, span: tracing.Span) -> Ending:
        """As :meth:`_stream`, within its ``span``."""
        settings = self._bench.settings
        messages = context.prepared(claim.context, settings.context_tokens)
        completion = CompletionStream(model=model, think_tag=not settings.keeps_think_tag(model))
        watchdog = Watchdog(settings.first_token_timeout)
        try:
            async with watchdog, self._bench.provider.answering(model, messages) as reads:
                self._asked = sum(map(context.tokens_of, messages))
                await self._take(reads, completion, watchdog, writer, span)
        finally:
            # What was held back for what might have followed it.
            if self._lease.is_held() and not self._answer.transcript.full:
                self._say(completion.close(), writer, {})
            self._count(completion)
        return self._ending(completion, watchdog)

    async def _take(
        self,
        reads: AsyncIterator[bytes],
        completion: CompletionStream,
        watchdog: Watchdog,
        writer: SegmentWriter,
        span: tracing.Span,
    ) -> None:
        """Take what comes until there is no more, or no more is wanted."""
        transcript = self._answer.transcript
        began = sample_at = time.monotonic()
        progress = 0
        async for read in reads:
            now = time.monotonic()
            headers: dict[str, str] = {}
            if now >= sample_at:
                headers[READ_AT] = f"{time.time():.6f}"
            pieces = completion.feed(read)
            if completion.progress != progress:
                if progress == 0:
                    metrics.FIRST_TOKEN.observe(now - began)
                    watchdog.expect(self._bench.settings.token_timeout)
                    span.add_event("first token")
                    headers |= tracing.inject()
                progress = completion.progress
                # Neither a comment nor an empty chunk is a token.
                watchdog.touch(now)
            if pieces:
                if headers:
                    sample_at = now + _SAMPLE_EVERY
                self._say(pieces, writer, headers)
            if completion.ended and watchdog.limit != (left := _AFTER_DONE if completion.done else _AFTER_FINISH):
                watchdog.expect(left)
            if transcript.full or completion.failure is not None:
                return

    def _ending(self, completion: CompletionStream, watchdog: Watchdog) -> Ending:
        """How the answer ended.

        Raises:
            ProviderFailure: it did not.
        """
        transcript = self._answer.transcript
        if transcript.full:
            return Ending(outcome="complete", finish_reason=finish.LENGTH)
        if completion.failure is not None:
            raise completion.failure
        if not completion.ended:
            if watchdog.bit:
                raise failures.silent(watchdog.limit, first=completion.progress == 0)
            raise failures.cut_off("the stream ended without a finish_reason and without [DONE]")
        reason = completion.finish_reason
        if reason == finish.INTERRUPTED:
            raise failures.interrupted("the finish_reason is that of a failure")
        failure = None
        if reason == finish.CONTENT_FILTER:
            failure = failures.content_refused("the finish_reason is that of a content filter")
        elif transcript.seq == 0 and not completion.has_tool_calls and reason != finish.LENGTH:
            failure = failures.empty(f"finish_reason {reason}")
        if failure is None:
            return Ending(outcome="complete", finish_reason=reason)
        self._note(failure)
        return Ending(outcome="failed", failure=failure, finish_reason=reason)

    def _count(self, completion: CompletionStream) -> None:
        """Take note of what the provider counted in this request."""
        given = completion.input_tokens, completion.output_tokens
        if given != (None, None):
            self._usage = Usage(input_tokens=given[0] or 0, output_tokens=given[1] or 0)

    def _say(self, pieces: list[Piece], writer: SegmentWriter, headers: dict[str, str]) -> None:
        # The clock is asked before every delta: after a pause of this process, bytes may be read before anything else
        # runs, and text of an attempt that is no longer ours must not go out.
        self._lease.check()
        metrics.TOKEN_PATH.tokens += len(pieces)
        for run in self._answer.transcript.add(pieces):
            writer.add(run)
            self._live.delta(run, headers)

    async def _pause(self, seconds: float) -> None:
        """Wait before asking the provider again; readers are told until when."""
        self._answer.status = "retrying"
        self._live.generation("retrying", retry_at=datetime.now(UTC) + timedelta(seconds=seconds))
        await asyncio.sleep(seconds)
        self._lease.check()
        self._answer.status = "running"

    def _note(self, failure: ProviderFailure) -> None:
        metrics.PROVIDER_ERRORS.labels(failure.code).inc()
        log.warning(
            "The provider failed: %s (%s) %s", failure.code, failure.detail, failure.advice, extra=self._log_fields
        )

    # --- finishing ---------------------------------------------------------------------------------------------------

    async def _finish(self, ending: Ending) -> None:
        """Publish the end and return once it is stored.

        At least once, deduplicated by generation and attempt; the first of the current attempt counts.

        Raises:
            LeaseLost
        """
        answer = self._answer
        if ending.outcome != "complete":
            self._usage = self._usage or self._estimated()
        event = GenerationFinished(
            chat_id=answer.chat_id,
            occurred_at=datetime.now(UTC),
            generation_id=answer.generation_id,
            message_id=answer.message_id,
            attempt=answer.attempt,
            outcome=ending.outcome,
            text=answer.transcript.text,
            reasoning=answer.transcript.reasoning,
            model=self._model,
            usage=self._usage,
            error=ending.failure.as_message_error() if ending.failure is not None else None,
            finish_reason=ending.finish_reason,
        )
        while True:
            self._lease.check()
            if not self._bench.nc.is_connected:
                await asyncio.sleep(_RECONNECT_PAUSE)
                continue
            try:
                await publish_durable(self._bench.js, event, deadline=min(_PUBLISH_DEADLINE, self._lease.left))
                break
            except BusUnavailable as error:
                log.warning("Publishing the end of an answer again: %s", error, extra=self._log_fields)
        self.over = True
        metrics.ANSWERS.labels(ending.outcome).inc()
        self._count_usage()
        log.info("Answer %s after %d chunks", ending.outcome, answer.transcript.seq, extra=self._log_fields)

    def _estimated(self) -> Usage | None:
        """What an answer has cost that the provider did not count to its end; None when the model was not asked."""
        if not self._asked:
            return None
        transcript = self._answer.transcript
        return Usage(
            input_tokens=self._asked,
            output_tokens=context.tokens_in(transcript.text) + context.tokens_in(transcript.reasoning),
            estimated=True,
        )

    def _count_usage(self) -> None:
        if self._usage is None or self._model is None:
            return
        # What a caller asks for is not a label: anybody could make as many as they like.
        model = self._model if self._bench.models.is_known(self._model) else "other"
        metrics.MODEL_TOKENS.labels(model, "input").inc(self._usage.input_tokens)
        metrics.MODEL_TOKENS.labels(model, "output").inc(self._usage.output_tokens)


@contextlib.asynccontextmanager
async def _beside(work: "asyncio._CoroutineLike[None]") -> AsyncIterator[None]:
    """Run ``work`` for as long as the body runs."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await tasks.end(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Segments are no longer written", exc_info=error)
