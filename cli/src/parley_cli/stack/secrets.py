"""The passwords and keys of a stack, created once and stored in its data folder."""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

import msgspec

from parley.contracts.access.permissions import USERS
from parley_cli.embedded.errors import UnusableFolder
from parley_cli.private_file import write_private_file


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
    """Return the secrets of ``folder``, which are created if there are none. Only the owner can read them.

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
        # Not replaced: the existing data can be used with the old secrets only.
        raise UnusableFolder(folder, f"{file} is damaged ({error})") from error
    made = Secrets(secrets.token_urlsafe(48), secrets.token_urlsafe(24), secrets.token_urlsafe(24))
    write_private_file(file, msgspec.json.encode(made))
    return made


def keep_secret_key(folder: Path, secret_key: str) -> None:
    """Store the key of an earlier stack, so that its sessions stay valid."""
    changed = msgspec.structs.replace(load_secrets(folder), secret_key=secret_key)
    write_private_file(folder / "secrets.json", msgspec.json.encode(changed))
