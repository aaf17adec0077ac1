"""Generations, as a worker claims, releases and advances them."""

import dataclasses
from typing import Any, Generic, Literal, TypeVar

from parley.contracts import rpc
from parley.contracts.completion import ToolRound
from parley.contracts.events import GenerationFinished
from parley.contracts.limits import MAX_ATTEMPTS
from tests.support.chat_store.part import Part


@dataclasses.dataclass
class FakeGeneration:
    """A generation.

    Attributes:
        used: Attempts that count against the limit.
        refuse: Claims are refused.
        claims, releases: The requests, in order.
        replies: To claims, by their ids.
        rounds: By number.
        finished: All finished events, whether or not they count.
    """

    chat_id: str
    generation_id: str
    message_id: str
    model: str | None
    context: list[rpc.ContextMessage]
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    attempt: int = 0
    used: int = 0
    stop_requested: bool = False
    refuse: bool = False
    claims: list[rpc.Claim] = dataclasses.field(default_factory=list)
    replies: dict[str, rpc.Claimed] = dataclasses.field(default_factory=dict)
    releases: list[rpc.Release] = dataclasses.field(default_factory=list)
    rounds: dict[int, ToolRound] = dataclasses.field(default_factory=dict)
    finished: list[GenerationFinished] = dataclasses.field(default_factory=list)

    @property
    def end(self) -> GenerationFinished | None:
        """The finished event that counts: the first of the attempt that was current."""
        return next((event for event in self.finished if event.attempt == self.attempt), None)


G = TypeVar("G", bound=FakeGeneration)


class FakeGenerations(Part, Generic[G]):
    """Generations by their ids, in memory."""

    def __init__(self) -> None:
        self.by_id: dict[str, G] = {}

    def finish(self, event: GenerationFinished) -> None:
        """Handle a finished event."""
        generation = self.by_id.get(event.generation_id)
        # What is stored twice is a duplicate to JetStream; a core subscriber sees each publish.
        if generation is not None and event not in generation.finished:
            generation.finished.append(event)

    def _claim(self, request: rpc.Claim) -> rpc.Claimed | rpc.ClaimRefused:
        found = self.by_id.get(request.generation_id)
        if found is None or found.refuse or found.end is not None:
            return rpc.ClaimRefused()
        found.claims.append(request)
        if request.claim_id in found.replies:
            return found.replies[request.claim_id]
        found.attempt += 1
        found.used += 1
        verdict: Literal["stream", "stop_requested", "exhausted"] = "stream"
        if found.stop_requested:
            verdict = "stop_requested"
        elif found.used > MAX_ATTEMPTS:
            verdict = "exhausted"
        reply = found.replies[request.claim_id] = rpc.Claimed(
            chat_id=found.chat_id,
            generation_id=found.generation_id,
            message_id=found.message_id,
            attempt=found.attempt,
            verdict=verdict,
            model=found.model,
            context=found.context,
            parameters=found.parameters,
            rounds=[found.rounds[number] for number in sorted(found.rounds)],
        )
        return reply

    def _release(self, request: rpc.Release) -> rpc.Done:
        found = self.by_id.get(request.generation_id)
        if found is not None:
            found.releases.append(request)
            if request.attempt == found.attempt:
                found.used -= 1
        return rpc.Done()

    def _store_tool_round(self, request: rpc.StoreToolRound) -> rpc.ToolRoundStored | rpc.RpcError:
        found = self.by_id.get(request.generation_id)
        if found is None or request.attempt != found.attempt or found.end is not None:
            return rpc.RpcError(code="conflict", message="The attempt is not the current one.")
        found.rounds[request.number] = request.round
        return rpc.ToolRoundStored(decisions={})
