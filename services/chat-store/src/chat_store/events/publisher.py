"""What is published after a commit: changes for readers, and requests for answers.

Each committed request reaches the stream at least once, deduplicated by its event id. The database ensures it, not the
order of steps here: the sweeper publishes again a generation whose request is not known to be stored (``request_seq``
is null). So nothing waits for the acknowledgement.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import msgspec
from nats.aio.client import Client
from nats.js import JetStreamContext

from chat_store import metrics
from chat_store.domain.conversation import Changes
from chat_store.domain.records import GenerationRecord
from chat_store.domain.rejections import Rejection
from chat_store.errors import is_outage
from chat_store.events.starter import Starter
from chat_store.storage import generations
from chat_store.storage.identity.guests import MovedChat
from chat_store.storage.pool import Database
from parley.contracts import limits, subjects
from parley.contracts.access.identity import Revoked
from parley.contracts.events import GenerationRequested
from parley.contracts.live import Changed, InvitationsChanged, ListChanged
from parley.contracts.resources import Chat
from parley.contracts.rpc import StopSignal, ToolDecided
from parley.runtime import tracing
from parley.runtime.nats.errors import TRANSIENT_ERRORS, BusUnavailable
from parley.runtime.nats.publish import publish_durable

log = logging.getLogger(__name__)

PUBLISH_DEADLINE: Final = 10.0
"""Seconds after which a request is left to the sweeper."""

_NO_TRACES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({})


class Publisher:
    """Publishes for one process; owns the tasks that wait for acknowledgements until :meth:`drain`.

    Attributes:
        starter: Starts the prompts that wait for the end of another answer of their author.
    """

    def __init__(self, nc: Client, js: JetStreamContext, database: Database, starter: Starter) -> None:
        self._nc = nc
        self._js = js
        self._database = database
        self.starter = starter
        self._tasks: set[asyncio.Task[None]] = set()

    async def announce(
        self, changes: Sequence[Changes], *, traces: Mapping[str, Mapping[str, str]] = _NO_TRACES
    ) -> None:
        """Publish changes to readers and stop signals to workers, and, without waiting for it, request answers.

        ``live.<chat>.changed`` and ``user.<user>.chats``: at most once, in order of the versions as far as one process
        makes them.

        Args:
            traces: By chat, the headers of the span that a request belongs to; by default what is stored with it.
        """
        for change in changes:
            if change.visible:
                await self._send(subjects.live_changed(change.chat.id), encode_changed(change))
            if change.visible and change.listed:
                await self._publish_to_lists(change)
            invited = [*(one.user_id for one in change.invitations_changed), *change.invitations_removed]
            await self._send_to_users(InvitationsChanged(chat_id=change.chat.id), invited)
            if change.stop is not None:
                await self.signal_stop(change.stop)
        requested = [change.request for change in changes if change.request is not None]
        if requested:
            self._spawn(self.request(requested, traces=traces))
        for user_id in self.starter.users_of(changes):
            self._spawn(self.start_waiting(user_id))

    async def start_waiting(self, user_id: str) -> None:
        """Start the user's prompts that wait for the end of another answer. What fails is left to the sweeper."""
        try:
            await self.starter.start(user_id, self.announce)
        except Exception as error:
            log.log(logging.DEBUG if is_outage(error) else logging.ERROR, "Starting queued prompts: %r", error)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def announce_new(self, chat: Chat) -> None:
        """Publish a new chat to its owner's lists. At most once."""
        await self._send_to_users(_listed(chat), [chat.owner_id])

    async def _publish_to_lists(self, change: Changes) -> None:
        listed = _listed(change.chat.resource(running=change.active is not None))
        unlisted = msgspec.structs.replace(listed, chat=None)
        members = {*change.members, *(member.user_id for member in change.members_changed)}
        await self._send_to_users(unlisted, members.intersection(change.members_removed))
        await self._send_to_users(unlisted if change.deleted else listed, members.difference(change.members_removed))

    async def announce_moved(self, moved: Sequence[MovedChat], *, guest_id: str) -> None:
        """Publish chats that a guest gave to the user who has signed in. At most once; repaired by versions."""
        for one in moved:
            chat = one.chat
            changed = Changed(
                chat_id=chat.id,
                since=chat.version - 1,
                version=chat.version,
                chat=chat,
                messages=None,
                generation=one.generation,
                removed_members=[guest_id],
                roles=one.members,
            )
            await self._send(subjects.live_changed(chat.id), msgspec.json.encode(changed))
            await self._send_to_users(_listed(chat), one.members)

    async def reject(self, rejections: Sequence[Rejection]) -> None:
        """Publish to authors that their prompts were not stored. At most once; ``get_message`` reports it later."""
        for rejection in rejections:
            subject = subjects.live_rejected(rejection.prompt.chat_id)
            await self._send(subject, msgspec.json.encode(rejection.live()))

    async def revoke(self, *revoked: Revoked) -> None:
        """Publish that identities may not be used any more. At most once; caches compare with ``FindRevoked``."""
        for one in revoked:
            await self._send(subjects.CTL_IDENTITY_REVOKED, msgspec.json.encode(one))

    async def signal_stop(self, generation_id: str) -> None:
        """Signal the generation's worker to stop. At most once; the sweeper repeats it each second."""
        await self._send(subjects.ctl_generation_stop(generation_id), msgspec.json.encode(StopSignal()))

    async def signal_decided(self, generation_id: str, call_id: str, *, approved: bool) -> None:
        """Signal that a call of a tool was decided. At most once; a worker that waits stores its round again."""
        decided = msgspec.json.encode(ToolDecided(call_id=call_id, approved=approved))
        await self._send(subjects.ctl_generation_decided(generation_id), decided)

    async def request(
        self, requested: Sequence[GenerationRecord], *, traces: Mapping[str, Mapping[str, str]] = _NO_TRACES
    ) -> None:
        """Publish the requests and note where they are stored. What fails is left to the sweeper."""
        stored = await asyncio.gather(
            *(self._request(generation, traces.get(generation.chat_id)) for generation in requested)
        )
        marks = [mark for mark in stored if mark is not None]
        if not marks:
            return
        metrics.REQUESTED.inc(len(marks))
        try:
            async with self._database.connection() as connection:
                await generations.mark_requested(connection, marks)
        except Exception as error:
            # They are published once more, with the same ids, which the stream knows.
            log.log(logging.DEBUG if is_outage(error) else logging.ERROR, "Marking requests: %r", error)

    async def _request(
        self, generation: GenerationRecord, trace: Mapping[str, str] | None
    ) -> tuple[GenerationRecord, int] | None:
        event = GenerationRequested(
            chat_id=generation.chat_id,
            generation_id=generation.id,
            message_id=generation.message_id,
            request=generation.request,
            occurred_at=datetime.now(UTC),
        )
        if not trace and generation.traceparent is not None:
            # It waited for its turn, or is requested again: it still belongs to the trace of its prompt.
            trace = {tracing.TRACEPARENT: generation.traceparent}
        try:
            stored = await publish_durable(self._js, event, deadline=PUBLISH_DEADLINE, trace=trace)
        except (BusUnavailable, *TRANSIENT_ERRORS) as error:
            log.warning("An answer could not be requested yet: %s", error, extra={"generation_id": generation.id})
            return None
        return generation, stored.seq

    async def _send_to_users(self, message: ListChanged | InvitationsChanged, user_ids: Iterable[str]) -> None:
        payload = msgspec.json.encode(message)
        for user_id in user_ids:
            await self._send(subjects.user_chats(user_id), payload)

    async def _send(self, subject: str, payload: bytes) -> None:
        try:
            await self._nc.publish(subject, payload)
        except TRANSIENT_ERRORS as error:
            log.debug("%s: %r", subject, error)

    async def drain(self, timeout: float) -> None:
        """Wait for what is under way; what is not done in ``timeout`` seconds is left to the sweeper."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def _listed(chat: Chat) -> ListChanged:
    return ListChanged(chat_id=chat.id, version=chat.version, chat=chat.summary())


def encode_changed(change: Changes) -> bytes:
    """Encode a change for readers; without the messages when they are too large to include."""
    reference = None if change.active is None else change.active.reference()
    changed = Changed(
        chat_id=change.chat.id,
        since=change.since,
        version=change.chat.version,
        chat=None if change.deleted else change.chat.resource(running=reference is not None),
        messages=[message.resource() for message in change.messages],
        generation=reference,
        removed_members=change.members_removed,
        roles={member.user_id: member.role for member in change.members_changed},
    )
    payload = msgspec.json.encode(changed)
    if len(payload) > limits.MAX_REPLY_BYTES:
        payload = msgspec.json.encode(msgspec.structs.replace(changed, messages=None))
    return payload
