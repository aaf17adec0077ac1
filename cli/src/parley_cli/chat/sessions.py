"""The terminal's sessions, one per server, so that a chat can be gone on with later."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from parley_cli.private_file import write_private_file


class Sessions:
    """Access tokens by server, in a file that only its owner can read."""

    def __init__(self, file: Path | None = None) -> None:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        self._file = file or state / "parley" / "sessions.json"

    def get(self, url: str) -> str | None:
        return self._all().get(url)

    def set(self, url: str, access_token: str) -> None:
        """Remember a token."""
        sessions = self._all() | {url: access_token}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_private_file(self._file, msgspec.json.encode(sessions))

    def _all(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError):
            return {}
