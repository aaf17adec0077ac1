"""Users whom a proxy in front of the gateway names by headers (``AUTH_MODES=proxy``)."""

import contextlib
import hashlib
from typing import Final

from starlette.requests import Request

from gateway.auth.claims import external_user
from gateway.auth.identities import Identities
from gateway.sign_in_settings import SignInSettings, split
from parley.contracts.access.identity import External, Principal
from parley.runtime.forwarded import TrustedProxies

ISSUER: Final = "proxy"


class ProxyUsers:
    """Accepts the user header of requests whose connection comes from the proxy's own address."""

    def __init__(self, settings: SignInSettings, identities: Identities) -> None:
        self._identities = identities
        self._networks = TrustedProxies(settings.auth_proxy_networks)
        self._headers = (
            settings.auth_proxy_user_header,
            settings.auth_proxy_email_header,
            settings.auth_proxy_name_header,
            settings.auth_proxy_groups_header,
        )
        self._admin_group = settings.auth_proxy_admin_group

    def external(self, request: Request) -> External | None:
        """Return the user whom the proxy names; None: it names nobody, or the request does not come from it.

        Raises:
            NotAuthenticated: as :func:`external_user`.
        """
        subject, email, name, groups = (_text(request, header) for header in self._headers)
        if subject is None or not self._networks.trusts(request.state.peer):
            return None
        return external_user(
            ISSUER,
            subject,
            email=email,
            name=name,
            groups=tuple(split(groups or "")),
            admin_group=self._admin_group,
        )

    async def find(self, external: External) -> Principal:
        """Return the user, who is created at the first request. Raises as :meth:`Identities.by_external`."""
        key = f"proxy {hashlib.sha256(repr(external).encode()).hexdigest()}"
        return await self._identities.by_external(key, external, None)


def _text(request: Request, header: str) -> str | None:
    values = request.headers.getlist(header)
    if len(values) != 1:
        return None  # a second one may be the client's
    # Starlette decodes headers as Latin-1; proxies send names as UTF-8, and some as Latin-1. Replacement characters
    # would make one user of two.
    value = values[0]
    with contextlib.suppress(UnicodeDecodeError):
        value = value.encode("latin-1").decode()
    return value.strip() or None
