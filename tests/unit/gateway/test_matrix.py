"""Which identity may use which route: every route of the OpenAPI document by every kind of caller.

What a member may do within a chat is decided by chat-store, and shown by its own tests. Here NATS is away, so a request
that is allowed ends with 503 where chat-store would be asked.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from gateway.app import build_routes
from parley.contracts.access.identity import CreateApiKey, Scope, StartSession, digest
from parley.contracts.ids import new_id
from parley.runtime.tokens import KeyRing, cookie_name
from tests.support.chat_store.identities import FakeIdentities
from tests.unit.gateway.apps import KEY, app, client

_OPEN: Final = {
    "POST /v1/session",
    "DELETE /v1/session",
    "GET /v1/config",
    "GET /v1/auth/oidc/login",
    "GET /v1/auth/oidc/callback",
    "POST /v1/auth/oidc/backchannel-logout",
    "GET /v1/shared/{token}",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
}
"""Routes that need no session, or look at it themselves."""

_ACCOUNT: Final = {
    "GET /v1/sessions",
    "DELETE /v1/sessions",
    "DELETE /v1/sessions/{session_id}",
    "GET /v1/api-keys",
    "POST /v1/api-keys",
    "DELETE /v1/api-keys/{key_id}",
    "GET /v1/me/export",
    "DELETE /v1/me",
}

_READS_BY_POST: Final = {"POST /v1/push-ticket"}


def _action(operation: str) -> str:
    method, path = operation.split()
    if operation in _OPEN:
        return "open"
    if operation in _ACCOUNT:
        return "account"
    if path.startswith("/v1/admin/"):
        return "administer"
    if path.startswith("/openai/"):
        return "openai"
    if path.startswith(("/ai-sdk/", "/ag-ui")):
        return "protocol"
    return "read" if method == "GET" or operation in _READS_BY_POST else "write"


OPERATIONS: Final = sorted(
    f"{method.upper()} {path}"
    for path, operations in build_routes().openapi()["paths"].items()
    for method in operations
    if _action(f"{method.upper()} {path}") != "open"
)

ALLOWED: Final = (0, None)
_KEY_ONLY: Final = (403, "scope_missing")
_NO_ADMIN: Final = (403, "not_administrator")

_ACTIONS: Final = ("read", "write", "account", "administer", "protocol")
_OPENAI_CODES: Final = {401: "invalid_api_key"}
"""Codes that OpenAI's API has for several of ours."""

_Outcomes = Mapping[str, tuple[int, str | None]]


def _always(status: int, code: str) -> _Outcomes:
    return {**dict.fromkeys(_ACTIONS, (status, code)), "openai": (status, _OPENAI_CODES.get(status, code))}


CALLERS: Final[dict[str, _Outcomes]] = {
    "anonymous": _always(401, "not_authenticated"),
    "user by cookie": {
        "read": ALLOWED,
        "write": ALLOWED,
        "account": ALLOWED,
        "administer": _NO_ADMIN,
        "openai": ALLOWED,
        "protocol": ALLOWED,
    },
    "user by access token": {
        "read": ALLOWED,
        "write": ALLOWED,
        "account": ALLOWED,
        "administer": _NO_ADMIN,
        "openai": ALLOWED,
        "protocol": ALLOWED,
    },
    "administrator": {
        "read": ALLOWED,
        "write": ALLOWED,
        "account": ALLOWED,
        "administer": ALLOWED,
        "openai": ALLOWED,
        "protocol": ALLOWED,
    },
    "expired access token": _always(401, "token_expired"),
    "forged access token": _always(401, "token_invalid"),
    "ticket as access token": _always(401, "token_invalid"),
    "expired session": _always(401, "session_ended"),
    "revoked session": _always(401, "session_ended"),
    "access token of a revoked session": _always(401, "session_ended"),
    "forged cookie": _always(401, "session_ended"),
    "disabled user": _always(403, "user_disabled"),
    "key to read": {
        "read": ALLOWED,
        "write": _KEY_ONLY,
        "account": _KEY_ONLY,
        "administer": _NO_ADMIN,
        "openai": _KEY_ONLY,
        "protocol": _KEY_ONLY,
    },
    "key to write": {
        "read": ALLOWED,
        "write": ALLOWED,
        "account": _KEY_ONLY,
        "administer": _NO_ADMIN,
        "openai": ALLOWED,
        "protocol": ALLOWED,
    },
    "key for openai": {
        "read": _KEY_ONLY,
        "write": _KEY_ONLY,
        "account": _KEY_ONLY,
        "administer": _NO_ADMIN,
        "openai": ALLOWED,
        "protocol": ALLOWED,
    },
    "administrator's key": {
        "read": ALLOWED,
        "write": ALLOWED,
        "account": _KEY_ONLY,
        "administer": _KEY_ONLY,
        "openai": ALLOWED,
        "protocol": ALLOWED,
    },
    "expired key": _always(401, "token_invalid"),
    "forged key": _always(401, "token_invalid"),
    "key of a disabled user": _always(403, "user_disabled"),
}


class Installation:
    """An application with each kind of caller: the headers with which they send requests."""

    def __init__(self) -> None:
        self.identities = FakeIdentities()
        self.app: Any = app(identities=self.identities)
        user, admin, disabled = (self._session() for _ in range(3))
        revoked, revoked_by_token = self._session(), self._session()
        expired = self._session(seconds=-1)
        self.identities.change(admin[1], role="administrator")
        keys = KeyRing([KEY])
        self.headers: dict[str, dict[str, str]] = {
            "anonymous": {},
            "user by cookie": self._cookie(user[0]),
            "user by access token": self._bearer(keys.issue("access", user[1], 600, session_id=user[2])[0]),
            "administrator": self._cookie(admin[0]),
            "expired access token": self._bearer(keys.issue("access", user[1], -60, session_id=user[2])[0]),
            "forged access token": self._bearer(
                KeyRing(["x" * 40]).issue("access", user[1], 600, session_id=user[2])[0]
            ),
            "ticket as access token": self._bearer(keys.issue("ticket", user[1], 600, session_id=user[2])[0]),
            "expired session": self._cookie(expired[0]),
            "revoked session": self._cookie(revoked[0]),
            "access token of a revoked session": self._bearer(
                keys.issue("access", revoked_by_token[1], 600, session_id=revoked_by_token[2])[0]
            ),
            "forged cookie": self._cookie("x" * 43),
            "disabled user": self._cookie(disabled[0]),
            "key to read": self._key(user[1], "read"),
            "key to write": self._key(user[1], "write"),
            "key for openai": self._key(user[1], "openai"),
            "administrator's key": self._key(admin[1], "write"),
            "expired key": self._key(user[1], "write", seconds=-1),
            "forged key": self._bearer(f"pk_abcdefgh_{'x' * 43}"),
            "key of a disabled user": self._key(disabled[1], "write"),
        }
        self.identities.change(disabled[1], disabled=True)
        for secret, *_ in (revoked, revoked_by_token):
            del self.identities.sessions[digest(secret)]

    def _session(self, seconds: float = 3600) -> tuple[str, str, str]:
        """Return the secret, the user and the id of a new session."""
        secret, user_id, session_id = new_id().ljust(43, "s"), new_id(), new_id()
        self.identities.reply(
            StartSession(
                session_id=session_id,
                secret_digest=digest(secret),
                new_user_id=user_id,
                method="guest",
                idle_seconds=seconds,
                absolute_seconds=seconds,
            )
        )
        return secret, user_id, session_id

    def _key(self, user_id: str, scope: Scope, seconds: float = 3600) -> dict[str, str]:
        secret = f"pk_abcdefgh_{new_id().ljust(43, 'k')}"
        self.identities.reply(
            CreateApiKey(
                user_id=user_id,
                key_id=new_id(),
                name="key",
                prefix="pk_abcdefgh",
                secret_digest=digest(secret),
                scopes=(scope,),
                expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
            )
        )
        return self._bearer(secret)

    def _bearer(self, token: str) -> dict[str, str]:
        return {"authorization": f"Bearer {token}"}

    def _cookie(self, secret: str) -> dict[str, str]:
        return {"cookie": f"{cookie_name(KEY)}={secret}"}


async def _outcome(installation: Installation, operation: str, caller: str) -> tuple[int, str | None]:
    method, path = operation.split()
    for name in ("chat_id", "message_id", "user_id", "session_id", "key_id", "share_id", "generation_id"):
        path = path.replace(f"{{{name}}}", new_id())
    async with client(installation.app) as http:
        headers = {**installation.headers[caller], "content-type": "application/json"}
        answer = await http.request(method, path.replace("{day}", "2026-01-01"), headers=headers)
    if answer.status_code not in (401, 403):
        return ALLOWED
    problem = answer.json()
    return answer.status_code, problem.get("error", problem)["code"]


@pytest.mark.parametrize("caller", CALLERS)
async def test_a_caller_gets_as_far_as_the_policy_allows(caller: str) -> None:
    installation = Installation()
    sessions = dict(installation.identities.sessions)
    outcomes = {}
    for operation in OPERATIONS:
        # Some routes end the session.
        installation.identities.sessions = dict(sessions)
        outcomes[operation] = await _outcome(installation, operation, caller)
    assert outcomes == {operation: CALLERS[caller][_action(operation)] for operation in OPERATIONS}
