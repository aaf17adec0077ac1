"""Sign-in with an OpenID provider: authorization code with PKCE (OpenID Connect Core 1.0, RFC 7636).

The browser has the state of a sign-in, signed, in a cookie that no script reads; the gateway stores nothing, so that
the callback may reach another replica.
"""

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import msgspec

from gateway.auth import logout_token
from gateway.auth.claims import ClaimNames
from gateway.auth.signing_keys import SIGNING_ALGORITHMS, PublishedKeys, fetch_json, tls_context, verify
from gateway.errors import GatewayError, NotAuthenticated, Unavailable
from gateway.sign_in_settings import SignInSettings
from parley.contracts.access.identity import EndProviderSessions, External
from parley.runtime.tokens import KeyRing, TokenInvalid

log = logging.getLogger(__name__)

SIGN_IN_SECONDS: Final = 600.0
"""Seconds that a user may take at the provider."""

_AS_IT_IS: Final = "!\"#$&'()*,/;<=>?@[\\]^`{|} "
"""What is not encoded in a client's id or secret, in addition to what never is: decoding leaves it as it is, and some
providers do not decode."""

_METADATA_SECONDS: Final = 3600.0
_TIMEOUT: Final = 10.0


class SignInFailed(Exception):
    """A sign-in ended without a user.

    Attributes:
        code: For the page: ``access_denied``, ``disabled``, ``expired``, ``unavailable`` or ``failed``.
        return_to: Where the page was.
    """

    def __init__(self, code: str, return_to: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.return_to = return_to


@dataclass(frozen=True)
class SignIn:
    """A user whom the provider named.

    Attributes:
        provider_session: The provider's own session (``sid``), by which it signs the user out; None: it names none.
    """

    external: External
    id_token: str
    return_to: str
    provider_session: str | None


_Url = Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/?#]")]


class ProviderMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What is used of a provider's metadata (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: _Url
    token_endpoint: _Url
    jwks_uri: _Url
    userinfo_endpoint: _Url | None = None
    end_session_endpoint: _Url | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)


class OidcProvider:
    """The provider of ``OIDC_ISSUER``. Its metadata and keys are fetched when they are first needed.

    Args:
        keys: Sign the state of a sign-in.
    """

    def __init__(self, settings: SignInSettings, keys: KeyRing) -> None:
        # Imported only with this mode (80 ms, 10 MB), and at start, so that the first sign-in does not wait for it.
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        self._client = AsyncOAuth2Client
        self._settings = settings
        self._keys = keys
        self._names = ClaimNames(settings.oidc_groups_claim, settings.oidc_admin_group)
        self._published = PublishedKeys(self._fetch_keys)
        self._metadata: ProviderMetadata | None = None
        self._metadata_at = 0.0
        self._used: dict[str, float] = {}

    async def begin(self, redirect_uri: str, return_to: str) -> tuple[str, str, str]:
        """Return the provider's address for a new sign-in, its state, and the same signed for the browser's cookie.

        Raises:
            Unavailable: the provider does not respond.
        """
        metadata = await self._read_metadata()
        state = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        async with self._client(
            client_id=self._settings.oidc_client_id,
            scope=self._settings.oidc_scopes,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            verify=tls_context(),
        ) as client:
            address, _ = client.create_authorization_url(
                metadata.authorization_endpoint,
                state=state["state"],
                code_verifier=state["verifier"],
                nonce=state["nonce"],
            )
        return address, state["state"], self._keys.sign_state({**state, "return_to": return_to}, SIGN_IN_SECONDS)

    async def complete(self, signed_state: str, query: Mapping[str, str], redirect_uri: str) -> SignIn:
        """Return the user whom the provider names to the browser that began the sign-in.

        Args:
            signed_state: The cookie's value.
            query: What the provider appended to ``redirect_uri``.

        Raises:
            SignInFailed
        """
        state = self._use_state(signed_state, query.get("state", ""))
        try:
            id_token, claims = await self._exchange(state, query, redirect_uri)
            external = self._names.external(claims["iss"], claims)
        except SignInFailed as failure:
            raise SignInFailed(failure.code, state["return_to"]) from failure
        except Unavailable as error:
            log.warning("A sign-in failed: %s", error.detail)
            raise SignInFailed("unavailable", state["return_to"]) from error
        except NotAuthenticated as error:
            log.warning("A sign-in was refused: %s", error.detail)
            raise SignInFailed("failed", state["return_to"]) from error
        return SignIn(external, id_token, state["return_to"], logout_token.session_of(claims))

    async def read_logout(self, token: str) -> EndProviderSessions:
        """Return the request of a logout token, by which the provider ends sessions.

        Raises:
            Malformed: the token is not valid.
            Unavailable: the provider's keys cannot be fetched.
        """
        metadata = await self._read_metadata()
        try:
            claims = await self._verify(token, metadata, logout_token.REQUIRED)
        except NotAuthenticated as error:
            raise logout_token.refused("its signature, issuer, audience or times are wrong") from error
        return logout_token.read(claims)

    def is_issuer(self, issuer: str) -> bool:
        """Return whether ``issuer`` is this provider."""
        return issuer.rstrip("/") == self._settings.oidc_issuer.rstrip("/")

    async def logout_url(self, return_to: str, id_token: str | None) -> str | None:
        """Return where the provider ends its own session; None when it has no such address, or does not respond.

        Args:
            id_token: A hint whom to sign out; without it the provider may ask the user.
        """
        try:
            endpoint = (await self._read_metadata()).end_session_endpoint
        except Unavailable:
            return None
        if not endpoint:
            return None
        query = {"client_id": self._settings.oidc_client_id, "post_logout_redirect_uri": return_to}
        if id_token is not None:
            query["id_token_hint"] = id_token
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def _use_state(self, signed_state: str, given: str) -> dict[str, str]:
        """Return the state of a sign-in that the browser began, once.

        Another replica accepts the same state again, but the provider refuses a code that was used.
        """
        try:
            state = self._keys.verify_state(signed_state)
        except TokenInvalid:
            raise SignInFailed("expired") from None
        now = time.monotonic()
        self._used = {used: ends for used, ends in self._used.items() if ends > now}
        if not hmac.compare_digest(given.encode(), state["state"].encode()) or given in self._used:
            raise SignInFailed("expired", state["return_to"])
        # Longer than the state is valid with the tolerated clock skew.
        self._used[given] = now + 2 * SIGN_IN_SECONDS
        return state

    async def _exchange(
        self, state: Mapping[str, str], query: Mapping[str, str], redirect_uri: str
    ) -> tuple[str, dict[str, Any]]:
        """Return the ID token for a code, and its claims with those of the user-info endpoint."""
        import httpx2
        from authlib.integrations.base_client.errors import OAuthError

        if "error" in query:
            log.warning("The identity provider refused a sign-in: %r", [query["error"], query.get("error_description")])
            raise SignInFailed("access_denied" if query["error"] == "access_denied" else "failed")
        metadata = await self._read_metadata()
        # RFC 9207: a response must not come from another provider.
        if query.get("iss", metadata.issuer) != metadata.issuer or not query.get("code"):
            raise SignInFailed("failed")
        try:
            # The client's own timeout applies to each read.
            async with asyncio.timeout(_TIMEOUT), self._authenticated_client(metadata) as client:
                token = await client.fetch_token(
                    metadata.token_endpoint,
                    grant_type="authorization_code",
                    code=query["code"],
                    code_verifier=state["verifier"],
                    redirect_uri=redirect_uri,
                )
                claims = await self._verify_id_token(token["id_token"], state["nonce"], metadata)
                if metadata.userinfo_endpoint is not None:
                    info = (await client.get(metadata.userinfo_endpoint)).raise_for_status().json()
                    # OpenID Connect Core 5.3.2: the claims must be of the same subject.
                    if info.get("sub") != claims["sub"]:
                        raise SignInFailed("failed")
                    claims = {**info, **claims}
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            raise Unavailable(f"The identity provider does not respond: {error!r}") from error
        except (OAuthError, GatewayError, KeyError, ValueError, AttributeError, TypeError, RecursionError) as error:
            if isinstance(error, Unavailable):
                raise
            log.warning("A sign-in was refused: %r", error.__cause__ or error)
            raise SignInFailed("failed") from error
        return token["id_token"], claims

    def _authenticated_client(self, metadata: ProviderMetadata) -> Any:
        client_id, secret = self._settings.oidc_client_id, self._settings.oidc_client_secret
        client_secret = None if secret is None else secret.get_secret_value()
        method = "none" if client_secret is None else "client_secret_post"
        if client_secret is not None and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            # RFC 6749, section 2.3.1, which Authlib leaves to its caller.
            method = "client_secret_basic"
            client_id, client_secret = quote(client_id, _AS_IT_IS), quote(client_secret, f"{_AS_IT_IS}:")
        return self._client(
            client_id=client_id,
            client_secret=client_secret,
            token_endpoint_auth_method=method,
            timeout=None,
            verify=tls_context(),
        )

    async def _verify(self, token: str, metadata: ProviderMetadata, required: Sequence[str]) -> dict[str, Any]:
        """Return the claims of a token that the provider signed for us. Raises: NotAuthenticated, Unavailable."""
        offered = metadata.id_token_signing_alg_values_supported
        return await verify(
            token,
            self._published,
            issuer=metadata.issuer,
            audience=self._settings.oidc_client_id,
            algorithms=[name for name in SIGNING_ALGORITHMS if name in offered],
            required=required,
        )

    async def _verify_id_token(self, id_token: str, nonce: str, metadata: ProviderMetadata) -> dict[str, Any]:
        """Return an ID token's claims. Raises: NotAuthenticated, Unavailable, SignInFailed."""
        claims = await self._verify(id_token, metadata, ("sub", "exp", "iat", "nonce"))
        authorized = claims.get("azp", self._settings.oidc_client_id) == self._settings.oidc_client_id
        if not authorized or not hmac.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
            raise SignInFailed("failed")
        return claims

    async def _fetch_keys(self) -> dict[str, Any]:
        return await fetch_json((await self._read_metadata()).jwks_uri)

    async def _read_metadata(self) -> ProviderMetadata:
        """Return the provider's metadata; the last known while it does not respond. Raises: Unavailable."""
        if self._metadata is not None and time.monotonic() - self._metadata_at < _METADATA_SECONDS:
            return self._metadata
        issuer = self._settings.oidc_issuer.rstrip("/")
        try:
            document = await fetch_json(f"{issuer}/.well-known/openid-configuration")
            metadata = msgspec.convert(document, ProviderMetadata)
            if metadata.issuer.rstrip("/") != issuer:
                raise Unavailable(f"The metadata of {issuer} are of another issuer: {metadata.issuer}.")
        except (Unavailable, msgspec.ValidationError) as error:
            log.warning("The metadata of the identity provider cannot be used: %s", error)
            if self._metadata is None:
                raise Unavailable("The identity provider does not respond as it should.") from error
            metadata = self._metadata
        self._metadata, self._metadata_at = metadata, time.monotonic()
        return metadata
