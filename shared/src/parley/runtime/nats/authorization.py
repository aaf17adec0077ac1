"""nats-server's configuration of users and permissions, rendered from :mod:`parley.contracts.access.permissions`."""

import json
from collections.abc import Mapping

from parley.contracts.access.permissions import USERS, UserPermissions

REPLY_SECONDS = 60
"""How long a request may be answered; no requester waits longer."""

_HEAD = """\
# Who may publish and subscribe what. Rendered from parley.contracts.access.permissions; do not edit.
"""


def render(passwords: Mapping[str, str] | None = None) -> str:
    """Return the ``authorization`` block of a nats-server configuration.

    Args:
        passwords: By user's name. None: the server takes each from an environment variable when it starts, such as
            ``GATEWAY_NATS_PASSWORD``. It reads the value as it reads configuration: begin it with a letter and use
            letters and digits only, or a password like ``12345`` or ``5m`` is a number and refused.

    Raises:
        KeyError: a user has no password.
    """
    users = ",\n".join(_user(user, passwords) for user in USERS)
    return f"{_HEAD}authorization {{\n  users: [\n{users}\n  ]\n}}\n"


def _user(user: UserPermissions, passwords: Mapping[str, str] | None) -> str:
    password = f"${user.password_variable}" if passwords is None else json.dumps(passwords[user.user])
    lines = [
        "    {",
        f"      user: {json.dumps(user.user)}",
        f"      password: {password}",
        "      permissions: {",
        f"        publish: {{ allow: {_subjects(user.publish)} }}",
        f"        subscribe: {{ allow: {_subjects(user.all_subscribe)} }}",
    ]
    if user.replies:
        lines.append(f'        allow_responses: {{ max: 1, expires: "{REPLY_SECONDS}s" }}')
    lines += ["      }", "    }"]
    return "\n".join(lines)


def _subjects(subjects: tuple[str, ...]) -> str:
    listed = "\n".join(f"          {json.dumps(subject)}" for subject in subjects)
    return f"[\n{listed}\n        ]"
