"""The terminal's sessions, one per server, so that a chat can be continued later."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from parley.runtime.tokens import EARLIER_COOKIE
from parley_cli.private_file import write_private_file


class Sessions:
    """The sessions' cookies by server, in a file that only its owner can read."""

    def __init__(self, file: Path | None = None) -> None:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        self._file = file or state / "parley" / "sessions.json"

    def get(self, url: str) -> dict[str, str]:
        """Return the cookies of the session at a server; none: there is no session."""
        stored = self._all().get(url, "")
        if stored and "=" not in stored:
            # An earlier version stored the session's token, which was also the cookie's value.
            return {EARLIER_COOKIE: stored}
        return dict(part.split("=", 1) for part in stored.split("; ") if part)

    def set(self, url: str, cookies: Mapping[str, str]) -> None:
        """Store the cookies of a session."""
        sessions = self._all() | {url: "; ".join(f"{name}={value}" for name, value in cookies.items())}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_private_file(self._file, msgspec.json.encode(sessions))

    def _all(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError):
            return {}
