"""Files that only their owner can read."""

from __future__ import annotations

import os
from pathlib import Path


def write_private_file(file: Path, content: bytes) -> None:
    """Write ``content`` with mode 0600, and replace ``file`` in one step: a reader sees the old content or the new."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writer:
        writer.write(content)
    new.rename(file)
