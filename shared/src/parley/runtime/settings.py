"""Settings that all services share, read from the environment. Secrets have no default."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Base of each service's settings; ``NATS_URL`` in the environment sets ``nats_url``, and so on."""

    model_config = SettingsConfigDict(env_file=None, extra="ignore", frozen=True)

    nats_url: str = Field(description="NATS servers, comma-separated; may carry user and password")
    health_host: str = Field("127.0.0.1", description="where /healthz, /readyz and /metrics listen")
    health_port: int | None = Field(None, description="port of the health server; none when unset", ge=0, le=65535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"
