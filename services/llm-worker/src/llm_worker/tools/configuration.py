"""The tool servers of the setting ``MCP_SERVERS``. No I/O."""

import fnmatch
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

_Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,31}\Z")]
_Seconds = Annotated[float, Meta(gt=0, le=3600)]


class ToolServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of ``MCP_SERVERS``.

    Attributes:
        name: Shown to users with each call.
        url: Its address, for streamable HTTP.
        command: Instead of ``url``: program and arguments of a server that the worker starts, for stdio.
        headers: Of each HTTP request. Credentials; never logged.
        env: Of the program, in addition to ``PATH``, ``HOME`` and the like. Credentials; never logged.
        models: The models that get its tools: names or patterns.
        tools: The tools that are offered: names or patterns.
        approval: The tools whose calls wait for the user: ``never``, ``always``, or names and patterns.
        timeout: Seconds of one call.
        approval_timeout: Seconds after which a call that nobody approved is denied.
        max_result_bytes: Of one result, in UTF-8; the rest is cut off.
    """

    name: _Name
    url: str | None = None
    command: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    env: dict[str, str] = {}
    models: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)
    approval: Literal["never", "always"] | tuple[str, ...] = "never"
    timeout: _Seconds = 60.0
    approval_timeout: _Seconds = 600.0
    max_result_bytes: Annotated[int, Meta(ge=1, le=256 * 1024)] = 32 * 1024

    def __post_init__(self) -> None:
        if (self.url is None) == (not self.command):
            raise ValueError(f"{self.name}: give either url or command")
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or parts.hostname is None:
                raise ValueError(f"{self.name}: url must begin with http:// or https:// and name a host")

    def __repr__(self) -> str:
        return f"ToolServer({self.name})"

    def is_for(self, model: str) -> bool:
        """Whether a model gets its tools."""
        return _matches(model, self.models)

    def offers(self, tool: str) -> bool:
        """Whether one of its tools is offered."""
        return _matches(tool, self.tools)

    def needs_approval(self, tool: str) -> bool:
        """Whether calls of a tool wait for the user."""
        if isinstance(self.approval, str):
            return self.approval == "always"
        return _matches(tool, self.approval)


def parse(value: bytes) -> tuple[ToolServer, ...]:
    """Decode the setting.

    Raises:
        ValueError: it is not such a list; the message contains no value of it.
    """
    try:
        servers = msgspec.json.decode(value, type=tuple[ToolServer, ...])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"is not a list of tool servers: {error}") from None
    names = [server.name for server in servers]
    if len(set(names)) < len(names):
        raise ValueError("two tool servers have one name")
    return servers


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
