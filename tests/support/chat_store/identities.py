"""Users, sessions and API keys."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from parley.contracts import rpc
from parley.contracts.access import identity
from parley.contracts.access.identity import ApiKey, Principal, SessionInfo, User
from tests.support.chat_store.part import Part, not_found
from tests.support.users import guest


class FakeIdentities(Part):
    """Replies to the requests of :mod:`parley.contracts.access.identity`.

    Attributes:
        users: By id; replace one to disable it or to make it an administrator.
        sessions: Principals by the digest of their secret.
        keys: Principals by the digest of their secret.
        provider_sessions: The session at the provider, by session id.
        revoked: Ids that are revoked, of sessions, keys and users; None: those that are not known, and disabled users.
    """

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.sessions: dict[str, Principal] = {}
        self.keys: dict[str, Principal] = {}
        self.provider_sessions: dict[str, str] = {}
        self.revoked: set[str] | None = None
        self._listed_keys: dict[str, ApiKey] = {}
        self._used_logout_tokens: set[str] = set()

    def change(self, user_id: str, **fields: Any) -> None:
        """Change a user."""
        self.users[user_id] = replace(self.users[user_id], **fields)

    def _start_session(self, request: identity.StartSession) -> Any:
        now = datetime.now(UTC)
        if request.external is not None:
            user = self._external(request.external, request.guest_id or request.new_user_id)
            if request.guest_id is not None:
                self._end_sessions(identity.EndSessions(user_id=request.guest_id))
        else:
            user = self._user(request.user_id or request.new_user_id)
        if user.disabled:
            return rpc.RpcError(code="forbidden", message="This account is disabled.")
        principal = Principal(
            user=user,
            session_id=request.session_id,
            expires_at=now + timedelta(seconds=min(request.idle_seconds, request.absolute_seconds)),
        )
        self.sessions.setdefault(request.secret_digest, principal)
        if request.provider_session is not None:
            self.provider_sessions[request.session_id] = request.provider_session
        return identity.PrincipalReply(principal=principal)

    def _resolve_external(self, request: identity.ResolveExternal) -> Any:
        user = self._external(request.external, request.new_user_id)
        if user.disabled:
            return rpc.RpcError(code="forbidden", message="This account is disabled.")
        return identity.PrincipalReply(principal=Principal(user=user))

    def _external(self, external: identity.External, new_id: str) -> User:
        known = (
            user.id
            for user in self.users.values()
            if (user.issuer, user.subject) == (external.issuer, external.subject)
        )
        user = self._user(next(known, new_id))
        profile = {name: getattr(external, name) for name in ("issuer", "subject", "email", "name")}
        self.change(user.id, **profile, groups=list(external.groups), role=external.role or user.role)
        return self.users[user.id]

    def _user(self, user_id: str) -> User:
        now = datetime.now(UTC)
        return self.users.setdefault(
            user_id,
            guest(user_id, created_at=now, last_seen_at=now),
        )

    def _resolve_session(self, request: identity.ResolveSession) -> Any:
        if request.secret_digest is not None:
            return self._found(self.sessions.get(request.secret_digest))
        found = (one for one in self.sessions.values() if one.session_id == request.session_id)
        return self._found(next(found, None))

    def _resolve_api_key(self, request: identity.ResolveApiKey) -> Any:
        return self._found(self.keys.get(request.secret_digest))

    def _found(self, principal: Principal | None) -> Any:
        if principal is None or (principal.expires_at is not None and principal.expires_at <= datetime.now(UTC)):
            return not_found("session")
        user = self.users[principal.user.id]
        if user.disabled:
            return rpc.RpcError(code="forbidden", message="This account is disabled.")
        return identity.PrincipalReply(principal=replace(principal, user=user))

    def _find_revoked(self, request: identity.FindRevoked) -> Any:
        if self.revoked is not None:
            return identity.RevokedReply(
                session_ids=[one for one in request.session_ids if one in self.revoked],
                key_ids=[one for one in request.key_ids if one in self.revoked],
                user_ids=[one for one in request.user_ids if one in self.revoked],
            )
        usable = [
            one
            for one in (*self.sessions.values(), *self.keys.values())
            if isinstance(self._found(one), identity.PrincipalReply)
        ]
        sessions, keys = {one.session_id for one in usable}, {one.key_id for one in usable}
        return identity.RevokedReply(
            session_ids=[one for one in request.session_ids if one not in sessions],
            key_ids=[one for one in request.key_ids if one not in keys],
            user_ids=[one for one in request.user_ids if one in self.users and self.users[one].disabled],
        )

    def _list_sessions(self, request: identity.ListSessions) -> Any:
        now = datetime.now(UTC)
        return identity.SessionList(
            items=[
                SessionInfo(
                    id=one.session_id or "",
                    created_at=now,
                    last_used_at=now,
                    expires_at=one.expires_at or now,
                    address="",
                    user_agent="",
                    method="guest",
                )
                for one in self.sessions.values()
                if one.user.id == request.user_id
            ]
        )

    def _end_sessions(self, request: identity.EndSessions) -> Any:
        for digest, one in tuple(self.sessions.items()):
            chosen = request.session_id in (None, one.session_id) and one.session_id != request.except_id
            if one.user.id == request.user_id and chosen:
                del self.sessions[digest]
        return rpc.Done()

    def _end_provider_sessions(self, request: identity.EndProviderSessions) -> Any:
        if request.token_id in self._used_logout_tokens:
            return rpc.RpcError(code="conflict", message="This logout token was used before.")
        self._used_logout_tokens.add(request.token_id)
        for digest, one in tuple(self.sessions.items()):
            user, known = self.users[one.user.id], self.provider_sessions.get(one.session_id or "")
            named = request.provider_subject in (None, user.subject)
            unknown = known is None and request.provider_subject is not None
            if user.issuer == request.issuer and named and (unknown or request.provider_session in (None, known)):
                del self.sessions[digest]
        return rpc.Done()

    def _create_api_key(self, request: identity.CreateApiKey) -> Any:
        key = ApiKey(
            id=request.key_id,
            name=request.name,
            prefix=request.prefix,
            scopes=request.scopes,
            created_at=datetime.now(UTC),
            last_used_at=None,
            expires_at=request.expires_at,
        )
        self._listed_keys[key.id] = key
        self.keys[request.secret_digest] = Principal(
            user=self.users[request.user_id], key_id=key.id, scopes=key.scopes, expires_at=key.expires_at
        )
        return identity.ApiKeyReply(key=key)

    def _list_api_keys(self, request: identity.ListApiKeys) -> Any:
        mine = {one.key_id for one in self.keys.values() if one.user.id == request.user_id}
        return identity.ApiKeyList(items=[key for key in self._listed_keys.values() if key.id in mine])

    def _revoke_api_key(self, request: identity.RevokeApiKey) -> Any:
        for digest, one in tuple(self.keys.items()):
            if (one.user.id, one.key_id) == (request.user_id, request.key_id):
                del self.keys[digest]
        return rpc.Done()
