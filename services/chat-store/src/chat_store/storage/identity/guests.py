"""Merging a guest into the existing user as whom the guest signs in.

Within the transaction of the sign-in. Each chat is locked, in the order of the ids as changes to chats do, and gets a
new version and revision, so that a change under way is decided anew and readers ask for what they have again.
"""

from typing import Final

import msgspec

from chat_store.storage import chats, generations, members
from chat_store.storage.rows import Connection
from parley.contracts.resources import Chat, GenerationRef, Role


class MovedChat(msgspec.Struct, frozen=True, kw_only=True):
    """A chat whose owner, members or authors changed.

    Attributes:
        chat: After the change; its version is one higher than before.
        members: The members after the change, each with the role.
    """

    chat: Chat
    generation: GenerationRef | None
    members: dict[str, Role]


LOCK_GUEST: Final = "SELECT FROM users WHERE id = $1 AND issuer IS NULL AND NOT disabled FOR UPDATE"

# Chats that the guest is a member of, or was when there was an answer.
LOCK_CHATS: Final = """
SELECT id::text FROM chats
WHERE id IN (SELECT chat_id FROM members WHERE user_id = $1 UNION SELECT chat_id FROM usage WHERE user_id = $1)
ORDER BY id FOR UPDATE
"""

# $1: the guest, $2: the user, $3: the chats. Of two memberships of one chat the greater role stays.
_ROLE_ORDER: Final = "array_position(ARRAY['owner', 'writer', 'member', 'reader'], {}.role)"
MOVE_IN_CHATS: Final = (
    f"""
    DELETE FROM members lesser USING members greater
    WHERE lesser.chat_id = ANY($3::uuid[]) AND greater.chat_id = lesser.chat_id
    AND lesser.user_id IN ($1, $2) AND greater.user_id IN ($1, $2) AND lesser.user_id <> greater.user_id
    AND ({_ROLE_ORDER.format("lesser")}, lesser.user_id = $2) > ({_ROLE_ORDER.format("greater")}, greater.user_id = $2)
    """,
    "UPDATE members SET user_id = $2 WHERE chat_id = ANY($3::uuid[]) AND user_id = $1",
    """
    UPDATE chats SET owner_id = CASE owner_id WHEN $1 THEN $2 ELSE owner_id END,
        version = version + 1, revision = revision + 1
    WHERE id = ANY($3::uuid[])
    """,
    """
    UPDATE messages SET author_id = $2, version = chats.version FROM chats
    WHERE chats.id = ANY($3::uuid[]) AND messages.chat_id = chats.id AND messages.author_id = $1
    """,
    "UPDATE invitations SET invited_by = $2 WHERE chat_id = ANY($3::uuid[]) AND invited_by = $1",
    "UPDATE generations SET user_id = $2 WHERE chat_id = ANY($3::uuid[]) AND user_id = $1",
    """
    INSERT INTO rejected_prompts SELECT chat_id, message_id, $2, code, rejected_at FROM rejected_prompts
    WHERE chat_id = ANY($3::uuid[]) AND user_id = $1 ON CONFLICT DO NOTHING
    """,
)
MOVE_INVITATIONS: Final = (
    """
    UPDATE invitations i SET user_id = $2 WHERE i.user_id = $1
    AND NOT EXISTS (SELECT FROM invitations WHERE chat_id = i.chat_id AND user_id = $2)
    """,
    """
    DELETE FROM invitations i WHERE i.user_id IN ($1, $2)
    AND (i.user_id = $1 OR EXISTS (SELECT FROM members WHERE chat_id = i.chat_id AND user_id = $2))
    """,
)
MOVE_USAGE: Final = "UPDATE usage SET user_id = $2 WHERE user_id = $1"

REMOVE_GUEST: Final = "DELETE FROM users WHERE id = $1"


async def merge(connection: Connection, guest_id: str, user_id: str) -> list[MovedChat] | None:
    """Transfer everything of a guest to a user and delete the guest.

    Returns:
        The chats that changed; None: there is no such guest.
    """
    if guest_id == user_id or await connection.fetchrow(LOCK_GUEST, guest_id) is None:
        return None
    chat_ids = [row[0] for row in await connection.fetch(LOCK_CHATS, guest_id)]
    for statement in MOVE_IN_CHATS:
        await connection.execute(statement, guest_id, user_id, chat_ids)
    for statement in MOVE_INVITATIONS:
        await connection.execute(statement, guest_id, user_id)
    await connection.execute(MOVE_USAGE, guest_id, user_id)
    await connection.execute(REMOVE_GUEST, guest_id)
    return [
        MovedChat(
            chat=chat,
            generation=await generations.get_active(connection, chat_id),
            members=await members.roles(connection, chat_id),
        )
        for chat_id in chat_ids
        if (chat := await chats.get_chat(connection, chat_id)) is not None
    ]
