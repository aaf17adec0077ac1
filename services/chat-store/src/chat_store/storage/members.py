"""Members of chats, and invitations."""

from typing import Final

from chat_store.storage.rows import MEMBER_ROLE, Connection, fetch_all
from parley.contracts.resources import Invitation, Member, Role

ROLE_OF: Final = f"SELECT {MEMBER_ROLE} FROM members WHERE chat_id = $1 AND user_id = $2"


async def role_of(connection: Connection, chat_id: str, user_id: str) -> Role | None:
    role: Role | None = await connection.fetchval(ROLE_OF, chat_id, user_id)
    return role


ROLE_OF_ENABLED: Final = f"{ROLE_OF} AND NOT EXISTS (SELECT FROM users WHERE id = $2 AND disabled)"


async def role_of_enabled(connection: Connection, chat_id: str, user_id: str) -> Role | None:
    """Return the role of a member; None: no member, or disabled."""
    role: Role | None = await connection.fetchval(ROLE_OF_ENABLED, chat_id, user_id)
    return role


# Members first, beginning with the owner, then invited users.
LIST_MEMBERS: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT found.user_id, found.role, found.added_at, found.status, users.name FROM (
        SELECT user_id, {MEMBER_ROLE}, added_at, 'member' AS status FROM members WHERE chat_id = $1
        UNION ALL
        SELECT user_id, role, created_at, 'invited' FROM invitations WHERE chat_id = $1
    ) found LEFT JOIN users ON users.id = found.user_id
    ORDER BY found.status = 'invited', found.role <> 'owner', found.added_at, found.user_id
) r
"""


async def list_members(connection: Connection, chat_id: str) -> list[Member]:
    """Return the members of a chat and the users who are invited to it."""
    return await fetch_all(connection, Member, LIST_MEMBERS, chat_id)


LIST_INVITATIONS: Final = """
SELECT row_to_json(r) FROM (
    SELECT i.chat_id, c.title, i.role, i.invited_by, u.name AS invited_by_name, i.created_at
    FROM invitations i JOIN chats c ON c.id = i.chat_id LEFT JOIN users u ON u.id = i.invited_by
    WHERE i.user_id = $1 ORDER BY i.created_at DESC, i.chat_id LIMIT $2
) r
"""


async def list_invitations(connection: Connection, user_id: str, *, limit: int) -> list[Invitation]:
    """Return the newest invitations of a user."""
    return await fetch_all(connection, Invitation, LIST_INVITATIONS, user_id, limit)


ROLES: Final = f"SELECT user_id, {MEMBER_ROLE} FROM members WHERE chat_id = $1"


async def roles(connection: Connection, chat_id: str) -> dict[str, Role]:
    """Return the members of a chat with their roles."""
    return {row[0]: row[1] for row in await connection.fetch(ROLES, chat_id)}
