"""Speaks to chat-store as its neighbours do: the gateway, a worker and push, in contracts only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from parley.contracts import ids, rpc, subjects
from parley.contracts.access.identity import Revoked, StartSession
from parley.contracts.events import GenerationFinished, GenerationRequested, PromptSubmitted
from parley.contracts.live import Changed, InvitationsChanged, ListChanged
from parley.contracts.resources import Chat, Member, Message, MessageError, Role, Usage
from parley.runtime.nats.connect import wait_until_processed
from parley.runtime.nats.publish import publish_durable
from parley.runtime.nats.requests import ask
from tests.support.waiting import eventually

T = TypeVar("T")


class Neighbour:
    """One connection to the bus, with everything that chat-store says on it.

    Attributes:
        requested: Requests for answers, in the order in which they were published.
        changed: What was published for readers.
        lists: What was published for lists of chats, by user.
        invited: The users to whom it was published that their invitations changed.
    """

    def __init__(self, nc: Client) -> None:
        self.nc = nc
        self.js: JetStreamContext = nc.jetstream()
        self.requested: list[GenerationRequested] = []
        self.changed: list[Changed] = []
        self.lists: dict[str, list[ListChanged]] = {}
        self.invited: list[str] = []
        self.signals: list[str] = []
        self.revoked: list[Revoked] = []

    async def listen(self) -> None:
        async def on_requested(message: Msg) -> None:
            request = msgspec.json.decode(message.data, type=GenerationRequested)
            # One that is published again is not stored again, but received.
            if request.id not in {one.id for one in self.requested}:
                self.requested.append(request)

        async def on_changed(message: Msg) -> None:
            self.changed.append(msgspec.json.decode(message.data, type=Changed))

        async def on_list_changed(message: Msg) -> None:
            user_id = message.subject.split(".")[1]
            changed = msgspec.json.decode(message.data, type=ListChanged | InvitationsChanged)
            if isinstance(changed, InvitationsChanged):
                self.invited.append(user_id)
            else:
                self.lists.setdefault(user_id, []).append(changed)

        async def on_signal(message: Msg) -> None:
            self.signals.append(message.subject.split(".")[2])

        async def on_revoked(message: Msg) -> None:
            self.revoked.append(msgspec.json.decode(message.data, type=Revoked))

        await self.nc.subscribe(subjects.CTL_IDENTITY_REVOKED, cb=on_revoked)
        await self.nc.subscribe(subjects.ANY_GENERATION_REQUESTED, cb=on_requested)
        await self.nc.subscribe("live.*.changed", cb=on_changed)
        await self.nc.subscribe("user.*.chats", cb=on_list_changed)
        await self.nc.subscribe("ctl.generation.*.stop", cb=on_signal)
        await wait_until_processed(self.nc)

    # --- the gateway ------------------------------------------------------------------------------------------------

    async def ask(self, request: rpc.Request[T], *, timeout: float = 10.0) -> T:
        return await ask(self.nc, request, timeout=timeout)

    async def chat(self, user_id: str = "ann", **fields: Any) -> str:
        """Create a chat and return its id."""
        reply = await self.ask(rpc.CreateChat(user_id=user_id, chat_id=ids.new_id(), **fields))
        return reply.chat.id

    async def create_users(self, *user_ids: str) -> None:
        """Have users with these ids, as guests from before sessions have them."""
        for user_id in user_ids:
            await self.ask(
                StartSession(
                    session_id=ids.new_id(),
                    secret_digest=ids.new_id(),
                    new_user_id=ids.new_id(),
                    user_id=user_id,
                    method="guest",
                    idle_seconds=3600,
                    absolute_seconds=3600,
                )
            )

    async def join(self, chat_id: str, user_id: str, role: Role = "writer", *, owner: str = "ann") -> Member:
        """Invite a user, who accepts, and return the member."""
        await self.create_users(user_id)
        await self.ask(rpc.PutMember(user_id=owner, chat_id=chat_id, member_id=user_id, role=role))
        return (await self.ask(rpc.AcceptInvitation(user_id=user_id, chat_id=chat_id))).member

    async def say(
        self,
        chat_id: str,
        content: str = "hello",
        *,
        user_id: str = "ann",
        trace: dict[str, str] | None = None,
        **fields: Any,
    ) -> str:
        """Submit a prompt and return its id. ``trace``: headers that carry a span."""
        event = prompt(chat_id, content, user_id=user_id, **fields)
        await publish_durable(self.js, event, deadline=10, trace=trace)
        return event.message_id

    async def get(self, chat_id: str, *, user_id: str = "ann") -> Chat:
        return (await self.ask(rpc.GetChat(user_id=user_id, chat_id=chat_id))).chat

    async def messages(self, chat_id: str, *, user_id: str = "ann") -> list[Message]:
        """All messages of the chat, oldest first."""
        items: list[Message] = []
        before: str | None = None
        while True:
            page = await self.ask(rpc.ListMessages(user_id=user_id, chat_id=chat_id, before=before, limit=100))
            items = page.items + items
            if page.next is None:
                return items
            before = page.next

    async def message(self, chat_id: str, message_id: str) -> Message | None:
        return next((one for one in await self.messages(chat_id) if one.id == message_id), None)

    # --- a worker ---------------------------------------------------------------------------------------------------

    async def request_for(self, chat_id: str, *, number: int = 1, deadline: float = 15.0) -> GenerationRequested:
        """Wait for the chat's ``number``-th request and return it."""

        async def stored() -> GenerationRequested | None:
            # Read from the stream: what is only received is lost while this connection is.
            subject, sequence, data = subjects.generation_requested(chat_id), 0, b""
            try:
                for _ in range(number):
                    message = await self.js.get_msg("CHAT", seq=sequence + 1, subject=subject, next=True)
                    sequence, data = message.seq or 0, message.data or b""
            except (nats.errors.Error, nats.js.errors.Error):
                return None
            return msgspec.json.decode(data, type=GenerationRequested)

        def received() -> GenerationRequested | None:
            mine = [one for one in self.requested if one.chat_id == chat_id]
            return mine[number - 1] if len(mine) >= number else None

        async def either() -> GenerationRequested | None:
            return received() or await stored()

        found = await eventually(either, deadline=deadline, what=f"request {number} of chat {chat_id}")
        assert found is not None
        return found

    async def claim(
        self, request: GenerationRequested, *, claim_id: str | None = None
    ) -> rpc.Claimed | rpc.ClaimRefused:
        return await self.ask(
            rpc.Claim(
                chat_id=request.chat_id,
                generation_id=request.generation_id,
                claim_id=claim_id or ids.new_id(),
                worker_id="worker",
            ),
        )

    async def claimed(self, request: GenerationRequested, *, claim_id: str | None = None) -> rpc.Claimed:
        reply = await self.claim(request, claim_id=claim_id)
        assert isinstance(reply, rpc.Claimed)
        return reply

    async def finish(self, claimed: rpc.Claimed, text: str = "an answer", **fields: Any) -> GenerationFinished:
        event = finished(claimed, text, **fields)
        await publish_durable(self.js, event, deadline=10)
        return event

    async def answer(self, chat_id: str, text: str = "an answer", *, number: int = 1) -> Message:
        """Answer the chat's ``number``-th request and return the answer as it is stored."""
        claimed = await self.claimed(await self.request_for(chat_id, number=number))
        await self.finish(claimed, text)

        async def stored() -> Message | None:
            found = await self.message(chat_id, claimed.message_id)
            return found if found is not None and found.status == "complete" else None

        found = await eventually(stored, what="the answer being stored")
        assert found is not None
        return found

    # --- push -------------------------------------------------------------------------------------------------------

    async def sync(self, chat_id: str, after: int | None = None) -> rpc.SyncReply:
        return await self.ask(rpc.Sync(chat_id=chat_id, after=after))


def prompt(chat_id: str, content: str = "hello", *, user_id: str = "ann", **fields: Any) -> PromptSubmitted:
    made: dict[str, Any] = {"message_id": ids.new_id(), "occurred_at": datetime.now(UTC)}
    return PromptSubmitted(chat_id=chat_id, user_id=user_id, content=content, **made | fields)


def finished(claimed: rpc.Claimed, text: str = "an answer", **fields: Any) -> GenerationFinished:
    fields.setdefault("outcome", "complete")
    fields.setdefault("usage", Usage(input_tokens=3, output_tokens=5))
    fields.setdefault("model", "demo")
    fields.setdefault("attempt", claimed.attempt)
    return GenerationFinished(
        chat_id=claimed.chat_id,
        generation_id=claimed.generation_id,
        message_id=claimed.message_id,
        text=text,
        occurred_at=datetime.now(UTC),
        **fields,
    )


AWAY = MessageError(code="provider_unavailable", message="The provider is away.", retryable=True)
