"""Users as chat-store has them, for tests without it."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from parley.contracts.access.identity import User

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def guest(user_id: str, **changes: Any) -> User:
    """Return a guest; ``changes``: other values of the user's members."""
    user = User(
        id=user_id,
        issuer=None,
        subject=None,
        email=None,
        name=None,
        role="user",
        groups=[],
        disabled=False,
        created_at=_NOW,
        last_seen_at=_NOW,
    )
    return msgspec.structs.replace(user, **changes)
