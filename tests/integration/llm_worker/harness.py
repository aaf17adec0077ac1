"""A fake chat-store and a reader of everything live, around llm-worker."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg

from parley.contracts import frames, rpc, subjects
from parley.contracts.events import GenerationFinished, GenerationRequested, GenerationSegment
from parley.contracts.ids import new_id
from parley.contracts.streams import CHAT, DEAD_LETTERS, LLM_WORKER_REQUESTS, SEGMENTS
from parley.runtime.nats.connect import connect, wait_until_processed
from parley.runtime.nats.errors import NoResponder
from parley.runtime.nats.provision import provision
from parley.runtime.nats.publish import publish_durable
from parley.runtime.nats.requests import ask
from tests.support.chat_store.fake import FakeStore
from tests.support.chat_store.generations import FakeGeneration
from tests.support.waiting import eventually

LiveFrame = frames.Delta | frames.Generation


@dataclasses.dataclass
class Turn(FakeGeneration):
    """A generation, and what was seen of it.

    Attributes:
        live: All live frames, in the order of their arrival.
        requests: How often it was requested.
    """

    live: list[LiveFrame] = dataclasses.field(default_factory=list)
    requests: int = 0

    def deltas(self, attempt: int | None = None) -> list[frames.Delta]:
        wanted = self.attempt if attempt is None else attempt
        return [frame for frame in self.live if isinstance(frame, frames.Delta) and frame.attempt == wanted]

    def generations(self) -> list[frames.Generation]:
        return [frame for frame in self.live if isinstance(frame, frames.Generation)]


def text_of(deltas: Sequence[frames.Delta], kind: Literal["text", "reasoning"] = "text") -> str:
    """The text of deltas, which must follow one another without a gap from 1."""
    seq = 0
    for delta in deltas:
        assert delta.from_ == seq + 1, f"a gap: {delta.from_} after {seq}"
        assert delta.to >= delta.from_
        seq = delta.to
    return "".join(delta.text for delta in deltas if delta.kind == kind)


class Harness:
    """A provisioned nats-server with a fake chat-store and a reader of everything live.

    Attributes:
        replies: While it is clear, requests count but their replies wait.
    """

    def __init__(self, nc: Client) -> None:
        self.nc = nc
        self.js: JetStreamContext = nc.jetstream()
        self.store = FakeStore(nc)
        self.turns: dict[str, Turn] = self.store.generations.by_id
        self.replies = asyncio.Event()
        self.replies.set()
        self.store.before_reply = self.replies.wait

    async def open(self) -> None:
        await self.nc.subscribe("live.>", cb=self._on_live)
        await self.store.start()

    async def ask(
        self,
        prompt: str,
        *,
        model: str | None = "demo-fast",
        chat_id: str | None = None,
        context: Sequence[rpc.ContextMessage] | None = None,
        **state: Any,
    ) -> Turn:
        """Request an answer."""
        turn = Turn(
            chat_id=chat_id or new_id(),
            generation_id=new_id(),
            message_id=new_id(),
            model=model,
            context=list(context or [rpc.ContextMessage(role="user", content=prompt)]),
            **state,
        )
        self.turns[turn.generation_id] = turn
        await self.request(turn)
        return turn

    async def request(self, turn: Turn) -> None:
        turn.requests += 1
        event = GenerationRequested(
            chat_id=turn.chat_id,
            occurred_at=datetime.now(UTC),
            generation_id=turn.generation_id,
            message_id=turn.message_id,
            request=turn.requests,
        )
        await publish_durable(self.js, event, deadline=10)

    async def stop(self, turn: Turn) -> None:
        turn.stop_requested = True
        await self.nc.publish(subjects.ctl_generation_stop(turn.generation_id), msgspec.json.encode(rpc.StopSignal()))
        await wait_until_processed(self.nc)

    async def decide(self, turn: Turn, call_id: str, *, approved: bool) -> None:
        decided = rpc.ToolDecided(call_id=call_id, approved=approved)
        await self.nc.publish(subjects.ctl_generation_decided(turn.generation_id), msgspec.json.encode(decided))

    # --- a reader ----------------------------------------------------------------------------------------------------

    async def _on_live(self, message: Msg) -> None:
        frame = msgspec.json.decode(message.data, type=LiveFrame)
        if frame.generation_id in self.turns:
            self.turns[frame.generation_id].live.append(frame)

    async def snapshot(self, turn: Turn) -> rpc.GenerationSnapshot:
        """Ask the owner. Raises NoResponder when there is none."""
        subject = subjects.rpc_generation_snapshot(turn.generation_id)
        return await ask(self.nc, rpc.SnapshotRequest(), subject=subject, timeout=5)

    async def wait_for_end(self, turn: Turn, *, deadline: float = 30) -> GenerationFinished:
        """Wait for the end that counts."""
        await eventually(lambda: turn.end is not None, deadline=deadline, what="the answer's end")
        assert turn.end is not None
        return turn.end

    async def wait_for_text(self, turn: Turn, *, attempt: int = 1, seq: int = 1, deadline: float = 30) -> None:
        """Wait until the attempt has published chunk ``seq``."""
        await eventually(
            lambda: any(delta.to >= seq for delta in turn.deltas(attempt)),
            deadline=deadline,
            what=f"chunk {seq} of attempt {attempt}",
        )

    async def snapshot_attempt(self, turn: Turn) -> int | None:
        """The attempt that the owner names; None when there is no owner."""
        try:
            return (await self.snapshot(turn)).attempt
        except NoResponder:
            return None

    # --- the server --------------------------------------------------------------------------------------------------

    async def unacknowledged_is(self, count: int) -> bool:
        """Whether so many requests are delivered or waiting, and not acknowledged."""
        info = await self.js.consumer_info(CHAT.name, LLM_WORKER_REQUESTS.name)
        return bool((info.num_ack_pending or 0) + (info.num_pending or 0) == count)

    async def delivered_is(self, count: int) -> bool:
        """Whether so many requests are in a worker's hands."""
        info = await self.js.consumer_info(CHAT.name, LLM_WORKER_REQUESTS.name)
        return bool(info.num_ack_pending == count)

    async def open_requests_is(self, count: int) -> bool:
        """Whether so many workers ask for a request."""
        info = await self.js.consumer_info(CHAT.name, LLM_WORKER_REQUESTS.name)
        return bool(info.num_waiting == count)

    async def has_segment(self, turn: Turn, attempt: int) -> bool:
        """Whether the attempt has left text."""
        try:
            message = await self.js.get_last_msg(SEGMENTS.name, subjects.generation_segment(turn.chat_id))
        except nats.js.errors.NotFoundError:
            return False
        return msgspec.json.decode(message.data or b"", type=GenerationSegment).attempt == attempt

    async def dead_letters(self) -> list[RawStreamMsg]:
        """All of them, oldest first."""
        state = (await self.js.stream_info(DEAD_LETTERS.name)).state
        return [await self.js.get_msg(DEAD_LETTERS.name, seq) for seq in range(1, state.last_seq + 1)]


@contextlib.asynccontextmanager
async def start_harness(nats_url: str, *, ack_wait: float | None = None) -> AsyncIterator[Harness]:
    """Provision the server and set up everything around the worker."""
    nc = await connect(nats_url, name="test-harness")
    try:
        await provision(nc, ack_wait=ack_wait)
        built = Harness(nc)
        await built.open()
        yield built
    finally:
        await nc.close()
