"""Settings of llm-worker, read from the environment."""

import fnmatch
import shutil
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from llm_worker.tools.configuration import ToolServer
from llm_worker.tools.configuration import parse as parse_tool_servers
from parley.runtime.settings import MigratedServiceSettings, read_json


class WorkerSettings(MigratedServiceSettings):
    """Times are seconds."""

    openai_base_url: str | None = Field(None, description="an OpenAI-compatible API; OpenAI's own when unset")
    openai_api_key: SecretStr | None = Field(None, description="may be unset for a server that requires none")
    model: str | None = Field(None, description="model of a chat that names none")
    any_model: bool = Field(False, description="ask for any model that a chat names, not only for those listed")
    keep_think_tag: str = Field(
        "", description="models whose leading <think> is text and not reasoning: names or patterns, comma-separated"
    )
    mcp_servers: SecretStr | None = Field(
        None,
        description="tool servers (MCP) whose tools the models get: a JSON list, or a file with one (see below)",
    )
    mcp_rounds: int = Field(8, ge=1, le=100, description="how often one answer may call those tools in a row")
    max_generations: int = Field(256, ge=1, description="answers that one process generates at once")
    context_tokens: int = Field(100_000, ge=256, description="budget of a conversation, estimated at 4 bytes a token")
    connect_timeout: float = Field(10.0, gt=0, description="to connect to the provider")
    first_token_timeout: float = Field(120.0, gt=0, description="from the request to the first token")
    token_timeout: float = Field(60.0, gt=0, description="between tokens")
    retry_time: float = Field(60.0, ge=0, description="how long to retry before the first token")
    shutdown_grace: float = Field(10.0, ge=0, description="how long running answers may go on after SIGTERM")

    @field_validator("openai_base_url", "openai_api_key", "model", "mcp_servers", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return value.strip() or None if isinstance(value, str) else value

    @field_validator("openai_base_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.lower().startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        if urlsplit(value).hostname is None:
            raise ValueError("names no host")
        urlsplit(value).port  # noqa: B018  # raises ValueError
        return value

    @field_validator("openai_api_key")
    @classmethod
    def _fits_into_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not (value.get_secret_value().isascii() and value.get_secret_value().isprintable()):
            raise ValueError("has characters that a header cannot carry")
        return value

    @field_validator("nats_url")
    @classmethod
    def _is_tcp(cls, value: str) -> str:
        if any(url.strip().lower().startswith(("ws://", "wss://")) for url in value.split(",")):
            raise ValueError(
                "must begin with nats:// or tls://: llm-worker publishes tokens over TCP, not over a websocket"
            )
        return value

    @field_validator("mcp_servers")
    @classmethod
    def _are_tool_servers(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            for server in parse_tool_servers(read_json(value.get_secret_value())):
                if server.command and shutil.which(server.command[0], path=server.env.get("PATH")) is None:
                    raise ValueError(f"{server.name}: there is no program {server.command[0]} here")
        return value

    @property
    def tool_servers(self) -> tuple[ToolServer, ...]:
        """``mcp_servers``, read."""
        if self.mcp_servers is None:
            return ()
        return parse_tool_servers(read_json(self.mcp_servers.get_secret_value()))

    def keeps_think_tag(self, model: str) -> bool:
        """Whether a leading ``<think>`` of this model is text."""
        patterns = (pattern.strip() for pattern in self.keep_think_tag.split(","))
        return any(fnmatch.fnmatchcase(model, pattern) for pattern in patterns if pattern)
