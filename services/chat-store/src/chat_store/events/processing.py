"""From messages of a durable consumer to one transaction, and back to acknowledgements.

At least once, in the stream's order: decode, run the batch in one transaction, announce, acknowledge. Handling is
idempotent. The events of a batch that fails are handled one by one, so that one event blocks no other:

- an event that does not decode, or is of a future version: dead letter, at once;
- an event that fails although Postgres works: nak, and a dead letter after :data:`MAX_FAILURES` deliveries;
- any event while Postgres is away: the error is raised, and nothing is acknowledged.
"""

import contextlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec
from nats.aio.msg import Msg
from nats.js.api import RawStreamMsg

from chat_store import metrics
from chat_store.domain.rejections import NOT_STORED, Rejection, code_of
from chat_store.errors import is_outage
from chat_store.events.context import EventContext
from chat_store.storage.messages import add_rejections
from chat_store.storage.transactions import Command, Interrupted, Outcome
from parley.contracts import ids
from parley.contracts.decoding import MAX_NESTING, UNDECODABLE, nests_too_deeply
from parley.contracts.events import VERSION, GenerationFinished, PromptSubmitted
from parley.contracts.streams import ConsumerSpec
from parley.runtime import tracing
from parley.runtime.nats import dead_letters
from parley.runtime.nats.errors import TRANSIENT_ERRORS, BusUnavailable
from parley.runtime.nats.pull import nak_all

log = logging.getLogger(__name__)

MAX_FAILURES: Final = 5
"""Deliveries after which an event that keeps failing becomes a dead letter."""

REPLAY_BATCH: Final = 256
"""Events in one transaction when another consumer's unacknowledged events are processed."""

M = TypeVar("M", Msg, RawStreamMsg)
E = TypeVar("E", PromptSubmitted, GenerationFinished)
Execute = Callable[[Sequence[Command[str]]], Awaitable[Outcome[str]]]

_NO_CHAT: Final = "no_chat"
_NOTHING_NEW: Final = frozenset({"stale", "duplicate"})
"""What comes of the command of an event that was carried out before."""


class Unreadable(Exception):
    """An event that will never be understood by this version of the program."""


def decode(data: bytes, kind: type[E]) -> E:
    """Raises: Unreadable."""
    try:
        event = msgspec.json.decode(data, type=kind)
    except UNDECODABLE as error:
        raise Unreadable(f"does not decode: {error}") from error
    if event.v > VERSION:
        raise Unreadable(f"version {event.v} is newer than {VERSION}, the newest that is known here")
    if not ids.is_id(event.chat_id) or not ids.is_id(event.message_id):
        raise Unreadable("the chat's or the message's id is not a UUID in lower case")
    if isinstance(event, PromptSubmitted):
        _check_prompt(event)
    return event


def _check_prompt(event: PromptSubmitted) -> None:
    """Raises: Unreadable."""
    if event.answer_id is not None and not ids.is_id(event.answer_id):
        raise Unreadable("the answer's id is not a UUID in lower case")
    completion = event.completion
    # It is read again within more levels: of a page, of what a command loads.
    if completion is not None and nests_too_deeply([completion.parameters, completion.echo]):
        raise Unreadable(f"the completion has more than {MAX_NESTING} levels")


class _Item(NamedTuple, Generic[M, E]):
    """A message with its event, and the command that carries the event out."""

    message: M
    event: E
    command: Command[str]


class Intake(Generic[E]):
    """Handles the events of one consumer.

    Args:
        kind: The event.
        command: Makes the command that carries an event out, given its ``traceparent`` and whether it is refused; it
            returns a word for the metrics.
        refusals: Counts prompts within the limits of their users; returns the ids of the refused events.
    """

    def __init__(
        self,
        context: EventContext,
        spec: ConsumerSpec,
        *,
        kind: type[E],
        command: Callable[[E, str | None, bool], Command[str]],
        refusals: Callable[[Sequence[E]], Awaitable[set[str]]] | None = None,
    ) -> None:
        self._context = context
        self._spec = spec
        self._kind: type[E] = kind
        self._make: Callable[[E, str | None, bool], Command[str]] = command
        self._refusals: Callable[[Sequence[E]], Awaitable[set[str]]] | None = refusals
        # From the start at zero: the first one raises an alert, too.
        metrics.EVENTS.labels(spec.name, "dead_letter")

    async def handle(self, messages: Sequence[Msg], execute: Execute) -> None:
        """Handle a batch; afterwards each message has an ack or a nak, or is a dead letter.

        Raises:
            Exception: Postgres is away (:func:`is_outage`); what is not acknowledged is still the caller's.
        """
        batch: list[tuple[Msg, E]] = []
        for message in messages:
            if message.is_acked:
                continue
            try:
                batch.append((message, decode(message.data, self._kind)))
            except Unreadable as error:
                await self._dead_letter(message, str(error))
        for part in _one_end_per_chat(await self._items(batch)):
            await self._handle_part(part, execute)

    async def replay(self, stored: Sequence[RawStreamMsg], execute: Execute) -> int:
        """Carry out events that were delivered to somebody who may be gone. The server delivers them again, too.

        Returns:
            How many changed something.

        Raises:
            Exception: Postgres is away.
        """
        due = 0
        decoded: list[tuple[RawStreamMsg, E]] = []
        for message in stored:
            try:
                decoded.append((message, decode(message.data or b"", self._kind)))
            except Unreadable:
                continue
        for begin in range(0, len(decoded), REPLAY_BATCH):
            for part in _one_end_per_chat(await self._items(decoded[begin : begin + REPLAY_BATCH])):
                due += await self._replay_part(part, execute)
        return due

    async def _items(self, batch: Sequence[tuple[M, E]]) -> list[_Item[M, E]]:
        refused = set() if self._refusals is None else await self._refusals([event for _, event in batch])
        return [
            _Item(message, event, self._make(event, _traceparent(message), event.id in refused))
            for message, event in batch
        ]

    async def _replay_part(self, part: list[_Item[RawStreamMsg, E]], execute: Execute) -> int:
        try:
            outcome = await self._run([item.command for item in part], execute)
            await self._context.publisher.announce(outcome.changes)
            await self._reject_dropped(part, outcome)
        except Exception as error:
            if is_outage(error):
                raise
            if len(part) == 1:
                log.warning("Replaying an event: %r", error, extra={"consumer": self._spec.name})
                return 0
            return sum([await self._replay_part([one], execute) for one in part])
        return sum(result is not None and result not in _NOTHING_NEW for result in outcome.results)

    async def _run(self, commands: list[Command[str]], execute: Execute) -> Outcome[str]:
        """Run commands; what was written before an error is announced before that is raised."""
        try:
            return await execute(commands)
        except Interrupted as interrupted:
            await self._context.publisher.announce(interrupted.changes)
            raise interrupted.error from None

    async def _handle_part(self, part: list[_Item[Msg, E]], execute: Execute) -> None:
        try:
            await self._commit(part, execute)
        except Exception as error:
            if is_outage(error):
                raise
            if len(part) == 1:
                await self._failed(part[0].message, error)
                return
            for one in part:
                await self._handle_part([one], execute)

    async def _commit(self, part: list[_Item[Msg, E]], execute: Execute) -> None:
        began, began_at = time.perf_counter(), time.time_ns()
        outcome = await self._run([item.command for item in part], execute)
        metrics.BATCH_SECONDS.labels(self._spec.name).observe(time.perf_counter() - began)
        metrics.BATCH_SIZE.labels(self._spec.name).observe(len(part))
        await self._context.publisher.announce(outcome.changes, traces=self._traces(part, outcome, began_at))
        await self._reject_dropped(part, outcome)
        now = datetime.now(UTC)
        for (message, event, command), result in zip(part, outcome.results, strict=True):
            word = result or _NO_CHAT
            metrics.EVENTS.labels(self._spec.name, word).inc()
            if isinstance(event, GenerationFinished) and word == event.outcome:
                metrics.ENDED.labels(word).inc()
            if (code := code_of(result)) is not None:
                log.info(
                    "Dropped an event: %s",
                    code.replace("_", " "),
                    extra={"consumer": self._spec.name, "chat_id": command.chat_id, "event_id": event.id},
                )
            elif isinstance(event, PromptSubmitted) and word != "duplicate":
                metrics.PROMPT_DELAY.observe(max(0.0, (now - event.occurred_at).total_seconds()))
            await _acknowledge(message)

    async def _reject_dropped(self, part: list[_Item[M, E]], outcome: Outcome[str]) -> None:
        """Reject the prompts that were not stored."""
        rejections = [
            Rejection(prompt=item.event, code=code)
            for item, result in zip(part, outcome.results, strict=True)
            if isinstance(item.event, PromptSubmitted) and (code := code_of(result)) is not None
        ]
        if rejections:
            await self._reject(rejections)

    async def _reject(self, rejections: Sequence[Rejection]) -> None:
        """Store that prompts were rejected, and publish it; they are acknowledged afterwards."""
        async with self._context.database.connection() as connection:
            await add_rejections(connection, rejections, now=datetime.now(UTC))
        await self._context.publisher.reject(rejections)

    def _traces(self, part: list[_Item[Msg, E]], outcome: Outcome[str], began_at: int) -> dict[str, dict[str, str]]:
        """Trace the handling of each event, in the trace of its prompt.

        Returns:
            By chat, the headers of the span that the request of an answer belongs to.
        """
        traces = {}
        for (message, _, command), result in zip(part, outcome.results, strict=True):
            with tracing.span(
                f"{self._spec.name} process",
                kind="consumer",
                parent=message.headers,
                attributes={"parley.chat_id": command.chat_id, "parley.result": result or _NO_CHAT},
                began_at=began_at,
            ):
                if result == "started":
                    traces[command.chat_id] = tracing.inject()
        return traces

    async def _failed(self, message: Msg, error: Exception) -> None:
        deliveries = message.metadata.num_delivered
        if deliveries >= MAX_FAILURES:
            log.error("An event keeps failing", exc_info=error, extra={"consumer": self._spec.name})
            await self._dead_letter(message, f"{type(error).__name__}: {error}")
            return
        log.warning("An event failed: %r", error, extra={"consumer": self._spec.name, "deliveries": deliveries})
        metrics.EVENTS.labels(self._spec.name, "failed").inc()
        await nak_all([message], delay=0.2 * 2.0**deliveries)

    async def _dead_letter(self, message: Msg, reason: str) -> None:
        try:
            await dead_letters.publish(self._context.js, consumer=self._spec.name, message=message, reason=reason)
        except (BusUnavailable, *TRANSIENT_ERRORS) as error:
            log.warning("A dead letter could not be kept yet: %r", error, extra={"consumer": self._spec.name})
            await nak_all([message], delay=5.0)
            return
        log.error("Dead letter: %s", reason, extra={"consumer": self._spec.name, "subject": message.subject})
        with contextlib.suppress(*UNDECODABLE):
            # Of a later version, say: its author can still be read.
            event = msgspec.json.decode(message.data, type=self._kind)
            if isinstance(event, PromptSubmitted) and ids.is_id(event.chat_id) and ids.is_id(event.message_id):
                await self._reject([Rejection(prompt=event, code=NOT_STORED)])
        metrics.EVENTS.labels(self._spec.name, "dead_letter").inc()
        await _acknowledge(message)


def _traceparent(message: Msg | RawStreamMsg) -> str | None:
    return (message.headers or {}).get(tracing.TRACEPARENT)


async def _acknowledge(message: Msg) -> None:
    try:
        await message.ack()
    except TRANSIENT_ERRORS as error:
        # It comes once more, and changes nothing then.
        log.debug("Acknowledging: %r", error)


def _one_end_per_chat(batch: Sequence[_Item[M, E]]) -> list[list[_Item[M, E]]]:
    """Split a batch so that no transaction has two commands for one chat that may end its generation."""
    parts: defaultdict[int, list[_Item[M, E]]] = defaultdict(list)
    ends: Counter[str] = Counter()
    for item in batch:
        parts[ends[item.command.chat_id]].append(item)
        ends[item.command.chat_id] += item.command.ends
    return list(parts.values())
