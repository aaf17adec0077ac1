"""Requests and replies over core NATS. A reply is the named struct, or ``RpcError``.

``rpc.store.<VERB>`` is answered by any chat-store; ``rpc.generation.<id>.snapshot`` by the one worker that owns the
generation (nobody: NATS says "no responders" at once); ``rpc.models.list`` by any llm-worker. Requests that change
something are idempotent: the id in them makes a repeat harmless.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import msgspec

from parley.contracts.resources import (
    Chat,
    GenerationRef,
    Member,
    Message,
    Role,
    TokenUsage,
)


class RpcError(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """A request was refused.

    Attributes:
        code: ``not_found`` | ``forbidden`` | ``conflict`` | ``invalid`` | ``too_many`` | ``unavailable`` | ``internal``
        retry_after: Seconds after which to try again, when that can help.
    """

    code: str
    message: str
    retry_after: float | None = None


class _Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    pass


class Done(_Reply, frozen=True, kw_only=True, tag="done"):
    """The request was carried out (or had been before)."""


class ChatReply(_Reply, frozen=True, kw_only=True, tag="chat"):
    chat: Chat


class ChatList(_Reply, frozen=True, kw_only=True, tag="chat_list"):
    items: list[Chat]
    next: str | None


class MessageReply(_Reply, frozen=True, kw_only=True, tag="message"):
    message: Message


class MessageList(_Reply, frozen=True, kw_only=True, tag="message_list"):
    """Oldest first within the page; ``next`` leads to older ones."""

    items: list[Message]
    next: str | None


class SearchHit(msgspec.Struct, frozen=True, kw_only=True):
    """A message that matches, with an excerpt in plain text around the match."""

    chat_id: str
    chat_title: str | None
    message_id: str
    role: Literal["user", "assistant"]
    excerpt: str


class SearchReply(_Reply, frozen=True, kw_only=True, tag="search"):
    items: list[SearchHit]
    next: str | None


class UsageReply(_Reply, frozen=True, kw_only=True, tag="usage"):
    items: list[TokenUsage]


class MemberReply(_Reply, frozen=True, kw_only=True, tag="member"):
    member: Member


class MemberList(_Reply, frozen=True, kw_only=True, tag="member_list"):
    items: list[Member]


class AccessReply(_Reply, frozen=True, kw_only=True, tag="access"):
    role: Role


# --- rpc.store: asked by the gateway ------------------------------
# A chat that does not exist and a chat of somebody else are both ``not_found``.


class CheckAccess(msgspec.Struct, frozen=True, kw_only=True):
    """→ AccessReply. May this user read and write this chat?"""

    VERB: ClassVar = "check_access"
    user_id: str
    chat_id: str


class CreateChat(msgspec.Struct, frozen=True, kw_only=True):
    """→ ChatReply. The same ``chat_id`` of the same user again answers with the existing chat."""

    VERB: ClassVar = "create_chat"
    user_id: str
    chat_id: str
    title: str | None = None
    model: str | None = None
    system_prompt: str | None = None


class GetChat(msgspec.Struct, frozen=True, kw_only=True):
    """→ ChatReply."""

    VERB: ClassVar = "get_chat"
    user_id: str
    chat_id: str


class ListChats(msgspec.Struct, frozen=True, kw_only=True):
    """→ ChatList, the most recently updated first."""

    VERB: ClassVar = "list_chats"
    user_id: str
    before: str | None = None
    limit: int = 50


class UpdateChat(msgspec.Struct, frozen=True, kw_only=True):
    """→ ChatReply. Absent fields stay. ``tip_id`` chooses the branch that the chat goes on from."""

    VERB: ClassVar = "update_chat"
    user_id: str
    chat_id: str
    title: str | None | msgspec.UnsetType = msgspec.UNSET
    model: str | None | msgspec.UnsetType = msgspec.UNSET
    system_prompt: str | None | msgspec.UnsetType = msgspec.UNSET
    tip_id: str | msgspec.UnsetType = msgspec.UNSET


class DeleteChat(msgspec.Struct, frozen=True, kw_only=True):
    """→ Done. Owner only. A running answer is stopped; deleted again: Done."""

    VERB: ClassVar = "delete_chat"
    user_id: str
    chat_id: str


class ListMessages(msgspec.Struct, frozen=True, kw_only=True):
    """→ MessageList."""

    VERB: ClassVar = "list_messages"
    user_id: str
    chat_id: str
    before: str | None = None
    limit: int = 50


class GetMessage(msgspec.Struct, frozen=True, kw_only=True):
    """→ MessageReply. Of a prompt that was accepted and not stored, its author gets it as ``rejected``.

    What is accepted when this is asked is waited for.
    """

    VERB: ClassVar = "get_message"
    user_id: str
    chat_id: str
    message_id: str


class Regenerate(msgspec.Struct, frozen=True, kw_only=True):
    """→ MessageReply: a new answer beside ``message_id`` (an ended answer, or a prompt).

    ``conflict`` while an answer is active in the chat.

    ``answer_id`` names the new answer: the same one again changes nothing.
    """

    VERB: ClassVar = "regenerate"
    user_id: str
    chat_id: str
    message_id: str
    answer_id: str
    model: str | None = None


class DeleteMessage(msgspec.Struct, frozen=True, kw_only=True):
    """→ Done. A queued prompt only; ``conflict`` when it has started."""

    VERB: ClassVar = "delete_message"
    user_id: str
    chat_id: str
    message_id: str


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """→ Done. Stops the active generation; with none active, nothing happens. Queued prompts then start.

    It covers what is accepted when it is asked, stored or not.

    Attributes:
        message_id: Stop only this answer, or the first answer to this prompt; with another one active, nothing happens.
    """

    VERB: ClassVar = "stop"
    user_id: str
    chat_id: str
    message_id: str | None = None


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """→ SearchReply, the best match first. ``search_id`` is what ``ctl.search.<id>.cancel`` names."""

    VERB: ClassVar = "search"
    user_id: str
    query: str
    before: str | None = None
    limit: int = 20
    search_id: str | None = None


class GetUsage(msgspec.Struct, frozen=True, kw_only=True):
    """→ UsageReply: tokens of this user's answers, by model."""

    VERB: ClassVar = "usage"
    user_id: str


class ListMembers(msgspec.Struct, frozen=True, kw_only=True):
    """→ MemberList."""

    VERB: ClassVar = "list_members"
    user_id: str
    chat_id: str


class PutMember(msgspec.Struct, frozen=True, kw_only=True):
    """→ MemberReply. Owner only."""

    VERB: ClassVar = "put_member"
    user_id: str
    chat_id: str
    member_id: str


class DeleteMember(msgspec.Struct, frozen=True, kw_only=True):
    """→ Done. By the owner, or by the member who leaves; the owner stays."""

    VERB: ClassVar = "delete_member"
    user_id: str
    chat_id: str
    member_id: str


# --- rpc.store: asked by push ------------------------------


class Sync(msgspec.Struct, frozen=True, kw_only=True):
    """→ SyncReply. With ``after``, only the messages that changed since that version (when they fit a page)."""

    VERB: ClassVar = "sync"
    chat_id: str
    after: int | None = None


class SyncReply(_Reply, frozen=True, kw_only=True, tag="sync"):
    """The state of a chat for its room. The room, not chat-store, decides by ``members`` who may read.

    Attributes:
        recovered: True: ``messages`` changed since ``after``. False: the newest page.
        next: Where older messages go on; null at the beginning and when ``recovered``.
    """

    version: int
    recovered: bool
    chat: Chat
    members: list[str]
    messages: list[Message]
    generation: GenerationRef | None
    next: str | None = None


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """→ VersionsReply. Anti-entropy: (chat, version) pairs; the answer names those that moved."""

    VERB: ClassVar = "versions"
    chats: dict[str, int]


class VersionsReply(_Reply, frozen=True, kw_only=True, tag="versions"):
    """Chats whose version differs, with the current one; −1: the chat is gone."""

    moved: dict[str, int]


# --- rpc.store: asked by llm-worker ------------------------------


class ContextMessage(msgspec.Struct, frozen=True, kw_only=True):
    role: Literal["system", "user", "assistant"]
    content: str


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """→ Claimed | ClaimRefused. Raises ``attempt`` by one; the same ``claim_id`` again gets the same answer."""

    VERB: ClassVar = "claim"
    chat_id: str
    generation_id: str
    claim_id: str
    worker_id: str


class Claimed(_Reply, frozen=True, kw_only=True, tag="claimed"):
    """The generation is this worker's.

    Attributes:
        context: The branch from the root, system prompt first; cut from the oldest to fit a reply. Never holds an
            empty or unfinished answer.
        verdict: ``stream``: do it. ``stop_requested``: publish ``finished`` as stopped. ``exhausted``: attempts are
            used up; publish ``finished`` as failed with the text from SEGMENTS.
    """

    chat_id: str
    generation_id: str
    message_id: str
    attempt: int
    verdict: Literal["stream", "stop_requested", "exhausted"]
    model: str | None
    context: list[ContextMessage]


class ClaimRefused(_Reply, frozen=True, kw_only=True, tag="claim_refused"):
    """Already over (or never was): acknowledge the request and forget it."""


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """→ Done. The worker hands the generation back in good order: the attempt does not count as used."""

    VERB: ClassVar = "release"
    generation_id: str
    attempt: int


# --- rpc.generation.<id>.snapshot, ctl.generation.<id>.stop, ctl.search.<id>.cancel ------


class SnapshotRequest(msgspec.Struct, frozen=True, kw_only=True):
    """→ GenerationSnapshot.

    Attributes:
        brief: Without the text: whoever asks wants to know who makes the answer.
    """

    brief: bool = False


class GenerationSnapshot(_Reply, frozen=True, kw_only=True, tag="generation_snapshot"):
    """The answer so far, whole, from its worker. Every delta published later has ``from`` > ``seq``."""

    generation_id: str
    message_id: str
    attempt: int
    status: Literal["running", "retrying"]
    seq: int
    text: str
    reasoning: str


class StopSignal(msgspec.Struct, frozen=True, kw_only=True):
    """Close the provider connection now. Sent again each second until the generation is over."""


class CancelSearch(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody waits for this search any more; never answered."""


# --- rpc.models.list ------------------------------


class ListModels(msgspec.Struct, frozen=True, kw_only=True):
    """→ ModelList."""


class ModelList(_Reply, frozen=True, kw_only=True, tag="model_list"):
    """Models that the provider offers; ``default`` is used by a chat that names none."""

    items: list[str]
    default: str | None


STORE_REQUESTS: Final[Mapping[str, type[Any]]] = {
    request.VERB: request
    for request in (
        CheckAccess,
        CreateChat,
        GetChat,
        ListChats,
        UpdateChat,
        DeleteChat,
        ListMessages,
        GetMessage,
        Regenerate,
        DeleteMessage,
        Stop,
        Search,
        GetUsage,
        ListMembers,
        PutMember,
        DeleteMember,
        Sync,
        Versions,
        Claim,
        Release,
    )
}
"""What chat-store is asked, by verb."""
