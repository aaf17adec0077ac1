"""What the claims of an identity provider state about a user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from parley.contracts.access.identity import External, UserRole

_MAX_GROUPS: Final = 200
_MAX_LENGTH: Final = 320
"""Of a name, an e-mail address or a group: the longest e-mail address that there is (RFC 5321)."""


@dataclass(frozen=True)
class ClaimNames:
    """Where an issuer's claims have what is not standardized.

    Attributes:
        groups: Claim with a list of groups or roles; a dot leads into an object, as in ``realm_access.roles``.
        admin_group: Who is in this group is an administrator, and who is not is none; None: claims change no role.
    """

    groups: str
    admin_group: str | None

    def external(self, issuer: str, claims: Mapping[str, Any]) -> External:
        """Return the user whom ``claims`` name. An address that the provider did not verify is left out."""
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
    """Return a user of another issuer, with the role that the groups give."""
    role = None if admin_group is None else _role(groups, admin_group)
    return External(issuer=issuer, subject=subject, email=email, name=name, groups=groups, role=role)


def _role(groups: tuple[str, ...], admin_group: str) -> UserRole:
    return "administrator" if admin_group in groups else "user"


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    # A claim's name may be a URL (Auth0), dots included.
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _texts(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(filter(None, map(_text, values)))[:_MAX_GROUPS]


def _text(value: Any) -> str | None:
    return value[:_MAX_LENGTH] if isinstance(value, str) and value else None
