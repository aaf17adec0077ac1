"""The account, members, invitations and share links of a :class:`~tests.support.scripted_page.ScriptedPage`."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from parley.contracts.ids import new_id

TIME = "2026-01-05T12:00:00Z"
LATER = "2099-01-01T00:00:00Z"
PROVIDER = {"name": "Example ID", "login_url": "/v1/auth/oidc/login"}

Reply = tuple[int, Any]


@dataclass
class ScriptedAccount:
    """What the server has of the page's user; a test changes it before the page asks."""

    user_id: str
    guest: bool = True
    name: str | None = None
    email: str | None = None
    guests: bool = True
    """Whether a browser without a session becomes a guest."""
    provider: dict[str, str] | None = None
    signed_in: bool = True
    """Whether the browser's session is valid."""
    refused: bool = False
    """Whether the browser has no session and becomes no guest."""
    sessions: list[dict[str, Any]] = field(default_factory=list)
    keys: list[dict[str, Any]] = field(default_factory=list)
    usage: list[dict[str, Any]] = field(default_factory=list)
    members: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    invitations: list[dict[str, Any]] = field(default_factory=list)
    links: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    shared: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path and body of each request about these."""

    def sign_in(self) -> None:
        """Make the page's user one who signed in with the provider."""
        self.guest, self.name, self.email = False, "Ada Lovelace", "ada@example.com"
        self.provider = PROVIDER

    @property
    def auth(self) -> dict[str, Any]:
        return {"guest": self.guests, "oidc": self.provider}

    def add_session(self, *, current: bool, user_agent: str = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0") -> str:
        session_id = new_id()
        self.sessions.append(
            {
                "id": session_id,
                "created_at": TIME,
                "last_used_at": TIME,
                "expires_at": LATER,
                "address": "192.0.2.7",
                "user_agent": user_agent,
                "method": "oidc",
                "current": current,
            }
        )
        return session_id

    def add_key(self, name: str) -> None:
        key = {"id": new_id(), "name": name, "prefix": "pk_abcdefgh", "scopes": ["read", "openai"]}
        self.keys.append({**key, "created_at": TIME, "last_used_at": None, "expires_at": LATER})

    def add_usage(self) -> None:
        """Add usage of two models on two days, of which today is one."""
        today = datetime.now(UTC).date()
        for days, model, tokens, cost in ((0, "demo", 1200, 0.5), (3, "demo", 400, 0.25), (3, "demo-large", 90, None)):
            day = (today - timedelta(days=days)).isoformat()
            line = {"day": day, "model": model, "answers": 2, "input_tokens": tokens, "output_tokens": tokens * 2}
            self.usage.append({**line, "cost": cost})

    def add_member(self, chat_id: str, user_id: str, role: str, **fields: Any) -> None:
        member = {"user_id": user_id, "name": None, "role": role, "status": "member", "added_at": TIME, **fields}
        self.members.setdefault(chat_id, []).append(member)

    def add_invitation(self, chat_id: str, title: str, role: str = "writer") -> None:
        self.invitations.append(
            {
                "chat_id": chat_id,
                "title": title,
                "role": role,
                "invited_by": new_id(),
                "invited_by_name": "Grace Hopper",
                "created_at": TIME,
            }
        )

    def session(self) -> Reply:
        if self.refused:
            return problem(403, "guests_not_allowed", "Guests are not allowed here. Sign in first.")
        if not self.signed_in:
            return problem(401, "token_invalid", "The session has ended.")
        user = {"name": self.name, "email": self.email, "role": "user", "guest": self.guest}
        return 200, {"user_id": self.user_id, "access_token": "t", "expires_at": LATER, "user": user}

    def respond(self, method: str, path: str, body: Any) -> Reply | None:
        """Answer a request about the account or sharing; None: it is about something else."""
        parts = path.strip("/").split("/")
        handler = {
            "me": self._me,
            "session": self._end,
            "sessions": self._sessions,
            "api-keys": self._keys,
            "usage": self._usage,
            "invitations": self._invitations,
            "shared": self._shared,
        }.get(parts[0])
        if parts[0] == "chats" and len(parts) > 2:
            handler = {"members": self._members, "owner": self._owner, "shares": self._links}.get(parts[2])
        if handler is None:
            return None
        reply = handler(method, parts, body)
        if method != "GET" and reply is not None:
            self.requests.append((method, path, body))
        return reply

    def _me(self, method: str, parts: list[str], body: Any) -> Reply:
        if parts[1:] == ["export"]:
            return 200, {"user": self.user_id}
        if method == "DELETE":
            return 204, None
        return 200, {
            "user_id": self.user_id,
            "guest": self.guest,
            "name": self.name,
            "email": self.email,
            "role": "user",
            "groups": [],
            "created_at": TIME,
        }

    def _end(self, method: str, parts: list[str], body: Any) -> Reply | None:
        return (200, {"logout_url": None}) if method == "DELETE" else None

    def _sessions(self, method: str, parts: list[str], body: Any) -> Reply:
        if method == "DELETE":
            self.sessions = [one for one in self.sessions if len(parts) > 1 and one["id"] != parts[1]]
            return 204, None
        return 200, {"items": self.sessions, "next": None}

    def _keys(self, method: str, parts: list[str], body: Any) -> Reply:
        if method == "POST":
            key = {**body, "id": new_id(), "prefix": "pk_abcdefgh", "created_at": TIME, "last_used_at": None}
            self.keys.insert(0, key)
            return 201, {"key": key, "secret": "pk_abcdefgh_" + "x" * 43}
        if method == "DELETE":
            self.keys = [one for one in self.keys if one["id"] != parts[1]]
            return 204, None
        return 200, {"items": self.keys, "next": None}

    def _usage(self, method: str, parts: list[str], body: Any) -> Reply:
        return 200, {"items": self.usage, "next": None}

    def _invitations(self, method: str, parts: list[str], body: Any) -> Reply:
        if method == "GET":
            return 200, {"items": self.invitations, "next": None}
        self.invitations = [one for one in self.invitations if one["chat_id"] != parts[1]]
        return 204, None

    def _members(self, method: str, parts: list[str], body: Any) -> Reply:
        members = self.members.setdefault(parts[1], [])
        if method == "GET":
            return 200, {"items": members, "next": None}
        found = next((one for one in members if one["user_id"] == parts[3]), None)
        if method == "DELETE":
            self.members[parts[1]] = [one for one in members if one is not found]
            return 204, None
        if found is None:
            self.add_member(parts[1], parts[3], body["role"], status="invited")
            return 201, members[-1]
        found["role"] = body["role"]
        return 200, found

    def _owner(self, method: str, parts: list[str], body: Any) -> Reply:
        for member in self.members[parts[1]]:
            if member["user_id"] == body["user_id"]:
                member["role"] = "owner"
            elif member["role"] == "owner":
                member["role"] = "writer"
        return 200, {}

    def _links(self, method: str, parts: list[str], body: Any) -> Reply:
        links = self.links.setdefault(parts[1], [])
        if method == "GET":
            return 200, {"items": links, "next": None}
        if method == "DELETE":
            self.links[parts[1]] = [one for one in links if one["id"] != parts[3]]
            return 204, None
        links.append({"id": new_id(), **body, "created_at": TIME})
        return 201, {**links[-1], "token": "a-secret-token"}

    def _shared(self, method: str, parts: list[str], body: Any) -> Reply:
        found = self.shared.get(parts[1])
        return (
            (200, {"next": None, **found})
            if found is not None
            else problem(404, "not_found", "This link does not exist any more.")
        )


def problem(status: int, code: str, detail: str) -> Reply:
    return status, {"status": status, "code": code, "title": code, "detail": detail}
