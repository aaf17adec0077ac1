"""The gateway's refusal of prompts that are over a limit of their user or chat (docs/decisions/0055)."""

import time
from typing import Final

from gateway.bus.store_client import StoreClient
from gateway.errors import Unavailable
from gateway.metrics import UNCHECKED_PROMPTS
from parley.contracts import rpc
from parley.contracts.completion import prompt_bytes
from parley.contracts.events import PromptSubmitted

_UNLIMITED_SECONDS: Final = 60.0
"""How long nothing is asked after a reply that no limit is set."""
_TIMEOUT: Final = 0.5


class Admission:
    """Asks chat-store, which alone counts, whether a prompt may be published."""

    def __init__(self, store: StoreClient) -> None:
        self._store = store
        self._unlimited_until = 0.0

    async def admit(self, prompt: PromptSubmitted) -> None:
        """Return when the prompt may be published.

        While chat-store cannot be asked every prompt may: chat-store decides when it stores the prompt, and a refused
        one ends as ``rejected``.

        Raises:
            TooMany: a limit is reached; ``code`` names it.
            Forbidden: the user may not use the model.
        """
        if time.monotonic() < self._unlimited_until:
            return
        request = rpc.AdmitPrompt(
            user_id=prompt.user_id,
            chat_id=prompt.chat_id,
            message_id=prompt.message_id,
            bytes=prompt_bytes(prompt.content, prompt.completion),
            model=prompt.model,
        )
        try:
            admitted = await self._store.ask_once(request, timeout=_TIMEOUT)
        except Unavailable:
            UNCHECKED_PROMPTS.inc()
            return
        if not admitted.limited:
            self._unlimited_until = time.monotonic() + _UNLIMITED_SECONDS
