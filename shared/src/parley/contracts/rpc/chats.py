"""Requests about chats."""

from typing import ClassVar

import msgspec

from parley.contracts.access.policy import ChatAction
from parley.contracts.requests import Done, ReplyBase, StoreRequest
from parley.contracts.resources import Chat, Role


class ChatReply(ReplyBase, frozen=True, kw_only=True, tag="chat"):
    chat: Chat


class ChatList(ReplyBase, frozen=True, kw_only=True, tag="chat_list"):
    items: list[Chat]
    next: str | None


class AccessReply(ReplyBase, frozen=True, kw_only=True, tag="access"):
    role: Role


class CheckAccess(StoreRequest[AccessReply], frozen=True, kw_only=True):
    """May this user do this in this chat? ``not_found`` when not even read, else ``forbidden`` when not."""

    VERB: ClassVar = "check_access"
    user_id: str
    chat_id: str
    action: ChatAction = "read"


class CreateChat(StoreRequest[ChatReply], frozen=True, kw_only=True):
    """Create a chat. The same ``chat_id`` of the same user again returns the existing chat."""

    VERB: ClassVar = "create_chat"
    user_id: str
    chat_id: str
    title: str | None = None
    model: str | None = None
    system_prompt: str | None = None


class GetChat(StoreRequest[ChatReply], frozen=True, kw_only=True):
    """Read one chat."""

    VERB: ClassVar = "get_chat"
    user_id: str
    chat_id: str


class ListChats(StoreRequest[ChatList], frozen=True, kw_only=True):
    """List the chats of a user, the most recently updated first."""

    VERB: ClassVar = "list_chats"
    user_id: str
    before: str | None = None
    limit: int = 50


class UpdateChat(StoreRequest[ChatReply], frozen=True, kw_only=True):
    """Change a chat; absent fields stay. ``tip_id`` chooses the branch that the chat goes on from."""

    VERB: ClassVar = "update_chat"
    user_id: str
    chat_id: str
    title: str | None | msgspec.UnsetType = msgspec.UNSET
    model: str | None | msgspec.UnsetType = msgspec.UNSET
    system_prompt: str | None | msgspec.UnsetType = msgspec.UNSET
    tip_id: str | msgspec.UnsetType = msgspec.UNSET


class DeleteChat(StoreRequest[Done], frozen=True, kw_only=True):
    """Delete a chat; owner only. A running answer is stopped; deleted again: Done."""

    VERB: ClassVar = "delete_chat"
    user_id: str
    chat_id: str
