"""The stack's own passwords and keys, made once and kept in its data folder."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

import msgspec

from parley.contracts.permissions import USERS
from parley_cli.embedded.errors import UnusableFolder


class Secrets(msgspec.Struct, frozen=True):
    secret_key: str
    nats_secret: str
    postgres_password: str

    @property
    def nats_passwords(self) -> dict[str, str]:
        """By user. Derived, so that a user of a later version has one too."""
        secret = self.nats_secret.encode()
        return {user.user: hmac.new(secret, user.user.encode(), "sha256").hexdigest() for user in USERS}


def load_secrets(folder: Path) -> Secrets:
    """Return the secrets of ``folder``; make them when there are none. Readable only by their owner.

    Raises:
        UnusableFolder
    """
    file = folder / "secrets.json"
    try:
        if file.exists():
            return msgspec.json.decode(file.read_bytes(), type=Secrets)
    except OSError as error:
        raise UnusableFolder(folder, error) from error
    except msgspec.DecodeError as error:
        # Not made anew: the data beside it can be opened with the old ones only.
        raise UnusableFolder(folder, f"{file} is damaged ({error})") from error
    made = Secrets(secrets.token_urlsafe(48), secrets.token_urlsafe(24), secrets.token_urlsafe(24))
    _write(file, made)
    return made


def keep_secret_key(folder: Path, secret_key: str) -> None:
    """Sign the sessions of ``folder`` with the key of an earlier stack, so that they stay good."""
    _write(folder / "secrets.json", msgspec.structs.replace(load_secrets(folder), secret_key=secret_key))


def _write(file: Path, made: Secrets) -> None:
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writer:
        writer.write(msgspec.json.encode(made))
    new.rename(file)
