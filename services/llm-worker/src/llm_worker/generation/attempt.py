"""One attempt at an answer: request a completion, publish what it streams, retry until there is text."""

import asyncio
import logging
import random
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from llm_worker import metrics
from llm_worker.errors import LeaseLost, ProviderError, ToolsRefused
from llm_worker.generation import context
from llm_worker.generation.answer import Answer
from llm_worker.generation.approvals import Approvals
from llm_worker.generation.cancel_scope import IdleTimeout
from llm_worker.generation.dependencies import Dependencies
from llm_worker.generation.lease import Lease
from llm_worker.generation.live import LivePublisher
from llm_worker.generation.segments import SegmentWriter
from llm_worker.generation.tool_rounds import ToolRounds
from llm_worker.provider import error_templates, finish_reason, messages
from llm_worker.provider.completion import CompletionDecoder, Piece
from llm_worker.provider.tool_calls import ToolCallDecoder
from parley.contracts.completion import ToolCall
from parley.contracts.live import READ_AT
from parley.contracts.rpc import Claimed
from parley.runtime import tracing
from parley.runtime.backoff import Backoff

log = logging.getLogger(__name__)

_AFTER_DONE: Final = 0.25
"""Seconds to wait for the end of the response after ``[DONE]``; after its end, the connection can be reused."""

_AFTER_FINISH: Final = 2.0
"""Seconds to wait for more after a ``finish_reason``: the usage comes later, ``[DONE]`` not always."""

_SAMPLE_INTERVAL: Final = 1.0
"""Seconds between two deltas of an answer that carry the time of their read, to measure the added delay."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an answer ended."""

    kind: Literal["complete", "stopped", "failed"]
    error: ProviderError | None = None
    finish_reason: str | None = None


class Attempt:
    """One claimed attempt. Its text and usage go into ``answer``.

    Args:
        backoff: Of the generation, for the delay before its next attempt.
        approvals: Of the generation: the decisions on calls of tools.
    """

    def __init__(
        self,
        claim: Claimed,
        answer: Answer,
        lease: Lease,
        dependencies: Dependencies,
        *,
        backoff: Backoff,
        approvals: Approvals,
    ) -> None:
        self._claim = claim
        self._answer = answer
        self._lease = lease
        self._dependencies = dependencies
        self._backoff = backoff
        self._live = LivePublisher(dependencies.core, answer)
        self._segments = SegmentWriter(dependencies.js, dependencies.segments, answer)
        self._rounds = ToolRounds(claim, answer, lease, dependencies, approvals, self._live.deltas)
        self._round_seq = 0
        self._log_fields = {"chat_id": answer.chat_id, "generation_id": answer.generation_id}

    async def run(self) -> Outcome | ProviderError:
        """Return the outcome; a transient error that broke off the text, once the next attempt may start.

        Raises:
            LeaseLost
        """
        self._live.generation("started")
        async with self._segments:
            result = await self._run_rounds()
        if isinstance(result, Outcome):
            return result
        delay = _retry_delay(self._backoff, result)
        if delay > self._dependencies.settings.retry_time:
            return Outcome(kind="failed", error=result)
        await self._wait(delay)
        return result

    async def _run_rounds(self) -> Outcome | ProviderError:
        """Request completions until one has no calls of tools that Parley runs."""
        while True:
            result = await self._request_until_text()
            if not isinstance(result, Outcome) or result.finish_reason != finish_reason.TOOL_CALLS:
                return result
            try:
                reason = await self._rounds.run_calls()
            except LeaseLost:
                raise
            except Exception as error:
                log.exception("Calls of tools failed unexpectedly", extra=self._log_fields)
                failure = error_templates.INTERNAL.error(repr(error))
                self._report(failure)
                return Outcome(kind="failed", error=failure)
            if reason is not None:
                return replace(result, finish_reason=reason)

    async def _request_until_text(self) -> Outcome | ProviderError:
        """Repeat a request that fails with a transient error before the first text."""
        give_up_at = time.monotonic() + self._dependencies.settings.retry_time
        backoff = Backoff(0.5, 20.0)
        while True:
            try:
                return await self._request()
            except ProviderError as error:
                failure = error
            except LeaseLost:
                raise
            except Exception as error:
                # A bug ends the answer too: another worker would only repeat it.
                log.exception("An answer failed unexpectedly", extra=self._log_fields)
                failure = error_templates.INTERNAL.error(repr(error))
            self._report(failure)
            has_begun = self._answer.content.seq > self._round_seq
            if isinstance(failure, ToolsRefused) and not has_begun and self._rounds.drop_tools():
                continue
            if not failure.transient:
                return Outcome(kind="failed", error=failure)
            if has_begun:
                return failure
            delay = _retry_delay(backoff, failure)
            if time.monotonic() + delay > give_up_at:
                return Outcome(kind="failed", error=failure)
            await self._wait(delay)

    async def _request(self) -> Outcome:
        """Request one completion and read it to its end, within a span.

        Raises:
            ProviderError
            LeaseLost
        """
        answer = self._answer
        model = answer.model = await self._dependencies.models.resolve(self._claim.model)
        await self._rounds.begin(model)
        self._round_seq = answer.content.seq
        if self._rounds.is_over:
            return Outcome(kind="complete", finish_reason=finish_reason.TOOL_CALLS)
        # Named by OpenTelemetry's conventions for generative AI. No text of a message goes into a trace.
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
        with tracing.span(f"chat {model}", kind="client", attributes=attributes) as span:
            try:
                outcome = await self._read_completion(model, span)
            except ProviderError as error:
                span.set_attribute("error.type", error.code)
                raise
            if outcome.error is not None:
                self._report(outcome.error)
                span.set_attribute("error.type", outcome.error.code)
                span.fail(outcome.error.code)
            if outcome.finish_reason is not None:
                span.set_attribute("gen_ai.response.finish_reasons", [outcome.finish_reason])
            if answer.usage is not None:
                span.set_attribute("gen_ai.usage.input_tokens", answer.usage.input_tokens)
                span.set_attribute("gen_ai.usage.output_tokens", answer.usage.output_tokens)
            return outcome

    async def _read_completion(self, model: str, span: tracing.Span) -> Outcome:
        """The token path: publish the pieces of each read as it arrives."""
        settings = self._dependencies.settings
        parameters = self._rounds.parameters()
        parameter_tokens = context.tokens_of_parameters(parameters)
        conversation = context.prepare(
            [*self._claim.context, *self._rounds.context], settings.context_tokens - parameter_tokens
        )
        members = messages.request_members(parameters, conversation)
        content = self._answer.content
        calls = content.tool_calls
        completion = self._decoder(model, calls)
        tokens_before = content.tokens
        idle = IdleTimeout(settings.first_token_timeout)
        requested_tokens: int | None = None
        try:
            async with idle, self._dependencies.provider.stream(model, members) as reads:
                requested_tokens = sum(map(context.tokens_of, conversation)) + parameter_tokens
                requested_at = sample_at = time.monotonic()
                async for read in reads:
                    now = time.monotonic()
                    headers = {READ_AT: f"{time.time():.6f}"} if now >= sample_at else {}
                    progress = completion.progress
                    pieces = completion.feed(read)
                    if completion.progress != progress:  # neither a comment nor an empty chunk is a token
                        if progress == 0:
                            metrics.FIRST_TOKEN.observe(now - requested_at)
                            span.add_event("first token")
                            headers |= tracing.inject()
                            idle.set_limit(settings.token_timeout)
                        idle.reset(now)
                    if pieces:
                        if headers:
                            sample_at = now + _SAMPLE_INTERVAL
                        self._add(pieces, headers)
                    if completion.ended and idle.limit != (limit := _AFTER_DONE if completion.done else _AFTER_FINISH):
                        idle.set_limit(limit)
                    if content.full or completion.error is not None:
                        break
        except ProviderError:
            # Servers that close the connection without the end of the body have still sent the whole answer.
            if not completion.ended:
                raise
        finally:
            if self._lease.is_valid() and not content.full:
                self._add(completion.close(), {})
            if requested_tokens is not None:
                written = content.tokens - tokens_before
                self._answer.book(requested_tokens, written, completion.input_tokens, completion.output_tokens)
        return self._outcome(completion, idle, has_calls=len(content.tool_calls) > len(calls))

    def _decoder(self, model: str, calls: list[ToolCall]) -> CompletionDecoder:
        decoder = ToolCallDecoder(
            first_index=len(calls), taken_ids=[call.id for call in calls], server_of=self._rounds.server_of
        )
        think_tag = not self._dependencies.settings.keeps_think_tag(model)
        return CompletionDecoder(model=model, think_tag=think_tag, calls=decoder)

    def _add(self, pieces: list[Piece], headers: dict[str, str]) -> None:
        # Before every delta: after a suspension of this process, bytes may be read before anything else runs, and text
        # of an attempt whose lease has expired must not be published.
        self._lease.check()
        metrics.TOKEN_PATH.tokens += len(pieces)
        self._live.deltas(self._answer.content.add(pieces), headers)

    def _outcome(self, completion: CompletionDecoder, idle: IdleTimeout, *, has_calls: bool) -> Outcome:
        """Return how the answer ended.

        Raises:
            ProviderError: it did not.
        """
        content = self._answer.content
        if content.full:
            return Outcome(kind="complete", finish_reason=finish_reason.LENGTH)
        if completion.error is not None:
            raise completion.error
        if not completion.ended:
            if idle.expired:
                template = error_templates.TOKEN_TIMEOUT if completion.progress else error_templates.FIRST_TOKEN_TIMEOUT
                raise template.error(f"silent for {idle.limit:g} s", seconds=idle.limit)
            raise error_templates.CONNECTION_LOST.error("the stream ended without a finish_reason and without [DONE]")
        reason = completion.finish_reason
        if reason == finish_reason.INTERRUPTED:
            raise error_templates.INTERRUPTED.error("the finish_reason is that of an error")
        if reason == finish_reason.CONTENT_FILTER:
            error = error_templates.CONTENT_FILTERED.error("the finish_reason is that of a content filter")
            return Outcome(kind="failed", error=error, finish_reason=reason)
        if has_calls and reason not in (finish_reason.LENGTH, finish_reason.CONTENT_FILTER):
            reason = finish_reason.TOOL_CALLS
        elif reason == finish_reason.TOOL_CALLS:
            # Clients that wait for calls to run would ask again and again.
            reason = finish_reason.STOP
        if content.seq == self._round_seq and not content.text and reason != finish_reason.LENGTH:
            error = error_templates.EMPTY.error(f"finish_reason {reason}")
            return Outcome(kind="failed", error=error, finish_reason=reason)
        return Outcome(kind="complete", finish_reason=reason)

    async def _wait(self, delay: float) -> None:
        """Wait before the next request; readers get the time when it is over."""
        self._answer.status = "retrying"
        self._live.generation("retrying", retry_at=datetime.now(UTC) + timedelta(seconds=delay))
        await asyncio.sleep(delay)
        self._lease.check()
        self._answer.status = "running"

    def _report(self, error: ProviderError) -> None:
        metrics.PROVIDER_ERRORS.labels(error.code).inc()
        log.warning("The provider failed: %s (%s) %s", error.code, error.detail, error.advice, extra=self._log_fields)


def _retry_delay(backoff: Backoff, error: ProviderError) -> float:
    """Seconds before the next request: by ``backoff``, but at least what the provider asks for plus up to a tenth."""
    delay = backoff.next_delay()
    return delay if error.retry_after is None else max(delay, error.retry_after * random.uniform(1.0, 1.1))
