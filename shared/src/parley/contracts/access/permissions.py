"""The bus's users and their permissions: the only source for the embedded stack, compose and Kubernetes.

Nothing is allowed that is not listed. Each user has reply inboxes of its own (:func:`inbox_prefix`), so that
none reads the replies to another; a user that handles requests may only reply to their senders (``replies``).
:mod:`parley.runtime.nats.authorization` turns this into nats-server's configuration.
"""

from dataclasses import dataclass
from typing import Final

from parley.contracts import rpc, streams, subjects
from parley.contracts.access import identity
from parley.contracts.streams import ConsumerSpec, StreamSpec


@dataclass(frozen=True, kw_only=True)
class UserPermissions:
    """What one user of the bus may do.

    Attributes:
        user: Also the name in ``NATS_URL``.
        publish: Subjects it may publish to, requests included.
        subscribe: Subjects it may subscribe to, besides its own inbox.
        replies: Whether it answers requests.
    """

    user: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...] = ()
    replies: bool = False

    @property
    def password_variable(self) -> str:
        """The environment variable that the rendered configuration takes its password from."""
        return f"{self.user.upper().replace('-', '_')}_NATS_PASSWORD"

    @property
    def all_subscribe(self) -> tuple[str, ...]:
        """``subscribe`` and the user's own inbox."""
        return (*self.subscribe, f"{inbox_prefix(self.user)}.>")


def inbox_prefix(user: str) -> str:
    """Where the replies to this user arrive."""
    return f"_INBOX.{user}"


def _template(name: str) -> str:
    """The subject of a template with all its placeholders open."""
    return ".".join("*" if token.startswith("{") else token for token in subjects.TEMPLATES[name].split("."))


def _store(*requests: type) -> tuple[str, ...]:
    return tuple(subjects.rpc_store(request.VERB) for request in requests)  # type: ignore[attr-defined]


def _look_at(*declared: StreamSpec) -> tuple[str, ...]:
    return tuple(f"$JS.API.STREAM.INFO.{stream.name}" for stream in declared)


def _consume(*consumers: ConsumerSpec) -> tuple[str, ...]:
    """Bind to durable consumers, take their messages, acknowledge them, and dead-letter what cannot be processed."""
    return tuple(
        subject
        for consumer in consumers
        for subject in (
            f"$JS.API.CONSUMER.INFO.{consumer.stream}.{consumer.name}",
            f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.name}",
            f"$JS.ACK.{consumer.stream}.{consumer.name}.>",
            subjects.dead_letter(consumer.name, "*"),
        )
    )


GATEWAY: Final = UserPermissions(
    user="gateway",
    publish=(
        subjects.ANY_PROMPT_SUBMITTED,
        *_store(
            rpc.CheckAccess,
            rpc.CreateChat,
            rpc.GetChat,
            rpc.ListChats,
            rpc.UpdateChat,
            rpc.DeleteChat,
            rpc.ListMessages,
            rpc.GetMessage,
            rpc.GetTurn,
            rpc.AdmitPrompt,
            rpc.Regenerate,
            rpc.DeleteMessage,
            rpc.Stop,
            rpc.DecideToolCall,
            rpc.Search,
            rpc.GetUsage,
            rpc.ListMembers,
            rpc.PutMember,
            rpc.DeleteMember,
            rpc.HandOver,
            rpc.ListInvitations,
            rpc.AcceptInvitation,
            rpc.DeclineInvitation,
            identity.StartSession,
            identity.ResolveSession,
            identity.ResolveApiKey,
            identity.ResolveExternal,
            identity.ListSessions,
            identity.EndSessions,
            identity.EndProviderSessions,
            identity.CreateApiKey,
            identity.ListApiKeys,
            identity.RevokeApiKey,
            identity.GetUser,
            identity.ListUsers,
            identity.UpdateUser,
            identity.FindRevoked,
            rpc.EraseUser,
            rpc.FindApiKeys,
            rpc.ListUsage,
            rpc.CreateShareLink,
            rpc.ListShareLinks,
            rpc.RevokeShareLink,
            rpc.GetShared,
        ),
        _template("ctl_search_cancel"),
        subjects.RPC_MODELS_LIST,
        subjects.WRITE_PROBE,
        subjects.audit("sign_in_refused"),
        *_look_at(streams.CHAT),
    ),
    subscribe=(subjects.CTL_IDENTITY_REVOKED,),
)
CHAT_STORE: Final = UserPermissions(
    user="chat-store",
    publish=(
        subjects.ANY_GENERATION_REQUESTED,
        _template("live_changed"),
        _template("live_rejected"),
        _template("user_chats"),
        _template("ctl_generation_stop"),
        _template("ctl_generation_decided"),
        subjects.CTL_IDENTITY_REVOKED,
        _template("rpc_generation_snapshot"),
        *_look_at(streams.CHAT, streams.ADVISORIES, streams.DEAD_LETTERS),
        # Whether a request still waits for its turn.
        f"$JS.API.CONSUMER.INFO.{streams.CHAT.name}.{streams.LLM_WORKER_REQUESTS.name}",
        *_consume(streams.CHAT_STORE_PROMPTS, streams.CHAT_STORE_FINISHED, streams.CHAT_STORE_ADVISORIES),
        # The message of an advisory, what another replica left unacknowledged, and the end of an answer without an
        # owner.
        f"$JS.API.STREAM.MSG.GET.{streams.CHAT.name}",
        # What the streams hold of a chat that was deleted.
        *(f"$JS.API.STREAM.PURGE.{stream.name}" for stream in (streams.CHAT, streams.SEGMENTS, streams.DEAD_LETTERS)),
        # What the dead letters hold of a user who was erased.
        f"$JS.API.STREAM.MSG.GET.{streams.DEAD_LETTERS.name}",
        f"$JS.API.STREAM.MSG.DELETE.{streams.DEAD_LETTERS.name}",
        subjects.ANY_AUDIT,
    ),
    subscribe=(_template("rpc_store"), _template("ctl_search_cancel")),
    replies=True,
)
LLM_WORKER: Final = UserPermissions(
    user="llm-worker",
    publish=(
        _template("live_delta"),
        _template("live_generation"),
        subjects.ANY_GENERATION_SEGMENT,
        subjects.ANY_GENERATION_FINISHED,
        *_store(rpc.Claim, rpc.StoreToolRound, rpc.Release),
        *_look_at(streams.CHAT, streams.SEGMENTS, streams.DEAD_LETTERS),
        *_consume(streams.LLM_WORKER_REQUESTS),
        # Whether another worker still answers for a generation.
        _template("rpc_generation_snapshot"),
        # The segments of an answer that failed, read back.
        f"$JS.API.STREAM.MSG.GET.{streams.SEGMENTS.name}",
    ),
    subscribe=(
        _template("rpc_generation_snapshot"),
        _template("ctl_generation_stop"),
        _template("ctl_generation_decided"),
        subjects.RPC_MODELS_LIST,
    ),
    replies=True,
)
PUSH: Final = UserPermissions(
    user="push",
    publish=(
        *_store(rpc.Sync, rpc.Versions, identity.ResolveSession, identity.ResolveApiKey, identity.FindRevoked),
        _template("rpc_generation_snapshot"),
        _template("live_presence"),
        subjects.CTL_TICKET_USED,
    ),
    # One chat's or one user's traffic at a time is what it subscribes; everything of everybody is refused.
    subscribe=("live.*.>", _template("user_chats"), subjects.CTL_TICKET_USED, subjects.CTL_IDENTITY_REVOKED),
)
MIGRATE: Final = UserPermissions(
    user="migrate",
    publish=(
        *_look_at(*streams.STREAMS),
        *(f"$JS.API.STREAM.CREATE.{stream.name}" for stream in streams.STREAMS),
        *(f"$JS.API.STREAM.UPDATE.{stream.name}" for stream in streams.STREAMS),
        *(f"$JS.API.CONSUMER.INFO.{consumer.stream}.{consumer.name}" for consumer in streams.CONSUMERS),
        *(f"$JS.API.CONSUMER.DURABLE.CREATE.{consumer.stream}.{consumer.name}" for consumer in streams.CONSUMERS),
        *(f"$JS.API.CONSUMER.CREATE.{consumer.stream}.{consumer.name}.>" for consumer in streams.CONSUMERS),
    ),
)
OPERATOR: Final = UserPermissions(
    user="operator",
    publish=(
        # Streams and consumers of every kind: looking, backing up, restoring, removing dead letters.
        "$JS.API.>",
        "$JS.ACK.>",
        "$JS.SNAPSHOT.>",
        # Dead letters go back to where they came from.
        *streams.CHAT.subjects,
        *streams.SEGMENTS.subjects,
        *streams.DEAD_LETTERS.subjects,
        subjects.RPC_MODELS_LIST,
        # `parley users`, `parley keys`, `parley usage`.
        *_store(
            identity.ListUsers,
            identity.GetUser,
            identity.ResolveExternal,
            identity.UpdateUser,
            identity.CreateApiKey,
            identity.RevokeApiKey,
            rpc.EraseUser,
            rpc.FindApiKeys,
            rpc.ListUsage,
        ),
    ),
)
USERS: Final = (GATEWAY, CHAT_STORE, LLM_WORKER, PUSH, MIGRATE, OPERATOR)
