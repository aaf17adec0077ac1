"""The durable consumers of chat-store. Each acknowledges only after its work is committed.

Built on :mod:`parley.runtime.nats.pull` and not on FastStream's subscribers: those hold a batch back until it is full
or a timeout has passed, and leave the messages of a cancelled handler to time out.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Sequence
from typing import Final

import msgspec
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg

from chat_store.domain import generations, prompts
from chat_store.domain.conversation import Conversation
from chat_store.domain.limits import NO_LIMITS, Limits
from chat_store.errors import describe, is_outage
from chat_store.events.context import EventContext
from chat_store.events.leadership import Leader
from chat_store.events.processing import Execute, Intake
from chat_store.storage import transactions
from chat_store.storage.transactions import Command, Outcome
from parley.contracts import streams, subjects
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.events import GenerationFinished, GenerationRequested, PromptSubmitted
from parley.runtime import tasks
from parley.runtime.nats.errors import TRANSIENT_ERRORS
from parley.runtime.nats.pull import PullConsumer, keep_in_progress, nak_all
from parley.runtime.tasks import finish_despite_cancellation

log = logging.getLogger(__name__)

OUTAGE_RETRY_DELAY: Final = 0.5
"""Seconds between two tries while Postgres is away."""

UNACKNOWLEDGED_TIMEOUT: Final = 5.0
"""Seconds for finding out which prompts were delivered and are not acknowledged."""
UNACKNOWLEDGED_TRIES: Final = 4
"""Tries after which it is worth a line that this is not known."""


def submit(
    event: PromptSubmitted, traceparent: str | None, refused: bool, *, limits: Limits = NO_LIMITS
) -> Command[str]:
    """The command that stores a prompt, or refuses it for a limit of its author."""
    return Command(
        chat_id=event.chat_id,
        run=lambda conversation: prompts.submit(
            conversation, event, traceparent=traceparent, limits=limits, refused=refused
        ),
        messages=[one for one in (event.message_id, event.parent_id, event.answer_id) if isinstance(one, str)],
        users=[event.user_id],
        ends=event.when_busy in ("interrupt", "rollback"),
        defers=bool(limits.answers_per_user),
    )


def finish(event: GenerationFinished, _traceparent: str | None, _refused: bool, *, limits: Limits) -> Command[str]:
    """The command that ends a generation; what starts then belongs to a trace of its own."""

    def run(conversation: Conversation) -> str:
        return event.outcome if generations.finish(conversation, event, catalog=limits.catalog) else "stale"

    return Command(chat_id=event.chat_id, run=run, ends=True, defers=bool(limits.answers_per_user))


class Prompts:
    """``prompt.submitted``: stored by the leader, in the stream's order, many in one transaction."""

    def __init__(self, context: EventContext, *, batch: int) -> None:
        self._context = context
        self._delivered = 0  # the consumer's number of the newest delivery that is dealt with
        self.pull = PullConsumer(context.nc, streams.CHAT_STORE_PROMPTS, batch=batch)
        self._intake = Intake(
            context,
            streams.CHAT_STORE_PROMPTS,
            kind=PromptSubmitted,
            command=functools.partial(submit, limits=context.quotas.limits),
            refusals=context.quotas.refusals,
        )

    async def run(self, leader: Leader) -> None:
        """Handle prompts while ``leader`` leads. Raises: Exception: Postgres is away."""
        await self._catch_up(leader.execute)
        try:
            while True:
                messages = await self.pull.next_batch()
                if not messages:
                    # What the server sent on the connection before may not have arrived.
                    await self._catch_up(leader.execute)
                    continue
                try:
                    if not self._come_next(messages):
                        await self._catch_up(leader.execute)
                    await finish_despite_cancellation(
                        self._intake.handle(messages, leader.execute), self._context.grace
                    )
                    self._delivered = messages[-1].metadata.sequence.consumer
                finally:
                    await nak_all(messages)
        finally:
            await self.pull.close()

    def _come_next(self, messages: list[Msg]) -> bool:
        """Whether no delivery is missing before or between these. The consumer numbers its deliveries.

        A delivery is lost when the connection breaks, or when it goes to an earlier leader that was paused with a
        request open.
        """
        numbers = [message.metadata.sequence.consumer for message in messages]
        return numbers == list(range(self._delivered + 1, self._delivered + 1 + len(numbers)))

    async def _catch_up(self, execute: Execute) -> None:
        """Carry out the prompts that were delivered to any process and are not acknowledged.

        The server redelivers them only when ``ack_wait`` has passed, and newer prompts of the same chats must not
        overtake them.
        """
        tries = 0
        while True:
            try:
                async with asyncio.timeout(UNACKNOWLEDGED_TIMEOUT):
                    unacknowledged = await self._unacknowledged()
                break
            except TRANSIENT_ERRORS as error:
                # A server that has just started does not know yet, which is not worth a warning.
                tries += 1
                level = logging.WARNING if tries == UNACKNOWLEDGED_TRIES else logging.DEBUG
                log.log(level, "Prompts wait until NATS reports which are unacknowledged: %r", error)
            await asyncio.sleep(OUTAGE_RETRY_DELAY)
        if unacknowledged:
            log.info("Carrying out %d prompts that were delivered and not acknowledged", len(unacknowledged))
            await finish_despite_cancellation(self._intake.replay(unacknowledged, execute), self._context.grace)

    async def _unacknowledged(self) -> list[RawStreamMsg]:
        info = await self._context.js.consumer_info(streams.CHAT.name, streams.CHAT_STORE_PROMPTS.name)
        if info.ack_floor is None or info.delivered is None:
            return []
        self._delivered = info.delivered.consumer_seq
        if not info.num_ack_pending:
            return []
        return await stored_between(
            self._context.js, subjects.ANY_PROMPT_SUBMITTED, info.ack_floor.stream_seq, info.delivered.stream_seq
        )


async def stored_between(
    js: JetStreamContext, subject: str, after: int, last: int, *, limit: int | None = None
) -> list[RawStreamMsg]:
    """Return the messages of ``CHAT`` on ``subject`` with a sequence above ``after`` and up to ``last``."""
    stored: list[RawStreamMsg] = []
    while after < last and (limit is None or len(stored) < limit):
        try:
            message = await js.get_msg(streams.CHAT.name, seq=after + 1, subject=subject, next=True)
        except nats.js.errors.NotFoundError:
            break
        if message.seq is None or message.seq > last:
            break
        after = message.seq
        stored.append(message)
    return stored


class Finished:
    """``generation.finished``: by every replica; the order does not matter, as one generation of a chat is active."""

    def __init__(self, context: EventContext, *, batch: int) -> None:
        self._context = context
        self.pull = PullConsumer(context.nc, streams.CHAT_STORE_FINISHED, batch=batch)
        self._intake = Intake(
            context,
            streams.CHAT_STORE_FINISHED,
            kind=GenerationFinished,
            command=functools.partial(finish, limits=context.quotas.limits),
        )

    async def run(self) -> None:
        """Until cancelled; during an outage of Postgres the messages are kept in progress."""
        try:
            while True:
                messages = await self.pull.next_batch()
                if not messages:
                    continue
                try:
                    await finish_despite_cancellation(self._until_handled(messages), self._context.grace)
                finally:
                    await nak_all(messages)
        finally:
            await self.pull.close()

    async def _until_handled(self, messages: list[Msg]) -> None:
        level = logging.WARNING
        heartbeat = asyncio.create_task(keep_in_progress(messages, every=streams.CHAT_STORE_FINISHED.ack_wait / 3))
        try:
            while True:
                try:
                    await self._intake.handle(messages, self._execute)
                    return
                except Exception as error:
                    if not is_outage(error):
                        raise
                    log.log(level, "The ends of answers wait: %s", describe(error))
                    level = logging.DEBUG
                await asyncio.sleep(OUTAGE_RETRY_DELAY)
        finally:
            await tasks.end(heartbeat)

    async def replay(self, ends: Sequence[RawStreamMsg]) -> int:
        """Process ends in the stream that were delivered and are not acknowledged; return how many changed something.

        Raises:
            Exception: Postgres is away.
        """
        return await self._intake.replay(ends, self._execute)

    async def _execute(self, commands: Sequence[Command[str]]) -> Outcome[str]:
        async with self._context.database.connection() as connection:
            return await transactions.execute(connection, commands)


class _Advisory(msgspec.Struct, frozen=True):
    """The server's MAX_DELIVERIES advisory, as far as it matters here."""

    stream: str
    consumer: str
    stream_seq: int


class Advisories:
    """Requests that used up their deliveries: asked for again, a few times, and then failed."""

    def __init__(self, context: EventContext) -> None:
        self._context = context
        self.pull = PullConsumer(context.nc, streams.CHAT_STORE_ADVISORIES, batch=16)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                messages = await self.pull.next_batch()
                for message in messages:
                    await finish_despite_cancellation(self._handle(message), self._context.grace)
        finally:
            await self.pull.close()

    async def _handle(self, message: Msg) -> None:
        try:
            await self._carry_out(msgspec.json.decode(message.data, type=_Advisory))
            await message.ack()
        except UNDECODABLE as error:
            log.error("An advisory does not decode: %s", error)
            with contextlib.suppress(*TRANSIENT_ERRORS):
                await message.term()
        except Exception as error:
            if not is_outage(error) and not isinstance(error, TRANSIENT_ERRORS):
                log.exception("An advisory failed")
            await nak_all([message], delay=5.0)

    async def _carry_out(self, advisory: _Advisory) -> None:
        if advisory.stream != streams.CHAT.name or advisory.consumer != streams.LLM_WORKER_REQUESTS.name:
            log.warning("A message used up its deliveries", extra={"consumer": advisory.consumer})
            return
        try:
            stored = await self._context.js.get_msg(streams.CHAT.name, seq=advisory.stream_seq)
            request = msgspec.json.decode(stored.data or b"", type=GenerationRequested)
        except (nats.js.errors.NotFoundError, *UNDECODABLE):
            return
        await again_or_fail(self._context, request.chat_id, request.generation_id, request.request)


async def again_or_fail(context: EventContext, chat_id: str, generation_id: str, request: int) -> None:
    """Carry out :func:`chat_store.domain.generations.request_again`."""
    command = Command(
        chat_id=chat_id,
        run=lambda conversation: generations.request_again(conversation, generation_id, request=request),
        ends=True,
        defers=context.publisher.starter.defers,
    )
    async with context.database.connection() as connection:
        outcome = await transactions.execute(connection, [command])
    await context.publisher.announce(outcome.changes)
