"""The state of one answer in its worker. No I/O."""

from typing import Literal

from llm_worker.generation.content import AttemptContent
from parley.contracts.resources import Usage
from parley.contracts.rpc import Claimed, GenerationSnapshot


class Answer:
    """The state of one answer.

    Attributes:
        attempt: 0 until the first claim.
        status: ``retrying`` while the worker waits before its next request to the provider.
        content: What the current attempt has produced.
        model: The model of the latest request; None before it.
        usage: The tokens of all requests so far; None before the first that the provider answered.
    """

    def __init__(self, *, chat_id: str, generation_id: str, message_id: str) -> None:
        self.chat_id = chat_id
        self.generation_id = generation_id
        self.message_id = message_id
        self.attempt = 0
        self.status: Literal["running", "retrying"] = "running"
        self.content = AttemptContent()
        self.model: str | None = None
        self.usage: Usage | None = None

    def start_attempt(self, claim: Claimed) -> None:
        """Apply a claim. One to stream starts without content; any other ends the answer with the content so far."""
        self.attempt = claim.attempt
        self.status = "running"
        if claim.verdict == "stream":
            self.content = AttemptContent()

    def snapshot(self) -> GenerationSnapshot:
        """Return the whole answer so far; later deltas have ``from`` > ``seq``."""
        return GenerationSnapshot(
            generation_id=self.generation_id,
            message_id=self.message_id,
            attempt=self.attempt,
            status=self.status,
            seq=self.content.seq,
            text=self.content.text,
            reasoning=self.content.reasoning,
            tool_calls=self.content.tool_calls,
            layout=self.content.layout,
        )

    def book(
        self,
        requested_tokens: int,
        written_tokens: int,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
    ) -> None:
        """Add the tokens of a request that the provider answered, here or to another worker.

        Args:
            requested_tokens: The estimated size of the context.
            written_tokens: The estimated size of what the model wrote.
            input_tokens, output_tokens: As the provider counted them. The estimates count where it did not.
        """
        before = self.usage or Usage(input_tokens=0, output_tokens=0)
        self.usage = Usage(
            input_tokens=before.input_tokens + (requested_tokens if input_tokens is None else input_tokens),
            output_tokens=before.output_tokens + (written_tokens if output_tokens is None else output_tokens),
            estimated=before.estimated or input_tokens is None or output_tokens is None,
        )
