"""The life of one answer: claim an attempt, run it, publish the end."""

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Final

from llm_worker import metrics
from llm_worker.errors import ProviderError
from llm_worker.generation import context, segments
from llm_worker.generation.answer import Answer
from llm_worker.generation.approvals import Approvals
from llm_worker.generation.attempt import Attempt, Outcome
from llm_worker.generation.cancel_scope import CancelScope
from llm_worker.generation.content import pieces_of
from llm_worker.generation.dependencies import Dependencies
from llm_worker.generation.lease import Lease
from llm_worker.generation.tool_rounds import tokens_of_rounds
from llm_worker.provider import error_templates
from parley.contracts.events import GenerationFinished, GenerationRequested
from parley.contracts.resources import Usage
from parley.contracts.rpc import Claimed, GenerationSnapshot
from parley.runtime import tasks
from parley.runtime.backoff import Backoff
from parley.runtime.nats.errors import BusUnavailable
from parley.runtime.nats.publish import publish_durable

log = logging.getLogger(__name__)

_PUBLISH_DEADLINE: Final = 5.0
_RECONNECT_INTERVAL: Final = 0.05
_MAX_SEGMENT_READS: Final = 4
_BOOKING_TIMEOUT: Final = 2.0
"""Seconds that an answer's end waits for the tokens of attempts by other workers."""
_CLAIM_REPLY_TIMEOUT: Final = 2.0
"""Seconds that a cancelled generation waits for the reply to its claim."""


class Generation:
    """One answer, from its claim to its end.

    Attributes:
        finished: The end is stored.
    """

    def __init__(self, requested: GenerationRequested, lease: Lease, dependencies: Dependencies) -> None:
        self._requested = requested
        self.lease = lease
        self._dependencies = dependencies
        self._answer = Answer(
            chat_id=requested.chat_id, generation_id=requested.generation_id, message_id=requested.message_id
        )
        self._claimed = asyncio.Event()
        self._scope = CancelScope()
        self._stopped_at: float | None = None
        self._backoff = Backoff(0.5, 20.0)
        self._approvals = Approvals()
        self._log_fields = {"chat_id": requested.chat_id, "generation_id": requested.generation_id}
        self._booking: asyncio.Task[None] | None = None
        self.finished = False

    @property
    def id(self) -> str:
        return self._requested.generation_id

    @property
    def attempt(self) -> int:
        """0 until the first claim."""
        return self._answer.attempt

    async def snapshot(self) -> GenerationSnapshot:
        """Return the answer so far; waits for the first claim."""
        await self._claimed.wait()
        return self._answer.snapshot()

    def stop(self) -> None:
        """Close the provider connection now and end the answer with its text so far. Repeated: no effect."""
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
            self._scope.cancel()

    def decide(self, call_id: str, *, approved: bool) -> None:
        """Run a call of a tool that waits for the user, or do not. Repeated: no effect."""
        self._approvals.decide(call_id, approved=approved)

    async def run(self) -> None:
        """Return when the answer's end is stored, or when the claim is refused because it is over.

        Raises:
            LeaseLost: another worker may own it by now.
            WorkerError: chat-store refuses the claim for an unknown reason.
        """
        error: ProviderError | None = None
        try:
            while (claim := await self._claim(after=error)) is not None:
                result = await self._execute(claim, error)
                if isinstance(result, Outcome):
                    await self._finish(result)
                    break
                error = result
            await self.lease.acknowledge()
        finally:
            if self._booking is not None:
                await tasks.end(self._booking)

    async def _claim(self, after: ProviderError | None) -> Claimed | None:
        """Claim the next attempt.

        Args:
            after: The error that ended the attempt before, if it was of this process.
        """
        # A stop does not interrupt it: an end is accepted only with the attempt in the claim's reply.
        claiming = asyncio.create_task(self._dependencies.claims.claim(self._requested))
        try:
            # Not `shield`: since Python 3.14 it logs what a task raises after its waiter was cancelled.
            await asyncio.wait([claiming])
            claim = claiming.result()
        except asyncio.CancelledError:
            await self._await_reply(claiming)
            raise
        self.lease.check()
        if claim is None:
            return None
        self._answer.start_attempt(claim)
        self._claimed.set()
        metrics.ATTEMPTS.inc()
        if claim.attempt > 1 and after is None:
            metrics.TAKEOVERS.inc()
            self._booking = asyncio.create_task(self._book_attempts_before(claim), name="booking")
        elif claim.attempt == 1:
            metrics.QUEUE.observe(max(0.0, (datetime.now(UTC) - self._requested.occurred_at).total_seconds()))
        return claim

    async def _book_attempts_before(self, claim: Claimed) -> None:
        """Book what other workers requested before they died or released the answer, by what they stored of it."""
        try:
            stored = await self._read_attempts()
        except BusUnavailable as error:
            log.warning("The tokens of earlier attempts are not booked: %s", error, extra=self._log_fields)
            return
        requested_tokens = sum(map(context.tokens_of, claim.context)) + context.tokens_of_parameters(claim.parameters)
        for round_tokens in tokens_of_rounds(claim):
            self._answer.book(requested_tokens + round_tokens, 0)
        for attempt in (one for one in stored if one.attempt < claim.attempt):
            self._answer.book(requested_tokens, attempt.tokens)

    async def _await_reply(self, claiming: asyncio.Task[Claimed | None]) -> None:
        """Store the attempt of a claim that was in flight at the cancellation, so that it can be released."""
        await asyncio.wait({claiming}, timeout=_CLAIM_REPLY_TIMEOUT)
        if claiming.done() and not claiming.cancelled() and claiming.exception() is None:
            if (claim := claiming.result()) is not None:
                self._answer.start_attempt(claim)
        else:
            await tasks.end(claiming)

    async def _execute(self, claim: Claimed, last_error: ProviderError | None) -> Outcome | ProviderError:
        """Carry out the verdict of a claim. A transient error: claim another attempt."""
        if claim.verdict == "exhausted":
            await self._restore_content()
            return Outcome(
                kind="failed", error=_refusal_of(claim) or last_error or error_templates.ATTEMPTS_EXHAUSTED.error()
            )
        result: Outcome | ProviderError | None = None
        if claim.verdict == "stream":
            attempt = Attempt(
                claim,
                self._answer,
                self.lease,
                self._dependencies,
                backoff=self._backoff,
                approvals=self._approvals,
            )
            async with self._scope:
                result = await attempt.run()
            if self._stopped_at is not None:
                metrics.STOP.observe(time.monotonic() - self._stopped_at)
        if isinstance(result, Outcome) or (result is not None and not self._scope.cancelled):
            return result
        if claim.attempt > 1:
            await self._restore_content()
        return Outcome(kind="stopped")

    async def _restore_content(self) -> None:
        """Give an attempt without content that of the attempt before, also if that was another worker's."""
        if self._answer.content.seq == 0 and (stored := await self._read_last_attempt()) is not None:
            self._answer.content.add(pieces_of(stored.text, stored.reasoning, stored.tool_calls, stored.layout))

    async def _read_last_attempt(self) -> segments.StoredAttempt | None:
        """Read what is stored of the last attempt; None also when it cannot be read, because an answer must end."""
        backoff = Backoff(0.1, 1.0)
        failures = 0
        while True:
            if not self._dependencies.nc.is_connected:
                await asyncio.sleep(_RECONNECT_INTERVAL)  # until the lease expires
                continue
            try:
                return next(reversed(await self._read_attempts()), None)
            except BusUnavailable as error:
                failures += 1
                if failures >= _MAX_SEGMENT_READS:
                    log.error("An answer ends without its partial content: %s", error, extra=self._log_fields)
                    return None
                log.debug("Retrying to read segments: %r", error)
            await asyncio.sleep(backoff.next_delay())

    async def _read_attempts(self) -> list[segments.StoredAttempt]:
        return await segments.read_attempts(
            self._dependencies.js, chat_id=self._answer.chat_id, generation_id=self._answer.generation_id
        )

    async def _finish(self, outcome: Outcome) -> None:
        """Publish the end and return once it is stored.

        At least once, deduplicated by generation and attempt; the first of the current attempt counts.

        Raises:
            LeaseLost
        """
        answer = self._answer
        answer.content.end_calls()
        if self._booking is not None:
            await asyncio.wait({self._booking}, timeout=_BOOKING_TIMEOUT)
        usage = answer.usage
        event = GenerationFinished(
            chat_id=answer.chat_id,
            occurred_at=datetime.now(UTC),
            generation_id=answer.generation_id,
            message_id=answer.message_id,
            attempt=answer.attempt,
            outcome=outcome.kind,
            text=answer.content.text,
            reasoning=answer.content.reasoning,
            tool_calls=answer.content.tool_calls,
            layout=answer.content.layout,
            model=answer.model,
            usage=usage,
            error=outcome.error.as_message_error() if outcome.error is not None else None,
            finish_reason=outcome.finish_reason,
        )
        await self._publish_end(event)
        self.finished = True
        metrics.ANSWERS.labels(outcome.kind).inc()
        if usage is not None and answer.model is not None:
            self._count_tokens(answer.model, usage)
        log.info("Answer %s after %d chunks", outcome.kind, answer.content.seq, extra=self._log_fields)

    async def _publish_end(self, event: GenerationFinished) -> None:
        while True:
            self.lease.check()
            if not self._dependencies.nc.is_connected:
                await asyncio.sleep(_RECONNECT_INTERVAL)
                continue
            deadline = min(_PUBLISH_DEADLINE, self.lease.remaining)
            try:
                await publish_durable(self._dependencies.js, event, deadline=deadline)
                return
            except BusUnavailable as error:
                log.warning("Retrying to publish the end of an answer: %s", error, extra=self._log_fields)

    def _count_tokens(self, model: str, usage: Usage) -> None:
        # Callers choose the model's name: only known ones become labels.
        label = model if self._dependencies.models.is_known(model) else "other"
        metrics.MODEL_TOKENS.labels(label, "input").inc(usage.input_tokens)
        metrics.MODEL_TOKENS.labels(label, "output").inc(usage.output_tokens)


def _refusal_of(claim: Claimed) -> ProviderError | None:
    """Why chat-store does not let the provider be called, if that is why the claim ends the answer."""
    if claim.error is None:
        return None
    return ProviderError(claim.error.code, claim.error.message, transient=False, retryable=claim.error.retryable)
