"""What the claims of an identity provider state about a user."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import NotAuthenticated
from parley.contracts.access.identity import External, UserRole
from parley.contracts.text import is_storable

log = logging.getLogger(__name__)

_MAX_GROUPS: Final = 200
_MAX_LENGTH: Final = 320
"""The maximum length of a name, an e-mail address or a group: that of an e-mail address (RFC 5321)."""

_MAX_SUBJECT: Final = 512
"""OpenID Connect allows 255 characters; a proxy may name users by the subject of a certificate."""


@dataclass(frozen=True)
class ClaimNames:
    """The names of an issuer's claims that are not standardized.

    Attributes:
        groups: Claim with a list of groups or roles, or an object with their names; a dot leads into an object, as in
            ``realm_access.roles``.
        admin_group: Its members are administrators, and all others are not; None: claims do not change roles.
    """

    groups: str
    admin_group: str | None

    def external(self, issuer: str, claims: Mapping[str, Any]) -> External:
        """Return the user whom ``claims`` name. An address that the provider did not verify is left out.

        Raises:
            NotAuthenticated: as :func:`external_user`.
        """
        elsewhere = claims.get("_claim_names")  # OpenID Connect Core 5.6.2
        if isinstance(elsewhere, Mapping) and self.groups in elsewhere:
            log.warning(
                "The issuer %s leaves out the groups of a user, who is in too many of them: the user has none here. "
                "Have it send the groups that are assigned to the application only, or roles.",
                issuer,
            )
        groups = _texts(_claim(claims, self.groups))
        verified = claims.get("email_verified", True) in (True, "true")
        name = claims.get("name") or claims.get("preferred_username")
        return external_user(
            issuer,
            claims["sub"],
            email=_text(claims.get("email")) if verified else None,
            name=_text(name),
            groups=groups,
            admin_group=self.admin_group,
        )


def external_user(
    issuer: str, subject: str, *, email: str | None, name: str | None, groups: tuple[str, ...], admin_group: str | None
) -> External:
    """Return a user of another issuer, with the role that the groups give.

    A group with a name that is too long is left out: the beginning of its name may be another's.

    Raises:
        NotAuthenticated: the subject cannot be stored. Shortened or replaced in part, it may be another user's.
    """
    if not 0 < len(subject) <= _MAX_SUBJECT or not is_storable(subject):
        raise NotAuthenticated(
            f"The user's id must have 1 to {_MAX_SUBJECT} characters that can be stored.", code="token_invalid"
        )
    groups = tuple(group for group in groups if len(group) <= _MAX_LENGTH)
    role: UserRole | None = None
    if admin_group is not None:
        role = "administrator" if admin_group in groups else "user"
    return External(
        issuer=issuer,
        subject=subject,
        email=None if email is None else email[:_MAX_LENGTH],
        name=None if name is None else name[:_MAX_LENGTH],
        groups=groups[:_MAX_GROUPS],
        role=role,
    )


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return the claim that a path leads to, if there is one. A dot may be part of a name, such as a URL (Auth0)."""
    if path in claims:
        return claims[path]
    for dot in re.finditer(r"\.", path):
        inner = claims.get(path[: dot.start()])
        if isinstance(inner, Mapping) and (found := _claim(inner, path[dot.end() :])) is not None:
            return found
    return None


def _texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, or the names of an object's members (Zitadel's roles)."""
    values = [value] if isinstance(value, str) else value if isinstance(value, list | dict) else []
    return tuple(filter(None, map(_text, values)))


def _text(value: Any) -> str | None:
    # JSON can spell half of a surrogate pair, which is no text.
    return value.encode(errors="replace").decode() if isinstance(value, str) and value else None
