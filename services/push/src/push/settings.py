"""Settings of push, read from the environment."""

from pydantic import Field, field_validator

from parley.runtime.forwarded import TrustedProxies
from parley.runtime.key_settings import KeySettings
from parley.runtime.settings import check_base_path


class Settings(KeySettings):
    """``HOST`` in the environment sets ``host``, and so on."""

    host: str = Field("127.0.0.1", description="where the websocket server listens")
    port: int = Field(8001, description="its port; several push processes may share it", ge=0, le=65535)
    base_path: str = Field("", description="path that the websocket is reached below, such as /chat")
    allowed_origins: str = Field(
        "",
        description="origins of other pages that may connect, comma-separated, or *; pages from the same host name "
        "always may, and when empty: those from this machine",
    )
    trusted_proxies: str = Field(
        "127.0.0.1, ::1",
        description="networks of the proxies whose X-Forwarded-For (counted from the right) says for whom a socket is "
        "counted, and of the gateways, comma-separated; never all addresses",
    )
    max_sockets: int = Field(20_000, description="sockets of one push process", ge=1)
    max_sockets_per_address: int = Field(1000, description="sockets of one address on one push process", ge=1)
    max_sockets_per_user: int = Field(50, description="sockets of one user on one push process", ge=1)
    max_chats_per_user: int = Field(500, description="chats that the sockets of one user may watch together", ge=1)
    max_chats_per_socket: int = Field(100, description="chats that one socket may watch", ge=1)
    max_frame_bytes: int = Field(16 * 1024, description="size of a client's frame", ge=1024)
    frames_per_second: float = Field(20.0, description="frames of a client, sustained", gt=0)
    frames_burst: int = Field(250, description="frames of a client at once", ge=10)
    auth_timeout: float = Field(10.0, description="seconds until a socket must have authenticated", gt=0)
    ping_interval: float = Field(20.0, description="seconds between pings; two unanswered ones end the socket", gt=0)
    silence_seconds: float = Field(
        5.0, description="silence of a running answer after which chat-store and the worker are asked", gt=0
    )
    check_seconds: float = Field(15.0, description="how often the versions of all chats are compared", gt=0)
    drain_seconds: float = Field(10.0, description="seconds from SIGTERM to the end", gt=0)

    @field_validator("base_path")
    @classmethod
    def _is_path(cls, path: str) -> str:
        return check_base_path(path)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: str) -> str:
        TrustedProxies(networks)
        return networks
