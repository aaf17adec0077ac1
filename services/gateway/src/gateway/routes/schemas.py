"""The HTTP interface's own shapes; chats, messages and members are those of :mod:`parley.contracts.resources`."""

from datetime import datetime
from typing import Annotated, Generic, Literal, Self, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from parley.contracts.access.identity import ApiKey, Principal, Scope, SessionInfo, UserRole
from parley.contracts.access.models import Price
from parley.contracts.completion import WhenBusy
from parley.contracts.ids import ID_PATTERN
from parley.contracts.limits import MAX_MODEL_LENGTH, MAX_TITLE_LENGTH
from parley.contracts.rpc import SharedMessage, ShareLink

T = TypeVar("T")

_UUID = {"format": "uuid", "pattern": ID_PATTERN}
Id = Annotated[str, Meta(extra_json_schema=_UUID)]
_NOT_BLANK = {"minLength": 1, "pattern": r"\S"}
"""For a text that must not be blank. The code checks more than a schema can (parley.contracts.text.is_blank)."""
Title = Annotated[str, Meta(max_length=MAX_TITLE_LENGTH, extra_json_schema=_NOT_BLANK)]
Content = Annotated[str, Meta(extra_json_schema=_NOT_BLANK)]
Model = Annotated[str, Meta(min_length=1, max_length=MAX_MODEL_LENGTH)]


# --- requests -------------------------------------------------------------------------------------------------------


class StopAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /v1/chats/{chat_id}/stop``.

    Attributes:
        message_id: The answer to stop, or the prompt whose first answer to stop; null: the one that runs.
    """

    message_id: Id | None = None


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /v1/session``.

    Attributes:
        start_over: Replace a session that has ended by a new guest's. The chats of the old one are then lost.
    """

    start_over: bool = False


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /v1/api-keys``.

    Attributes:
        expires_at: Null: the key does not expire.
    """

    name: Annotated[str, Meta(max_length=100, extra_json_schema=_NOT_BLANK)]
    scopes: list[Scope]
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class NewChat(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /v1/chats``. With an ``id`` made by the client, the same request again returns the same chat."""

    id: Id | None = None
    title: Title | None = None
    model: Model | None = None
    system_prompt: str | None = None


class ChatChange(msgspec.Struct, frozen=True, kw_only=True):
    """``PATCH /v1/chats/{chat_id}``. Absent fields stay, null clears. ``tip_id`` chooses the branch to go on from."""

    title: Title | None | UnsetType = UNSET
    model: Model | None | UnsetType = UNSET
    system_prompt: str | None | UnsetType = UNSET
    tip_id: Id | UnsetType = UNSET


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /v1/chats/{chat_id}/messages``.

    Attributes:
        id: Made by the client, so that a repeat is the same message; made here when absent.
        parent_id: Absent: continue at the chat's tip. Null: a new root. An id: a branch there.
        answer_id: Names the answer; made here when absent.
        when_busy: What happens where the chat has a running answer or queued messages. ``enqueue``: the message is
            answered in its turn. ``reject``: it is not stored (``chat_busy``). ``interrupt``: the running answer is
            stopped and keeps its partial text, and the message is answered next. ``rollback``: likewise, and it takes
            the place of the message whose answer was stopped.
    """

    content: Content
    id: Id | None = None
    parent_id: Id | None | UnsetType = UNSET
    model: Model | None = None
    answer_id: Id | None = None
    when_busy: WhenBusy = "enqueue"


class ToolDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a tool call that waits for approval is run."""

    approve: bool


class NewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /v1/chats/{chat_id}/messages/{message_id}/regenerate``. ``id`` names the new answer."""

    id: Id | None = None
    model: Model | None = None


class NewShareLink(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /v1/chats/{chat_id}/shares``.

    Attributes:
        live: Whether the link shows messages that are written after it was created.
        tip_id: Show the branch through this message; null: the branch that the chat goes on from.
    """

    live: bool = False
    tip_id: Id | None = None


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """``DELETE /v1/me``. The word confirms that the user means it."""

    confirm: Literal["erase"]


class UserChange(msgspec.Struct, frozen=True, kw_only=True):
    """``PATCH /v1/admin/users/{user_id}``. What is absent or null stays."""

    disabled: bool | None = None
    role: UserRole | None = None


class NewMember(msgspec.Struct, frozen=True, kw_only=True):
    """``PUT /v1/chats/{chat_id}/members/{user_id}``."""

    role: Literal["writer", "reader"] = "writer"


class NewOwner(msgspec.Struct, frozen=True, kw_only=True):
    """``PUT /v1/chats/{chat_id}/owner``."""

    user_id: str


# --- replies --------------------------------------------------------------------------------------------------------


class Nothing(msgspec.Struct, frozen=True):
    """An empty object."""


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page of a list; ``next`` is the ``before`` of the page after it, null at the end."""

    items: list[T]
    next: str | None = None


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The user who makes a request.

    Attributes:
        guest: The user has no account at a provider.
        session_id: Of the request's session; null for an API key.
    """

    user_id: str
    name: str | None
    email: str | None
    role: UserRole
    guest: bool
    groups: list[str]
    created_at: datetime
    session_id: str | None
    scopes: tuple[Scope, ...]

    @classmethod
    def of(cls, principal: Principal) -> Self:
        user = principal.user
        return cls(
            user_id=user.id,
            name=user.name,
            email=user.email,
            role=user.role,
            guest=user.issuer is None,
            groups=user.groups,
            created_at=user.created_at,
            session_id=principal.session_id,
            scopes=principal.scopes,
        )


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A session in the list of its user; ``current`` is that of the request."""

    id: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str
    user_agent: str
    method: str
    current: bool

    @classmethod
    def of(cls, session: SessionInfo, *, current: bool) -> Self:
        return cls(**msgspec.structs.asdict(session), current=current)


class CreatedApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new API key. ``secret`` is shown once."""

    key: ApiKey
    secret: str


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session.

    Attributes:
        access_token: For ``Authorization: Bearer``, until ``expires_at``; ``POST /v1/session`` gives a new one.
        new_guest: Whether the session is a new guest's, since the request had no session.
    """

    user_id: str
    access_token: str
    expires_at: datetime
    user: Me
    new_guest: bool = False


class CreatedShareLink(ShareLink, frozen=True, kw_only=True):
    """A new link. ``token`` is the end of its address, ``/shared/<token>``, and is shown once."""

    token: str


class SharedChat(msgspec.Struct, frozen=True, kw_only=True):
    """What a link shows: one branch, oldest first; ``next`` is the ``after`` of the page after it, null at the end."""

    title: str | None
    messages: list[SharedMessage]
    next: int | None = None


class EndedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session that has ended.

    Attributes:
        logout_url: Where the browser ends the identity provider's session too; null: there is none.
    """

    logout_url: str | None = None


class PushTicket(msgspec.Struct, frozen=True, kw_only=True):
    ticket: str
    expires_at: datetime


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The message is durable: it will be stored and answered."""

    chat_id: str
    message_id: Id


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether this gateway should get requests.

    Attributes:
        problems: What it lacks, by name of the dependency.
        time: Of this machine's clock, in Unix seconds.
    """

    ready: bool
    problems: dict[str, str]
    time: float


class OfferedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model of ``MODELS``.

    Attributes:
        context_tokens: How much it reads at once; null: not stated.
        price: Of a million tokens; null: not stated.
    """

    name: str
    display_name: str
    default: bool
    context_tokens: int | None
    price: Price | None


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """The models that the user may use.

    Attributes:
        items: Their names.
        default: The model of a chat and a message that name none.
        details: More about each, where the operator lists the models; else empty.
    """

    items: list[str]
    default: str | None
    details: list[OfferedModel] = []
    next: str | None = None


class ContentLimits(msgspec.Struct, frozen=True, kw_only=True):
    content_bytes: int


class OidcProvider(msgspec.Struct, frozen=True, kw_only=True):
    """An OpenID provider: what its button says, and where it leads."""

    name: str
    login_url: str


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """How users sign in.

    Attributes:
        guest: Anybody may start a session.
    """

    guest: bool
    oidc: OidcProvider | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What a client needs before its first request.

    Attributes:
        push_url: ``ws://…``, ``wss://…``, or a path on the page's own origin.
        demo: The built-in demo model answers.
    """

    push_url: str
    auth: SignIn
    default_model: str | None
    demo: bool
    version: str
    limits: ContentLimits
