"""Decisions of users about tool calls that wait for approval."""

import asyncio
from collections.abc import Mapping


class Approvals:
    """The decisions about the calls of one generation. A decision may arrive before its call waits for it."""

    def __init__(self) -> None:
        self._decisions: dict[str, asyncio.Future[bool]] = {}

    def decide(self, call_id: str, *, approved: bool) -> None:
        """Decide on a call. Repeated: no effect."""
        decision = self._decision(call_id)
        if not decision.done():
            decision.set_result(approved)

    def decide_all(self, decisions: Mapping[str, bool]) -> None:
        """Decide on calls by their ids."""
        for call_id, approved in decisions.items():
            self.decide(call_id, approved=approved)

    async def wait(self, call_id: str, *, timeout: float) -> bool | None:
        """Return whether a call is approved; None: there was no decision before the timeout."""
        done, _ = await asyncio.wait({self._decision(call_id)}, timeout=timeout)
        return self._decision(call_id).result() if done else None

    def _decision(self, call_id: str) -> asyncio.Future[bool]:
        if call_id not in self._decisions:
            self._decisions[call_id] = asyncio.get_running_loop().create_future()
        return self._decisions[call_id]
