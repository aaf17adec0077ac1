"""Requests and replies over core NATS. A request names its reply type; every reply may be ``RpcError`` instead.

``rpc.store.<VERB>`` is served by any chat-store, ``rpc.generation.<id>.snapshot`` by the worker that owns the
generation (NATS reports "no responders" at once when there is none), ``rpc.models.list`` by any llm-worker. Requests
that change something are idempotent by the id in them.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar, get_args

import msgspec

from parley.contracts import subjects
from parley.contracts.resources import (
    Chat,
    GenerationRef,
    Member,
    Message,
    Role,
    TokenUsage,
)

Reply = TypeVar("Reply")


class RpcError(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """A request was refused.

    Attributes:
        code: ``not_found`` | ``forbidden`` | ``conflict`` | ``invalid`` | ``too_many`` | ``unavailable`` | ``internal``
        retry_after: Seconds after which to try again, when that can help.
    """

    code: str
    message: str
    retry_after: float | None = None


class Request(msgspec.Struct, Generic[Reply], frozen=True, kw_only=True):
    """A request over core NATS, and the type of its reply."""

    @classmethod
    def subject(cls) -> str:
        """Return the subject that the request is sent to.

        Raises:
            TypeError: the subject names the recipient, so the sender builds it.
        """
        raise TypeError(f"the subject of {cls.__name__} depends on its recipient")

    @classmethod
    def reply_type(cls) -> Any:
        """Return the type, or union of types, of a reply that is no :class:`RpcError`."""
        (base,) = cls.__orig_bases__  # type: ignore[attr-defined]
        return get_args(base)[0]


class StoreRequest(Request[Reply], Generic[Reply], frozen=True, kw_only=True):
    """A request to chat-store."""

    VERB: ClassVar[str]

    @classmethod
    def subject(cls) -> str:
        return subjects.rpc_store(cls.VERB)


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


# --- rpc.store: requests of the gateway ------------------------------
# A chat that does not exist and a chat of somebody else are both ``not_found``.


class CheckAccess(StoreRequest[AccessReply], frozen=True, kw_only=True):
    """May this user read and write this chat?"""

    VERB: ClassVar = "check_access"
    user_id: str
    chat_id: str


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


class ListMessages(StoreRequest[MessageList], frozen=True, kw_only=True):
    """List the messages of a chat; the newest page first, oldest first within it."""

    VERB: ClassVar = "list_messages"
    user_id: str
    chat_id: str
    before: str | None = None
    limit: int = 50


class GetMessage(StoreRequest[MessageReply], frozen=True, kw_only=True):
    """Read one message. The author of a prompt that was accepted and not stored gets it as ``rejected``.

    The reply covers every prompt that was accepted before the request.
    """

    VERB: ClassVar = "get_message"
    user_id: str
    chat_id: str
    message_id: str


class Regenerate(StoreRequest[MessageReply], frozen=True, kw_only=True):
    """Create a new answer beside ``message_id`` (an ended answer), or to it (a prompt).

    ``conflict`` while an answer is active in the chat.

    ``answer_id`` names the new answer: the same one again changes nothing.
    """

    VERB: ClassVar = "regenerate"
    user_id: str
    chat_id: str
    message_id: str
    answer_id: str
    model: str | None = None


class DeleteMessage(StoreRequest[Done], frozen=True, kw_only=True):
    """Delete a queued prompt; ``conflict`` when it has started."""

    VERB: ClassVar = "delete_message"
    user_id: str
    chat_id: str
    message_id: str


class Stop(StoreRequest[Done], frozen=True, kw_only=True):
    """Stop the active generation; with none active, nothing happens. Queued prompts then start.

    It covers every prompt that was accepted before the request, stored or not.

    Attributes:
        message_id: Stop only this answer, or the first answer to this prompt; with another one active, nothing happens.
    """

    VERB: ClassVar = "stop"
    user_id: str
    chat_id: str
    message_id: str | None = None


class Search(StoreRequest[SearchReply], frozen=True, kw_only=True):
    """Search the messages of a user's chats, the best match first; ``ctl.search.<search_id>.cancel`` cancels it."""

    VERB: ClassVar = "search"
    user_id: str
    query: str
    before: str | None = None
    limit: int = 20
    search_id: str | None = None


class GetUsage(StoreRequest[UsageReply], frozen=True, kw_only=True):
    """Sum the tokens of this user's answers, by model."""

    VERB: ClassVar = "usage"
    user_id: str


class ListMembers(StoreRequest[MemberList], frozen=True, kw_only=True):
    """List the members of a chat."""

    VERB: ClassVar = "list_members"
    user_id: str
    chat_id: str


class PutMember(StoreRequest[MemberReply], frozen=True, kw_only=True):
    """Add a member; owner only."""

    VERB: ClassVar = "put_member"
    user_id: str
    chat_id: str
    member_id: str


class DeleteMember(StoreRequest[Done], frozen=True, kw_only=True):
    """Remove a member: by the owner, or by the member itself. The owner cannot be removed."""

    VERB: ClassVar = "delete_member"
    user_id: str
    chat_id: str
    member_id: str


# --- rpc.store: requests of push ------------------------------


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


class Sync(StoreRequest[SyncReply], frozen=True, kw_only=True):
    """Read the state of a chat. With ``after``, only the messages changed since that version, if they fit a page."""

    VERB: ClassVar = "sync"
    chat_id: str
    after: int | None = None


class VersionsReply(_Reply, frozen=True, kw_only=True, tag="versions"):
    """Chats whose version differs, with the current one; −1: the chat is gone."""

    moved: dict[str, int]


class Versions(StoreRequest[VersionsReply], frozen=True, kw_only=True):
    """Anti-entropy: compare (chat, version) pairs; the reply names those that changed."""

    VERB: ClassVar = "versions"
    chats: dict[str, int]


# --- rpc.store: requests of llm-worker ------------------------------


class ContextMessage(msgspec.Struct, frozen=True, kw_only=True):
    role: Literal["system", "user", "assistant"]
    content: str


class Claimed(_Reply, frozen=True, kw_only=True, tag="claimed"):
    """The generation belongs to this worker.

    Attributes:
        context: The branch from the root, system prompt first; cut from the oldest to fit a reply. Never contains
            an empty or unfinished answer.
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
    """The generation has ended or never existed: acknowledge the message and drop it."""


class Claim(StoreRequest[Claimed | ClaimRefused], frozen=True, kw_only=True):
    """Claim a generation: raises ``attempt`` by one. The same ``claim_id`` again gets the same reply."""

    VERB: ClassVar = "claim"
    chat_id: str
    generation_id: str
    claim_id: str
    worker_id: str


class Release(StoreRequest[Done], frozen=True, kw_only=True):
    """Release a claimed generation in a graceful shutdown: the attempt does not count as used."""

    VERB: ClassVar = "release"
    generation_id: str
    attempt: int


# --- rpc.generation.<id>.snapshot, ctl.generation.<id>.stop, ctl.search.<id>.cancel ------


class GenerationSnapshot(_Reply, frozen=True, kw_only=True, tag="generation_snapshot"):
    """The whole answer so far, from its worker. Every delta published later has ``from`` > ``seq``."""

    generation_id: str
    message_id: str
    attempt: int
    status: Literal["running", "retrying"]
    seq: int
    text: str
    reasoning: str


class SnapshotRequest(Request[GenerationSnapshot], frozen=True, kw_only=True):
    """Read the answer so far of a running generation; its subject names the generation.

    Attributes:
        brief: Without the text, to find out only whether a worker owns the generation.
    """

    brief: bool = False


class StopSignal(msgspec.Struct, frozen=True, kw_only=True):
    """Close the provider connection now. Sent again each second until the generation is over."""


class CancelSearch(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel a search whose caller has given up; there is no reply."""


# --- rpc.models.list ------------------------------


class ModelList(_Reply, frozen=True, kw_only=True, tag="model_list"):
    """Models that the provider offers; ``default`` is used by a chat that names none."""

    items: list[str]
    default: str | None


class ListModels(Request[ModelList], frozen=True, kw_only=True):
    """List the models that the provider offers."""

    @classmethod
    def subject(cls) -> str:
        return subjects.RPC_MODELS_LIST


STORE_REQUESTS: Final[Mapping[str, type[StoreRequest[Any]]]] = {
    request.VERB: request for request in StoreRequest.__subclasses__()
}
"""The requests to chat-store, by verb."""
