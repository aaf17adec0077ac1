"""The settings of how users sign in."""

import ipaddress
import os
import re
from typing import Final, Self

import jwt
from pydantic import Field, Secret, field_validator, model_validator

from parley.runtime.forwarded import TrustedProxies
from parley.runtime.settings import ServiceSettings

AUTH_MODES: Final = ("guest", "oidc", "jwt", "proxy", "api-key")
"""How users can sign in. API keys are accepted in every mode; `api-key` alone lets nobody in without one."""

_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")
_HEADER = re.compile(r"[A-Za-z0-9\-]+")
_PUBLIC_KEY_ALGORITHM = re.compile(r"(RS|PS|ES)(256|384|512)|EdDSA")

_BEFORE: Final = "GUESTS"
"""The name of the setting before there were modes. What it closed must not be open."""

_NEEDED: Final = {
    "oidc": ("oidc_issuer", "oidc_client_id"),
    "jwt": ("jwt_issuer", "jwt_audience"),
    "proxy": ("auth_proxy_networks",),
}


class SignInSettings(ServiceSettings):
    """``AUTH_MODES``, and what each of them needs."""

    host: str = Field("127.0.0.1", description="where it listens")
    auth_modes: str | None = Field(
        None,
        description="how users sign in, comma-separated: `guest` (anybody may start a session), `oidc` (with an OpenID "
        "provider), `jwt` (programs with tokens of another issuer), `proxy` (a proxy names the user), `api-key` "
        "(nobody without an API key or a session from before); must be set where HOST is not a loopback address, "
        "otherwise `guest`",
    )
    public_url: str = Field(
        "",
        description="origin of the page as browsers reach it, such as https://chat.example.com; unset: the Host of "
        "each request",
    )
    oidc_issuer: str = Field(
        "", description="the provider's issuer, to which /.well-known/openid-configuration is added"
    )
    oidc_client_id: str = Field("", description="the client that is registered with the provider")
    oidc_client_secret: Secret[str] | None = Field(None, description="its secret; unset: a public client")
    oidc_scopes: str = Field("openid profile email", description="scopes to ask for, separated by spaces")
    oidc_groups_claim: str = Field(
        "groups",
        description="claim with the user's groups, a list or an object with their names; a dot leads into an object",
    )
    oidc_admin_group: str | None = Field(
        None, description="group whose members are administrators, and nobody else; unset: sign-in changes no role"
    )
    oidc_name: str = Field("single sign-on", max_length=60, description="the provider, as the page names it")
    jwt_issuer: str = Field("", description="`iss` of the tokens")
    jwt_audience: str = Field("", description="`aud` of the tokens")
    jwt_jwks_url: str = Field("", description="where the issuer publishes its keys")
    jwt_key: Secret[str] | None = Field(
        None, description="instead of JWT_JWKS_URL: the issuer's public key (PEM), or its secret for HS256"
    )
    jwt_algorithms: str = Field("RS256", description="algorithms that tokens may be signed with, comma-separated")
    jwt_groups_claim: str = Field("groups", description="as OIDC_GROUPS_CLAIM")
    jwt_admin_group: str | None = Field(None, description="as OIDC_ADMIN_GROUP")
    auth_proxy_networks: str = Field(
        "", description="networks of the proxies whose user header is believed, comma-separated; never all addresses"
    )
    auth_proxy_user_header: str = Field("X-Forwarded-User", description="header with the user's name or id")
    auth_proxy_email_header: str = Field("X-Forwarded-Email", description="header with the user's e-mail address")
    auth_proxy_name_header: str = Field("X-Forwarded-Preferred-Username", description="header with the display name")
    auth_proxy_groups_header: str = Field(
        "X-Forwarded-Groups", description="header with the user's groups, comma-separated"
    )
    auth_proxy_admin_group: str | None = Field(None, description="as OIDC_ADMIN_GROUP")

    @field_validator("auth_modes")
    @classmethod
    def _are_modes(cls, value: str | None) -> str | None:
        for mode in split(value or ""):
            if mode not in AUTH_MODES:
                raise ValueError(f"{mode!r} is none of {', '.join(AUTH_MODES)}")
        return value

    @field_validator("oidc_issuer", "jwt_jwks_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value and _URL.fullmatch(value) is None:
            raise ValueError("must be a URL such as https://id.example.com")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_origin(cls, value: str) -> str:
        found = _URL.fullmatch(value)
        if value and (found is None or found[1] not in (None, "/")):
            raise ValueError("must be an origin such as https://chat.example.com; a path is BASE_PATH")
        return value.rstrip("/")

    @field_validator("auth_proxy_networks")
    @classmethod
    def _are_proxies(cls, value: str) -> str:
        TrustedProxies(value)
        return value

    @field_validator(
        "auth_proxy_user_header", "auth_proxy_email_header", "auth_proxy_name_header", "auth_proxy_groups_header"
    )
    @classmethod
    def _is_header(cls, value: str) -> str:
        if _HEADER.fullmatch(value) is None:
            raise ValueError("must be the name of a header")
        return value

    @model_validator(mode="after")
    def _sign_in_is_possible(self) -> Self:
        if self.auth_modes is None and os.environ.get(_BEFORE):
            raise ValueError(f"{_BEFORE} is no longer a setting: set AUTH_MODES to `guest` (true) or `api-key` (false)")
        if not self.modes:
            raise ValueError(
                f"AUTH_MODES must be set, as HOST is {self.host}: `guest` lets in everybody who reaches this address"
            )
        for mode, names in _NEEDED.items():
            for name in names:
                if mode in self.modes and not getattr(self, name):
                    raise ValueError(f"{name.upper()} must be set, as AUTH_MODES has `{mode}`")
                if mode not in self.modes and getattr(self, name):
                    raise ValueError(
                        f"{name.upper()} is set, but AUTH_MODES has no `{mode}`: add it, or unset {name.upper()}"
                    )
        if "jwt" in self.modes:
            self._check_jwt_key()
        return self

    def _check_jwt_key(self) -> None:
        if bool(self.jwt_jwks_url) == (self.jwt_key is not None):
            raise ValueError("one of JWT_JWKS_URL and JWT_KEY must be set, as AUTH_MODES has `jwt`")
        names = split(self.jwt_algorithms)
        if self.jwt_key is not None and names == ["HS256"]:
            if len(self.jwt_key.get_secret_value()) < 32:
                raise ValueError("JWT_KEY should have at least 32 characters for HS256")
        elif not names or not all(map(_PUBLIC_KEY_ALGORITHM.fullmatch, names)):
            # A public key is no secret: an issuer has one kind of key or the other.
            raise ValueError("JWT_ALGORITHMS must be algorithms such as RS256, or HS256 alone with a secret as JWT_KEY")
        elif self.jwt_key is not None and not any(_is_key(self.jwt_key.get_secret_value(), name) for name in names):
            raise ValueError(f"JWT_KEY is no public key (PEM) for {self.jwt_algorithms}")

    @property
    def modes(self) -> frozenset[str]:
        """``auth_modes`` as a set."""
        if self.auth_modes is None:
            return frozenset({"guest"}) if _is_loopback(self.host) else frozenset()
        return frozenset(split(self.auth_modes))


def split(value: str) -> list[str]:
    """Return the parts of a comma-separated list."""
    return [part.strip() for part in value.split(",") if part.strip()]


def _is_key(text: str, algorithm: str) -> bool:
    try:
        jwt.get_algorithm_by_name(algorithm).prepare_key(text)
    except (jwt.exceptions.InvalidKeyError, ValueError, TypeError):
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
