"""Requests about users for administrators, and about the erasure of a user."""

from typing import ClassVar

from parley.contracts.requests import Done, StoreRequest


class EraseUser(StoreRequest[Done], frozen=True, kw_only=True):
    """Erase a user: at once who it was, the sessions and the keys; soon after the chats and messages. Again: Done.

    Attributes:
        actor_id: Who asks for it: the user, an administrator, or ``operator``.
    """

    VERB: ClassVar = "erase_user"
    user_id: str
    actor_id: str
