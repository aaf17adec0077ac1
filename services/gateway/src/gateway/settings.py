"""The gateway's settings, read from the environment."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from gateway.sign_in_settings import SignInSettings, split
from parley.contracts.limits import MAX_MODEL_LENGTH
from parley.runtime.forwarded import TrustedProxies
from parley.runtime.key_settings import KeySettings
from parley.runtime.settings import ModelSettings, check_base_path
from parley.runtime.tokens import EARLIER_COOKIE, cookie_name

_ORIGIN = re.compile(r"https?://[a-z0-9.\-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?")
_TEN_YEARS = 10 * 365 * 86400
_SOCKET_URL = re.compile(r"wss?://[^\s;,'\"]+")


class Settings(ModelSettings, KeySettings, SignInSettings):
    """Settings of one gateway process. Rates are per process: three replicas admit three times as much."""

    port: int = Field(8000, ge=0, le=65535, description="shared by all replicas on this machine (SO_REUSEPORT)")
    session_seconds: float = Field(30 * 86400, gt=0, le=_TEN_YEARS, description="how long a session lasts unused")
    session_max_seconds: float = Field(180 * 86400, gt=0, le=_TEN_YEARS, description="how long a session lasts at most")
    access_token_seconds: float = Field(600, ge=10, le=_TEN_YEARS, description="how long an access token is good")
    base_path: str = Field("", description="path prefix, such as /chat; the proxy may pass it on or strip it")
    cookie_name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_\-]{1,64}$",
        description="name of the session's cookie; unset: derived from SECRET_KEY (else from the first of "
        "SECRET_KEYS), so that two installations differ",
    )
    demo: bool = Field(False, description="whether the demo model answers; the page shows it")
    model: str | None = Field(None, max_length=MAX_MODEL_LENGTH, description="default model, shown by the page")
    web_dist: Path | None = Field(None, description="folder of the built page")
    push_url: str = Field("ws://127.0.0.1:8001/ws", description="push, as the gateway reaches it")
    public_push_url: str | None = Field(
        None,
        description="push, as browsers reach it: ws://…, wss://…, or a path on the page's own origin; "
        "unset: the page's host at the port of PUSH_URL",
    )
    allowed_origins: str = Field(
        "", description="origins of other pages that may use the interface (CORS), comma-separated"
    )
    trusted_proxies: str = Field(
        "",
        description="networks of the proxies whose X-Forwarded-For (counted from the right) and X-Forwarded-Proto are "
        "believed, comma-separated; never all addresses",
    )
    max_connections: int = Field(4096, ge=8, description="connections at once; a new one replaces an idle one")
    max_connections_per_address: int = Field(
        512, ge=1, description="connections at once from one address (IPv6: one /64) that is no trusted proxy"
    )
    head_seconds: float = Field(10, gt=0, description="how long the head of a request may take")
    keep_alive_seconds: float = Field(
        75, gt=0, description="how long a connection may wait for its next request; longer than the proxy's own"
    )
    write_seconds: float = Field(60, gt=0, description="how long to wait for a client that does not read")
    writes_per_second: float = Field(50, ge=0, description="writes of one user, sustained; 0: no limit")
    writes_burst: int = Field(300, ge=1, description="writes of one user at once, before the rate counts")
    requests_per_second: float = Field(
        0, ge=0, description="requests of one user, reads and writes, sustained; 0: no limit"
    )
    requests_burst: int = Field(200, ge=1, description="requests of one user at once, before the rate counts")
    requests_per_second_per_address: float = Field(
        0, ge=0, description="requests from one address (IPv6: one /64), signed in or not, sustained; 0: no limit"
    )
    requests_burst_per_address: int = Field(
        500, ge=1, description="requests from one address at once, before the rate counts"
    )
    guests_per_second: float = Field(20, ge=0, description="new guests from one address, sustained; 0: no limit")
    guests_burst: int = Field(1000, ge=1, description="new guests from one address at once, before the rate counts")
    share_links: Literal["off", "members", "public"] = Field(
        "members", description="who may read a chat by a link: `off` nobody, `members` who has a session, `public` all"
    )
    shared_per_second: float = Field(5, ge=0, description="reads by links from one address, sustained; 0: no limit")
    shared_burst: int = Field(100, ge=1, description="reads by links from one address at once, before the rate counts")
    publish_seconds: float = Field(5, gt=0, description="how long a send waits for its acknowledgement before 503")
    rpc_seconds: float = Field(3, gt=0, description="how long a request waits for another service before 503")
    shutdown_seconds: int = Field(10, ge=1, description="how long requests in flight may go on after SIGTERM")

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in split(value):
            if _ORIGIN.fullmatch(origin) is None:
                raise ValueError(f"{origin!r} is not an origin such as https://chat.example.com")
        return value

    @field_validator("base_path")
    @classmethod
    def _is_path(cls, value: str) -> str:
        return check_base_path(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        TrustedProxies(value)
        return value

    @field_validator("push_url")
    @classmethod
    def _is_socket_url(cls, value: str) -> str:
        if _SOCKET_URL.fullmatch(value) is None:
            raise ValueError("must begin with ws:// or wss://")
        return value

    @field_validator("public_push_url")
    @classmethod
    def _is_socket_url_or_path(cls, value: str | None) -> str | None:
        if value is not None and _SOCKET_URL.fullmatch(value) is None and not re.fullmatch(r"/[\w./\-]*", value):
            raise ValueError("must begin with ws:// or wss://, or be a path")
        return value or None

    @property
    def cookie_names(self) -> tuple[str, ...]:
        """The names under which the session's cookie is read, in this order; it is set under the first.

        A cookie from before a key was replaced has the old key's name, unless ``SECRET_KEY`` stays as it was.
        """
        keys = self.keys if self.secret_key is None else (self.secret_key.get_secret_value(), *self.keys)
        first = () if self.cookie_name is None else (self.cookie_name,)
        return tuple(dict.fromkeys((*first, *map(cookie_name, keys), EARLIER_COOKIE)))

    @property
    def origins(self) -> frozenset[str]:
        """``allowed_origins`` as a set."""
        return frozenset(split(self.allowed_origins))

    @property
    def proxies(self) -> TrustedProxies:
        """``trusted_proxies``, read."""
        return TrustedProxies(self.trusted_proxies)
