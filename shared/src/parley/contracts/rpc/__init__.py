"""Requests and replies over core NATS, by resource.

``rpc.store.<VERB>`` is served by any chat-store, ``rpc.generation.<id>.snapshot`` by the worker that owns the
generation (NATS reports "no responders" at once when there is none), ``rpc.models.list`` by any llm-worker. A chat that
does not exist and a chat of somebody else are both ``not_found``.
"""

from collections.abc import Mapping
from typing import Any, Final

from parley.contracts.access import identity  # noqa: F401 (its requests are served by chat-store, too)
from parley.contracts.completion import ContextMessage
from parley.contracts.requests import Done, Request, RpcError, StoreRequest
from parley.contracts.rpc.administration import (
    EraseUser,
    FindApiKeys,
    KeyOfUser,
    KeyOfUserList,
    ListUsage,
    UsageOfUser,
    UsageOfUserList,
)
from parley.contracts.rpc.chats import (
    AccessReply,
    ChatList,
    ChatReply,
    CheckAccess,
    CreateChat,
    DeleteChat,
    GetChat,
    ListChats,
    UpdateChat,
)
from parley.contracts.rpc.generations import (
    Claim,
    Claimed,
    ClaimRefused,
    DecideToolCall,
    GenerationSnapshot,
    ListModels,
    ModelList,
    Release,
    SnapshotRequest,
    StopSignal,
    StoreToolRound,
    ToolDecided,
    ToolRoundStored,
)
from parley.contracts.rpc.limits import AdmitPrompt, Admitted, GetUsage, UsageReply
from parley.contracts.rpc.members import (
    AcceptInvitation,
    DeclineInvitation,
    DeleteMember,
    HandOver,
    InvitationList,
    ListInvitations,
    ListMembers,
    MemberList,
    MemberReply,
    PutMember,
)
from parley.contracts.rpc.messages import (
    CancelSearch,
    DeleteMessage,
    GetMessage,
    GetTurn,
    ListMessages,
    MessageList,
    MessageReply,
    Regenerate,
    Search,
    SearchHit,
    SearchReply,
    Stop,
    TurnReply,
)
from parley.contracts.rpc.rooms import Sync, SyncReply, Versions, VersionsReply
from parley.contracts.rpc.shares import (
    CreateShareLink,
    GetShared,
    ListShareLinks,
    RevokeShareLink,
    SharedMessage,
    SharedReply,
    ShareLink,
    ShareLinkList,
    ShareLinkReply,
)

__all__ = [
    "STORE_REQUESTS",
    "AcceptInvitation",
    "AccessReply",
    "AdmitPrompt",
    "Admitted",
    "CancelSearch",
    "ChatList",
    "ChatReply",
    "CheckAccess",
    "Claim",
    "ClaimRefused",
    "Claimed",
    "ContextMessage",
    "CreateChat",
    "CreateShareLink",
    "DecideToolCall",
    "DeclineInvitation",
    "DeleteChat",
    "DeleteMember",
    "DeleteMessage",
    "Done",
    "EraseUser",
    "FindApiKeys",
    "GenerationSnapshot",
    "GetChat",
    "GetMessage",
    "GetShared",
    "GetTurn",
    "GetUsage",
    "HandOver",
    "InvitationList",
    "KeyOfUser",
    "KeyOfUserList",
    "ListChats",
    "ListInvitations",
    "ListMembers",
    "ListMessages",
    "ListModels",
    "ListShareLinks",
    "ListUsage",
    "MemberList",
    "MemberReply",
    "MessageList",
    "MessageReply",
    "ModelList",
    "PutMember",
    "Regenerate",
    "Release",
    "Request",
    "RevokeShareLink",
    "RpcError",
    "Search",
    "SearchHit",
    "SearchReply",
    "ShareLink",
    "ShareLinkList",
    "ShareLinkReply",
    "SharedMessage",
    "SharedReply",
    "SnapshotRequest",
    "Stop",
    "StopSignal",
    "StoreRequest",
    "StoreToolRound",
    "Sync",
    "SyncReply",
    "ToolDecided",
    "ToolRoundStored",
    "TurnReply",
    "UpdateChat",
    "UsageOfUser",
    "UsageOfUserList",
    "UsageReply",
    "Versions",
    "VersionsReply",
]

STORE_REQUESTS: Final[Mapping[str, type[StoreRequest[Any]]]] = {
    request.VERB: request for request in StoreRequest.__subclasses__()
}
"""The requests to chat-store, by verb, those of :mod:`parley.contracts.access.identity` included."""
