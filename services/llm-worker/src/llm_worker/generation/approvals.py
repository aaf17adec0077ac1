"""The decisions of users on calls of tools that wait for them."""

import asyncio
from collections.abc import Mapping


class Approvals:
    """The decisions on the calls of one generation, whichever comes first: the call or the decision."""

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
        """Return whether a call is approved; None when nobody has decided in time."""
        done, _ = await asyncio.wait({self._decision(call_id)}, timeout=timeout)
        return self._decision(call_id).result() if done else None

    def _decision(self, call_id: str) -> asyncio.Future[bool]:
        if call_id not in self._decisions:
            self._decisions[call_id] = asyncio.get_running_loop().create_future()
        return self._decisions[call_id]
