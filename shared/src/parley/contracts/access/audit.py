"""Audit events: who did what to identities, roles, links and chats. Ids only: no name, address, title or text.

Published to the stream ``AUDIT`` on ``audit.<kind>``, with ``id`` as ``Nats-Msg-Id``. ``docs/audit.md`` documents them.
"""

from datetime import datetime
from typing import Final, Literal

import msgspec

AuditKind = Literal[
    "sign_in",
    "sign_in_refused",
    "sign_out",
    "key_created",
    "key_revoked",
    "share_created",
    "share_revoked",
    "member_invited",
    "member_accepted",
    "member_removed",
    "role_changed",
    "owner_changed",
    "user_disabled",
    "user_enabled",
    "user_erased",
    "chat_deleted",
]

OPERATOR: Final = "operator"
"""``actor_id`` of changes by an operator's command."""
SYSTEM: Final = "system"
"""``actor_id`` of changes by a setting (retention)."""


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to an identity, a role, a link or a chat. At least once; the same ``id`` is the same event.

    Attributes:
        actor_id: The user who did it, ``operator`` or ``system``; null: unknown (a refused sign-in, a
            sign-out by the provider).
        user_id: The user whom it concerns.
        method: Of a sign-in: ``oidc``, ``jwt``, ``proxy``, ``api_key``.
        reason: Of a refused sign-in: its code; of a sign-out: ``provider``, when the identity provider ended the
            session; of a deleted chat: ``owner``, ``retention`` or ``erasure``.
        role: The new role, of a user or of a member.
        request_id: Of a refused sign-in: names the lines of the gateway's log, which have the address.
    """

    id: str
    kind: AuditKind
    occurred_at: datetime
    actor_id: str | None = None
    user_id: str | None = None
    chat_id: str | None = None
    session_id: str | None = None
    key_id: str | None = None
    share_id: str | None = None
    method: str | None = None
    reason: str | None = None
    role: str | None = None
    request_id: str | None = None
    v: int = 1
