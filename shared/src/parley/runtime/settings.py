"""Settings that all services share, read from the environment. Secrets have no default."""

import os
import re
import sys
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from parley.contracts.access.models import ModelCatalog
from parley.contracts.access.models import parse as parse_models
from parley.runtime.server_urls import check_server_url


class EnvironmentSettings(BaseSettings):
    """Settings from the environment, or from files.

    A setting may also come from a file of its name in the folder that ``SECRETS_DIR`` names, as containers are given
    their secrets; the environment goes before. An empty variable is one that is not set.
    """

    model_config = SettingsConfigDict(
        env_file=None, env_ignore_empty=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folder = os.environ.get("SECRETS_DIR")
        if not folder:
            return init_settings, env_settings
        if not Path(folder).is_dir():
            raise SettingsError("there is no such folder")
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, secrets_dir=folder)


class ServiceSettings(EnvironmentSettings):
    """Base of each service's settings; ``NATS_URL`` in the environment sets ``nats_url``, and so on."""

    nats_url: str = Field(description="NATS servers, comma-separated; may carry user and password")
    health_host: str = Field("127.0.0.1", description="where /healthz, /readyz and /metrics listen")
    health_port: int | None = Field(None, description="port of the health server; none when unset", ge=0, le=65535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="the least that is logged")
    log_format: Literal["console", "json"] = Field("console", description="`console` for people, or `json`")

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _in_any_case(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        return value.upper() if info.field_name == "log_level" else value.lower()

    @field_validator("nats_url")
    @classmethod
    def _is_nats_url(cls, value: str) -> str:
        return check_server_url("NATS_URL", value)

    @field_validator("database_url", check_fields=False)
    @classmethod
    def _is_database_url(cls, value: str) -> str:
        return check_server_url("DATABASE_URL", value)

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        # Port 0 is whichever is free.
        if self.health_port and self.health_port == getattr(self, "port", None):
            raise ValueError(f"HEALTH_PORT and PORT are both {self.health_port}: choose another HEALTH_PORT")
        return self


class MigratedServiceSettings(ServiceSettings):
    """Settings of a service that needs what `migrate` makes."""

    migration_wait: float = Field(
        0.0, ge=0, description="seconds to wait, not ready, for a `migrate` that has not ended; then the process ends"
    )


class ModelSettings(MigratedServiceSettings):
    """Settings of a service that needs the list of allowed models."""

    models: str = Field(
        "",
        description="the models that may be used: a JSON list, or a file with one (see below); "
        "unset: what the provider offers",
    )

    @field_validator("models")
    @classmethod
    def _is_catalog(cls, value: str) -> str:
        if value:
            parse_models(read_json(value))
        return value

    @property
    def catalog(self) -> ModelCatalog:
        return parse_models(read_json(self.models)) if self.models else ModelCatalog()


def read_json(value: str) -> bytes:
    """Return the JSON of a setting that is JSON itself, or names a file.

    Raises:
        ValueError: there is no such file.
    """
    if value.lstrip().startswith(("[", "{")):
        return value.encode()
    try:
        return Path(value).read_bytes()
    except OSError as error:
        raise ValueError(f"is neither JSON nor a file that can be read: {error.strerror}") from error


Settings = TypeVar("Settings", bound=ServiceSettings)


def read(kind: type[Settings], service: str) -> Settings:
    """Read the settings from the environment.

    Raises:
        SystemExit: With code 2: some are missing or wrong; each was named on the standard error.
    """
    try:
        return kind()  # type: ignore[call-arg]  # from the environment
    except SettingsError as error:
        print(f"{service}: {': '.join(unreadable(error))}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper()
            # What concerns several settings has no name of its own, and names them itself.
            print(f"{service}: {name + ': ' if name else ''}{reason(problem)}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None


def unreadable(error: SettingsError) -> tuple[str, str]:
    """Return the name of the setting that could not be read at all, and what is wrong with it."""
    field = re.search(r'error parsing value for field "(\w+)"', str(error))
    if field is not None:
        return field[1].upper(), "must be JSON" + (f": {error.__cause__}" if error.__cause__ else "")
    return "SECRETS_DIR", f"{os.environ.get('SECRETS_DIR', '')} cannot be read: {error.__cause__ or error}"


def reason(problem: ErrorDetails) -> str:
    """What is wrong with a setting, without the word that pydantic puts before it."""
    return problem["msg"].removeprefix("Value error, ")


def check_base_path(path: str) -> str:
    """Return the path that a server is reached below, without a slash at its end; empty: none.

    Raises:
        ValueError: it is not such a path.
    """
    path = path.rstrip("/")
    if path and re.fullmatch(r"(/[\w.~\-]+)+", path, re.ASCII) is None:
        raise ValueError("must be a path such as /chat")
    return path


def below(base_path: str, path: str) -> str:
    """Return ``path`` without the base, if a proxy passed it on."""
    if base_path and (path == base_path or path.startswith(f"{base_path}/")):
        return path[len(base_path) :] or "/"
    return path
