"""What we remember of who may use which chat, so that a short outage of chat-store does not stop people. No I/O."""

from enum import Enum

FRESH_SECONDS = 60.0
"""How long a positive answer is used without asking again."""

STALE_SECONDS = 3600.0
"""How long it is used when chat-store cannot be asked. No harm: chat-store drops what a former member sends."""


class Known(Enum):
    NO = 0
    FRESH = 1
    STALE = 2


class AccessMemory:
    """Positive answers by (user, chat); a negative one is never kept, or a new chat could stay unknown."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._since: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def remember(self, user_id: str, chat_id: str, now: float) -> None:
        key = (user_id, chat_id)
        # Put in again, it moves to the end: the first key is always the one confirmed longest ago.
        self._since.pop(key, None)
        self._since[key] = now
        if len(self._since) > self._capacity:
            del self._since[next(iter(self._since))]

    def forget(self, user_id: str, chat_id: str) -> None:
        self._since.pop((user_id, chat_id), None)

    def lookup(self, user_id: str, chat_id: str, now: float) -> Known:
        since = self._since.get((user_id, chat_id))
        if since is None:
            return Known.NO
        age = now - since
        if age < FRESH_SECONDS:
            return Known.FRESH
        if age < STALE_SECONDS:
            return Known.STALE
        self.forget(user_id, chat_id)
        return Known.NO
