"""Members of chats."""

from typing import Final

from chat_store.domain.records import MemberRecord
from chat_store.storage.rows import MEMBER_RECORD, MEMBER_ROLE, Connection, decode_rows
from parley.contracts.resources import Role

ROLE_OF: Final = f"SELECT {MEMBER_ROLE} FROM members WHERE chat_id = $1 AND user_id = $2"


async def role_of(connection: Connection, chat_id: str, user_id: str) -> Role | None:
    role: Role | None = await connection.fetchval(ROLE_OF, chat_id, user_id)
    return role


LIST_MEMBERS: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {MEMBER_RECORD} FROM members
    WHERE chat_id = $1 ORDER BY role <> 'owner', added_at, user_id
) r
"""


async def list_members(connection: Connection, chat_id: str) -> list[MemberRecord]:
    return decode_rows(await connection.fetch(LIST_MEMBERS, chat_id), MemberRecord)


MEMBER_IDS: Final = "SELECT user_id FROM members WHERE chat_id = $1"


async def member_ids(connection: Connection, chat_id: str) -> list[str]:
    return [row[0] for row in await connection.fetch(MEMBER_IDS, chat_id)]


ROLES: Final = f"SELECT user_id, {MEMBER_ROLE} FROM members WHERE chat_id = $1"


async def roles(connection: Connection, chat_id: str) -> dict[str, Role]:
    """The members of a chat, each with the role."""
    return {row[0]: row[1] for row in await connection.fetch(ROLES, chat_id)}
