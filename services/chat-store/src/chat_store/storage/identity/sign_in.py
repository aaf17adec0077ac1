"""Sign-in of external users: an existing one, the guest who signs in, or a new one."""

from datetime import datetime

from chat_store.storage.identity import users
from chat_store.storage.identity.sessions import EXTEND_AFTER
from chat_store.storage.rows import Connection
from parley.contracts.access.identity import External, User


async def find_external(
    connection: Connection, external: External, *, new_user_id: str, guest_id: str | None = None, now: datetime
) -> User:
    """Return the external user with the provider's profile.

    Args:
        guest_id: The guest who signs in and becomes the external user when there is none yet.

    Raises:
        asyncpg.UniqueViolationError: the user has been created meanwhile; the transaction can be repeated.
    """
    found = await users.find_external(connection, external.issuer, external.subject)
    if found is not None:
        if _is_current(found, external, now):
            return found
        await users.update_external(connection, external, now=now)
    elif guest_id is None or not await users.identify_guest(connection, guest_id, external, now=now):
        await users.create_external(connection, new_user_id, external, now=now)
    stored = await users.find_external(connection, external.issuer, external.subject)
    if stored is None:
        raise AssertionError("an external user is not there after it was stored")
    return stored


def _is_current(user: User, external: External, now: datetime) -> bool:
    """Return whether nothing has to be written: the user was seen just now and has the same profile."""
    return (
        now - user.last_seen_at < EXTEND_AFTER
        and external.email in (None, user.email)
        and external.name in (None, user.name)
        and external.role in (None, user.role)
        and list(external.groups) == user.groups
    )
