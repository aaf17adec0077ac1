"""Requests of llm-worker for its generations, and requests and signals to it."""

from typing import Any, ClassVar, Literal

import msgspec

from parley.contracts import subjects
from parley.contracts.completion import ContextMessage, Span, ToolCall, ToolRound
from parley.contracts.requests import Done, ReplyBase, Request, StoreRequest
from parley.contracts.resources import MessageError


class Claimed(ReplyBase, frozen=True, kw_only=True, tag="claimed"):
    """The generation belongs to this worker.

    Attributes:
        context: The branch from the root, system prompt first; cut from the oldest to fit a reply. Never contains
            an empty or unfinished answer.
        verdict: ``stream``: do it. ``stop_requested``: publish ``finished`` as stopped. ``exhausted``: attempts are
            used up, or ``error`` is set; publish ``finished`` as failed with the text from SEGMENTS.
        error: Why the provider may not be called: the user's budget is spent, or the model is not the user's to use.
        parameters: Members of the provider's request, sent as they are.
        rounds: Of earlier attempts: what was said and done until the last call of a tool that Parley runs. The attempt
            begins with it, and completed calls are not run again.
        decisions: Which calls of the rounds were approved (true) or denied, by their ids.
    """

    chat_id: str
    generation_id: str
    message_id: str
    attempt: int
    verdict: Literal["stream", "stop_requested", "exhausted"]
    model: str | None
    context: list[ContextMessage]
    error: MessageError | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    rounds: list[ToolRound] = msgspec.field(default_factory=list)
    decisions: dict[str, bool] = msgspec.field(default_factory=dict)


class ClaimRefused(ReplyBase, frozen=True, kw_only=True, tag="claim_refused"):
    """The generation has ended or never existed: acknowledge the message and drop it."""


class Claim(StoreRequest[Claimed | ClaimRefused], frozen=True, kw_only=True):
    """Claim a generation: raises ``attempt`` by one. The same ``claim_id`` again gets the same reply."""

    VERB: ClassVar = "claim"
    chat_id: str
    generation_id: str
    claim_id: str
    worker_id: str


class ToolRoundStored(ReplyBase, frozen=True, kw_only=True, tag="tool_round_stored"):
    """The round is stored.

    Attributes:
        decisions: Which of its calls were approved (true) or denied so far, by their ids.
    """

    decisions: dict[str, bool]


class StoreToolRound(StoreRequest[ToolRoundStored], frozen=True, kw_only=True):
    """Store a round of a running answer, or its calls as they are now: the same number again replaces it.

    ``conflict`` when the attempt is not the current one. While a call waits for approval, the worker stores the round
    again every few seconds: the reply has decisions whose signal was lost.

    Attributes:
        number: From 0, within the generation.
    """

    VERB: ClassVar = "store_tool_round"
    chat_id: str
    generation_id: str
    attempt: int
    number: int
    round: ToolRound


class DecideToolCall(StoreRequest[Done], frozen=True, kw_only=True):
    """Approve or deny a call that waits for approval; writers only. The same decision again: Done.

    ``conflict`` when it was decided otherwise or does not wait, and when the answer is not running.

    Attributes:
        message_id: The answer's.
    """

    VERB: ClassVar = "decide_tool_call"
    user_id: str
    chat_id: str
    message_id: str
    call_id: str
    approve: bool


class ToolDecided(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a running answer was approved or denied. At most once."""

    call_id: str
    approved: bool


class Release(StoreRequest[Done], frozen=True, kw_only=True):
    """Release a claimed generation in a graceful shutdown: the attempt does not count as used."""

    VERB: ClassVar = "release"
    generation_id: str
    attempt: int


class GenerationSnapshot(ReplyBase, frozen=True, kw_only=True, tag="generation_snapshot"):
    """The whole answer so far, from its worker. Every delta published later has ``from`` > ``seq``."""

    generation_id: str
    message_id: str
    attempt: int
    status: Literal["running", "retrying"]
    seq: int
    text: str
    reasoning: str
    tool_calls: list[ToolCall] = msgspec.field(default_factory=list)
    layout: list[Span] = msgspec.field(default_factory=list)


class SnapshotRequest(Request[GenerationSnapshot], frozen=True, kw_only=True):
    """Read the answer so far of a running generation; its subject names the generation.

    Attributes:
        brief: Without the text, to find out only whether a worker owns the generation.
    """

    brief: bool = False


class StopSignal(msgspec.Struct, frozen=True, kw_only=True):
    """Close the provider connection now. Sent again each second until the generation is over."""


class ModelList(ReplyBase, frozen=True, kw_only=True, tag="model_list"):
    """Models that the provider offers; ``default`` is used by a chat that names none."""

    items: list[str]
    default: str | None


class ListModels(Request[ModelList], frozen=True, kw_only=True):
    """List the models that the provider offers."""

    @classmethod
    def subject(cls) -> str:
        return subjects.RPC_MODELS_LIST
