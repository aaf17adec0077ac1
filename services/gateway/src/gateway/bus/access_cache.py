"""A cache of who may use which chat, so that a short outage of chat-store does not stop people. No I/O."""

from enum import Enum
from typing import Any, Final

from parley.contracts import rpc

FRESH_SECONDS = 60.0
"""How long a positive reply is used without asking again."""

STALE_SECONDS = 3600.0
"""How long it is used while chat-store cannot be asked. Safe: chat-store drops what a former member sends."""

_PROVES_ACCESS: Final = (
    rpc.CheckAccess,
    rpc.CreateChat,
    rpc.GetChat,
    rpc.UpdateChat,
    rpc.ListMessages,
    rpc.Regenerate,
    rpc.DeleteMessage,
    rpc.Stop,
    rpc.ListMembers,
)
"""Requests that succeed only for a member. GetMessage does not: a rejected prompt is shown to its author anyway."""


class Freshness(Enum):
    MISSING = 0
    FRESH = 1
    STALE = 2


class AccessCache:
    """Positive replies by (user, chat); a negative one is not cached, or a new chat could stay unknown."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._since: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def record_success(self, request: Any, now: float) -> None:
        """Update the cache with what the success of ``request`` proves."""
        match request:
            case rpc.DeleteChat():
                self.evict(request.user_id, request.chat_id)
            case rpc.DeleteMember():
                self.evict(request.member_id, request.chat_id)
            case _ if isinstance(request, _PROVES_ACCESS):
                self.add(request.user_id, request.chat_id, now)

    def record_not_found(self, request: Any) -> None:
        """Update the cache after ``request`` was refused as not found.

        That may be a message and not the chat; then the next send asks once more.
        """
        if isinstance(request, _PROVES_ACCESS):
            self.evict(request.user_id, request.chat_id)

    def add(self, user_id: str, chat_id: str, now: float) -> None:
        key = (user_id, chat_id)
        # Added anew, it moves to the end: the first key is always the one confirmed longest ago.
        self._since.pop(key, None)
        self._since[key] = now
        if len(self._since) > self._capacity:
            del self._since[next(iter(self._since))]

    def evict(self, user_id: str, chat_id: str) -> None:
        self._since.pop((user_id, chat_id), None)

    def lookup(self, user_id: str, chat_id: str, now: float) -> Freshness:
        since = self._since.get((user_id, chat_id))
        if since is None:
            return Freshness.MISSING
        age = now - since
        if age < FRESH_SECONDS:
            return Freshness.FRESH
        if age < STALE_SECONDS:
            return Freshness.STALE
        self.evict(user_id, chat_id)
        return Freshness.MISSING
