"""The settings of the services that sign or verify tokens."""

from typing import Annotated

from pydantic import Field, Secret, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from parley.runtime.settings import ServiceSettings
from parley.runtime.tokens import EARLIER_COOKIE, MIN_KEY_BYTES, KeyRing, cookie_name


class KeySettings(ServiceSettings):
    """``SECRET_KEY``, or several ``SECRET_KEYS`` while a key is replaced, and the name of the session's cookie."""

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
    cookie_name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_\-]{1,64}$",
        description="name of the session's cookie; unset: derived from SECRET_KEY (else from the first of "
        "SECRET_KEYS), so that two installations differ",
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

    @property
    def cookie_names(self) -> tuple[str, ...]:
        """The names under which the session's cookie is read, in this order; it is set under the first.

        A cookie from before a key was replaced has the old key's name, unless ``SECRET_KEY`` stays as it was.
        """
        keys = self.keys if self.secret_key is None else (self.secret_key.get_secret_value(), *self.keys)
        first = () if self.cookie_name is None else (self.cookie_name,)
        return tuple(dict.fromkeys((*first, *map(cookie_name, keys), EARLIER_COOKIE)))


def _split(keys: Secret[str]) -> tuple[str, ...]:
    return tuple(key.strip() for key in keys.get_secret_value().split(","))
