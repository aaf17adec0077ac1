"""Users, sessions and API keys, and the requests about them to chat-store, which owns them.

A secret (a session's cookie, an API key, a share link) never leaves the gateway: chat-store is sent its SHA-256, and
stores that. What is cached of an identity is invalidated by :class:`Revoked`.
"""

import hashlib
import re
import secrets
import string
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import ClassVar, Final, Literal, Self

import msgspec

from parley.contracts.requests import Done, ReplyBase, StoreRequest

UserRole = Literal["user", "administrator"]
Scope = Literal["read", "write", "openai"]
"""What an API key may do: read, write (which includes reading), or use the OpenAI-compatible interface only."""

ALL_SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "openai")


API_KEY_PREFIX: Final = "pk_"
_API_KEY: Final = re.compile(rf"(?P<prefix>{API_KEY_PREFIX}[A-Za-z]{{8}})_[A-Za-z0-9_-]{{43}}")


def new_api_key() -> tuple[str, str]:
    """Return a new API key: the prefix by which it is found, and the whole key, which only its user gets."""
    prefix = API_KEY_PREFIX + "".join(secrets.choice(string.ascii_letters) for _ in range(8))
    return prefix, f"{prefix}_{secrets.token_urlsafe(32)}"


def prefix_of(key: str) -> str | None:
    """Return the prefix of an API key, by which it is found; None: it is not an API key."""
    match = _API_KEY.fullmatch(key)
    return None if match is None else match["prefix"]


def digest(secret: str) -> str:
    """Return the digest of a secret that is stored. Secrets are long and random, so a plain hash cannot be reversed."""
    return hashlib.sha256(secret.encode()).hexdigest()


# --- resources ------------------------------


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user.

    Attributes:
        issuer: Who vouches for ``subject``: the URL of an OpenID provider, ``proxy``, ``operator``
            (`parley users create`), or null for a guest.
        groups: As the provider listed them at the last sign-in.
        erased: The user's content and personal data were removed; only the id is left.
    """

    id: str
    issuer: str | None
    subject: str | None
    email: str | None
    name: str | None
    role: UserRole
    groups: list[str]
    disabled: bool
    created_at: datetime
    last_seen_at: datetime
    erased: bool = False


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The user who makes a request, by a session, an API key, or (neither) a token of another issuer.

    Attributes:
        expires_at: When the session or the key ends by itself.
    """

    user: User
    session_id: str | None = None
    key_id: str | None = None
    scopes: tuple[Scope, ...] = ALL_SCOPES
    expires_at: datetime | None = None


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A session as its user sees it."""

    id: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str
    user_agent: str
    method: str


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secret; ``prefix`` is how the key begins."""

    id: str
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class External(msgspec.Struct, frozen=True, kw_only=True):
    """A user whom an identity provider, a signed token or a trusted proxy names.

    Attributes:
        role: ``administrator`` when the provider's claims make one; null leaves the role as it is.
    """

    issuer: str
    subject: str
    email: str | None = None
    name: str | None = None
    groups: tuple[str, ...] = ()
    role: UserRole | None = None


# --- core NATS, from chat-store, at most once ------------------------------


class Revoked(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="revoked"):
    """An identity may not be used any more: caches forget it, sockets and streams that it opened are closed.

    Attributes:
        session_id: Only this session of the user.
        key_id: Only this API key of the user. Neither: everything of the user.
        disabled: Whether the user cannot sign in again. Otherwise the user changed (a role, a name), and what is cached
            is asked for anew, but nothing is closed unless ``closes``.
        closes: Whether sockets and streams are closed.
    """

    user_id: str
    session_id: str | None = None
    key_id: str | None = None
    disabled: bool = False
    closes: bool = True
    v: int = 1

    def concerns(self, user_id: str, session_id: str | None, key_id: str | None) -> bool:
        """Return whether it revokes what this user opened with this session or API key."""
        if self.session_id is None and self.key_id is None:
            return user_id == self.user_id
        which = (session_id, None) if self.key_id is None else (None, key_id)
        return user_id == self.user_id and which == (self.session_id, self.key_id)


# --- rpc.store ------------------------------
# A secret or an id that is unknown, revoked or expired is ``not_found``; a disabled user is ``forbidden``.


class PrincipalReply(ReplyBase, frozen=True, kw_only=True, tag="principal"):
    principal: Principal


class SessionList(ReplyBase, frozen=True, kw_only=True, tag="session_list"):
    items: list[SessionInfo]


class ApiKeyReply(ReplyBase, frozen=True, kw_only=True, tag="api_key"):
    key: ApiKey


class ApiKeyList(ReplyBase, frozen=True, kw_only=True, tag="api_key_list"):
    items: list[ApiKey]


class UserReply(ReplyBase, frozen=True, kw_only=True, tag="user"):
    user: User


class UserList(ReplyBase, frozen=True, kw_only=True, tag="user_list"):
    items: list[User]
    next: str | None


class RevokedReply(ReplyBase, frozen=True, kw_only=True, tag="revoked_list"):
    """The requested ids that may not be used any more: ended sessions and keys, disabled users."""

    session_ids: list[str]
    key_ids: list[str]
    user_ids: list[str]

    def concerns(self, user_id: str, session_id: str | None, key_id: str | None) -> bool:
        """Whether what this user opened with this session or API key may not be used any more."""
        return user_id in self.user_ids or session_id in self.session_ids or key_id in self.key_ids


class StartSession(StoreRequest[PrincipalReply], frozen=True, kw_only=True):
    """Start a session of ``external``, else of the guest ``user_id`` (from before sessions), else of a new guest.

    The same ``session_id`` again returns the same session.

    Attributes:
        guest_id: The guest who signs in. The guest's row becomes the external user's when there is none yet; else the
            guest's chats go to the external user.
        idle_seconds, absolute_seconds: The session ends after so long without use, and after so long in any case.
        provider_session: The identity provider's own session (``sid``) in which this one starts.
    """

    VERB: ClassVar = "start_session"
    session_id: str
    secret_digest: str
    new_user_id: str
    user_id: str | None = None
    external: External | None = None
    guest_id: str | None = None
    method: str
    address: str = ""
    user_agent: str = ""
    idle_seconds: float
    absolute_seconds: float
    provider_session: str | None = None


class ResolveSession(StoreRequest[PrincipalReply], frozen=True, kw_only=True):
    """Find a session by its secret's digest, or by its id (of an access token). Using it extends its idle time."""

    VERB: ClassVar = "resolve_session"
    secret_digest: str | None = None
    session_id: str | None = None


class ResolveApiKey(StoreRequest[PrincipalReply], frozen=True, kw_only=True):
    """Find an API key by its prefix and its digest."""

    VERB: ClassVar = "resolve_api_key"
    prefix: str
    secret_digest: str


class ResolveExternal(StoreRequest[PrincipalReply], frozen=True, kw_only=True):
    """Find the user of a foreign token or a trusted proxy, or create the user; no session."""

    VERB: ClassVar = "resolve_external"
    external: External
    new_user_id: str


class ListSessions(StoreRequest[SessionList], frozen=True, kw_only=True):
    """List a user's sessions, the most recently used first."""

    VERB: ClassVar = "list_sessions"
    user_id: str


class EndSessions(StoreRequest[Done], frozen=True, kw_only=True):
    """End one session of a user, or all of them but ``except_id``; already ended: Done."""

    VERB: ClassVar = "end_sessions"
    user_id: str
    session_id: str | None = None
    except_id: str | None = None


class EndProviderSessions(StoreRequest[Done], frozen=True, kw_only=True):
    """End the sessions that users signed in for with an identity provider, which has signed them out.

    Sessions of the subject whose provider's session is not known are ended, too. No such session: Done. The token was
    used before: ``conflict``.

    Attributes:
        provider_subject: The user at the provider; null: whoever has ``provider_session``.
        provider_session: null: all sessions of the subject.
        token_id: The logout token's ``jti``, remembered until ``expires_at``.
    """

    VERB: ClassVar = "end_provider_sessions"
    issuer: str
    provider_subject: str | None = None
    provider_session: str | None = None
    token_id: str
    expires_at: datetime


class CreateApiKey(StoreRequest[ApiKeyReply], frozen=True, kw_only=True):
    """Store a key that the gateway made; ``conflict`` when the user has too many."""

    VERB: ClassVar = "create_api_key"
    user_id: str
    key_id: str
    name: str
    prefix: str
    secret_digest: str
    scopes: tuple[Scope, ...]
    expires_at: datetime | None = None
    actor_id: str | None = None


class ListApiKeys(StoreRequest[ApiKeyList], frozen=True, kw_only=True):
    """List a user's keys, newest first."""

    VERB: ClassVar = "list_api_keys"
    user_id: str


class RevokeApiKey(StoreRequest[Done], frozen=True, kw_only=True):
    """Revoke a key of a user; already revoked: Done.

    Attributes:
        user_id: Whose it is; null: anybody's. For administrators.
        actor_id: Who revokes it, for the audit; null: its user.
    """

    VERB: ClassVar = "revoke_api_key"
    user_id: str | None
    key_id: str
    actor_id: str | None = None


class GetUser(StoreRequest[UserReply], frozen=True, kw_only=True):
    """Read one user."""

    VERB: ClassVar = "get_user"
    user_id: str


class ListUsers(StoreRequest[UserList], frozen=True, kw_only=True):
    """List users, newest first; ``query`` is part of an id, a name or an e-mail address. For administrators."""

    VERB: ClassVar = "list_users"
    query: str | None = None
    before: str | None = None
    limit: int = 50


class UpdateUser(StoreRequest[UserReply], frozen=True, kw_only=True):
    """Disable, enable, or change the role of a user. For administrators.

    Attributes:
        actor_id: Who does it, for the audit: an administrator, or ``operator``.
    """

    VERB: ClassVar = "update_user"
    user_id: str
    actor_id: str | None = None
    disabled: bool | None = None
    role: UserRole | None = None


class FindRevoked(StoreRequest[RevokedReply], frozen=True, kw_only=True):
    """Anti-entropy for :class:`Revoked`: find those that have ended. An unknown user has not."""

    VERB: ClassVar = "find_revoked"
    session_ids: Sequence[str] = ()
    key_ids: Sequence[str] = ()
    user_ids: Sequence[str] = ()

    @classmethod
    def of(cls, identities: Iterable[tuple[str, str | None, str | None]]) -> Self:
        """Ask about identities: each a user, with the session or the API key, if there is one."""
        asked = tuple(identities)
        return cls(
            session_ids=sorted({session_id for _, session_id, _ in asked if session_id is not None}),
            key_ids=sorted({key_id for _, _, key_id in asked if key_id is not None}),
            user_ids=sorted({user_id for user_id, _, _ in asked}),
        )
