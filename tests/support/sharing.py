"""Sharing a chat between clients."""

from parley.contracts.resources import Role
from parley_client import ParleyClient


async def join(chat_id: str, owner: ParleyClient, member: ParleyClient, role: Role = "writer") -> None:
    """Have the owner of a chat invite another user, who accepts."""
    await member.api.ensure_session()
    assert member.api.user_id is not None
    await owner.api.put_member(chat_id, member.api.user_id, role)
    await member.api.accept_invitation(chat_id)
