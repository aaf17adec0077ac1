"""Passwords of the bus's users, for servers that check them."""

import secrets

from parley.contracts.access.permissions import USERS


def random_passwords() -> dict[str, str]:
    """Return a new password for each user, by its name."""
    return {user.user: secrets.token_urlsafe(24) for user in USERS}
