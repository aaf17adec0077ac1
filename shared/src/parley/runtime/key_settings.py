"""The settings of the services that sign or verify tokens."""

from typing import Annotated

from pydantic import Field, Secret, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from parley.runtime.settings import ServiceSettings
from parley.runtime.tokens import MIN_KEY_BYTES, KeyRing


class KeySettings(ServiceSettings):
    """``SECRET_KEY``, or several ``SECRET_KEYS`` while a key is replaced."""

    secret_keys: Secret[str] | None = Field(
        None,
        description="keys instead of SECRET_KEY while a key is replaced, comma-separated: the first signs, all verify",
    )
    # After SECRET_KEYS: it must be set unless they are.
    secret_key: Secret[Annotated[str, Field(min_length=MIN_KEY_BYTES)]] | None = Field(
        None,
        validate_default=True,
        description="signs access tokens and push tickets, the same for gateway and push; must be set unless "
        "SECRET_KEYS is",
    )

    @field_validator("secret_keys")
    @classmethod
    def _are_keys(cls, value: Secret[str] | None) -> Secret[str] | None:
        if value is not None:
            for number, key in enumerate(_split(value), 1):
                if len(key) < MIN_KEY_BYTES:
                    raise ValueError(f"key {number} should have at least {MIN_KEY_BYTES} characters")
        return value

    @field_validator("secret_key")
    @classmethod
    def _is_there(cls, value: Secret[str] | None, info: ValidationInfo) -> Secret[str] | None:
        # Keys that are wrong are not there, and reported by themselves.
        if value is None and info.data.get("secret_keys", True) is None:
            raise PydanticCustomError("missing", "Field required")
        return value

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys: the first signs, all verify."""
        if self.secret_keys is not None:
            return _split(self.secret_keys)
        assert self.secret_key is not None
        return (self.secret_key.get_secret_value(),)

    @property
    def key_ring(self) -> KeyRing:
        return KeyRing(self.keys)


def _split(keys: Secret[str]) -> tuple[str, ...]:
    return tuple(key.strip() for key in keys.get_secret_value().split(","))
