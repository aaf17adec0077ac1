"""A cache of who may use which chat, so that a short outage of chat-store does not stop people. No I/O."""

from enum import Enum
from typing import Any, Final, Literal

from parley.contracts import rpc

FRESH_SECONDS = 60.0
"""How long a positive reply is used without asking again."""

STALE_SECONDS = 3600.0
"""How long it is used while chat-store cannot be asked. Safe: chat-store drops what a former member sends."""

Access = Literal["read", "write"]

_PROVES_WRITING: Final = (rpc.CreateChat, rpc.UpdateChat, rpc.Regenerate, rpc.DeleteMessage, rpc.Stop)
"""Requests that succeed only for a member who may write."""

_PROVES_READING: Final = (rpc.GetChat, rpc.ListMessages, rpc.ListMembers)
"""Requests that succeed for every member. GetMessage does not: a rejected prompt is shown to its author anyway."""


_GRANTS: Final[dict[Access, tuple[Access, ...]]] = {"read": ("read",), "write": ("write", "read")}


class Freshness(Enum):
    MISSING = 0
    FRESH = 1
    STALE = 2


class AccessCache:
    """Positive replies by (user, chat), for reading and for writing.

    A negative one is not cached, or a new chat could stay unknown.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._since: dict[tuple[str, str, Access], float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def record_success(self, request: Any, now: float) -> None:
        """Update the cache with what the success of ``request`` proves."""
        match request:
            case rpc.DeleteChat():
                self.evict(request.user_id, request.chat_id)
            case rpc.DeleteMember() | rpc.PutMember():
                self.evict(request.member_id, request.chat_id)
            case rpc.CheckAccess():
                self.add(request.user_id, request.chat_id, now, "read" if request.action == "read" else "write")
            case _ if isinstance(request, _PROVES_WRITING):
                self.add(request.user_id, request.chat_id, now, "write")
            case _ if isinstance(request, _PROVES_READING):
                self.add(request.user_id, request.chat_id, now, "read")

    def record_refusal(self, request: Any) -> None:
        """Update the cache after ``request`` was refused as not found or forbidden.

        That may be for a message and not the chat; then the next send asks once more.
        """
        if isinstance(request, (rpc.CheckAccess, *_PROVES_WRITING, *_PROVES_READING)):
            self.evict(request.user_id, request.chat_id)

    def add(self, user_id: str, chat_id: str, now: float, access: Access) -> None:
        """Cache that the user may do this in the chat; who may write may read."""
        for granted in _GRANTS[access]:
            key = (user_id, chat_id, granted)
            # Added anew, it moves to the end: the first key is always the one confirmed longest ago.
            self._since.pop(key, None)
            self._since[key] = now
            if len(self._since) > self._capacity:
                del self._since[next(iter(self._since))]

    def evict(self, user_id: str, chat_id: str) -> None:
        for access in _GRANTS["write"]:
            self._since.pop((user_id, chat_id, access), None)

    def lookup(self, user_id: str, chat_id: str, now: float, access: Access) -> Freshness:
        since = self._since.get((user_id, chat_id, access))
        if since is None:
            return Freshness.MISSING
        age = now - since
        if age < FRESH_SECONDS:
            return Freshness.FRESH
        if age < STALE_SECONDS:
            return Freshness.STALE
        self.evict(user_id, chat_id)
        return Freshness.MISSING
