"""An answer in the making, as its owner knows it. No I/O."""

from typing import Literal

from llm_worker.generation.attempt_text import Transcript
from parley.contracts.rpc import Claimed, GenerationSnapshot


class Answer:
    """What one generation has said in its current attempt.

    Attributes:
        attempt: 0 until the first claim.
        status: ``retrying`` while we wait before we ask the provider again.
    """

    def __init__(self, *, chat_id: str, generation_id: str, message_id: str) -> None:
        self.chat_id = chat_id
        self.generation_id = generation_id
        self.message_id = message_id
        self.attempt = 0
        self.status: Literal["running", "retrying"] = "running"
        self.transcript = Transcript()

    def claimed(self, claim: Claimed) -> None:
        """Take note of a claim. Text begins anew when there is something to stream; else what was said stays."""
        self.attempt = claim.attempt
        self.status = "running"
        if claim.verdict == "stream":
            self.transcript = Transcript()

    def snapshot(self) -> GenerationSnapshot:
        """The answer so far, whole; later deltas have ``from`` > ``seq``."""
        return GenerationSnapshot(
            generation_id=self.generation_id,
            message_id=self.message_id,
            attempt=self.attempt,
            status=self.status,
            seq=self.transcript.seq,
            text=self.transcript.text,
            reasoning=self.transcript.reasoning,
        )
