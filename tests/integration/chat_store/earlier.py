"""An earlier chat-store, out of this repository's history."""

from __future__ import annotations

import subprocess
from pathlib import Path

from chat_store.storage import schema

ROOT = Path(__file__).parents[3]
_SOURCES = ("services/chat-store/src", "shared/src")
_MIGRATIONS = "services/chat-store/src/chat_store/storage/migrations"


class NoHistory(Exception):
    """There is no such commit here (a shallow clone, or no clone at all)."""


def previous() -> str:
    """The last commit but one that changed chat-store or what it shares.

    Raises:
        NoHistory
    """
    commits = _git("log", "-n", "2", "--format=%H", "--", *_SOURCES).split()
    if len(commits) < 2:
        raise NoHistory("no commit before the last one of chat-store")
    return commits[1]


def before_the_newest_migration() -> str:
    """The last commit without the newest migration.

    Raises:
        NoHistory
    """
    newest = schema.migrations()[-1]
    path = f"{_MIGRATIONS}/{newest.version:04d}_{newest.name}.sql"
    added = _git("log", "-n", "1", "--follow", "--diff-filter=A", "--format=%H", "--", path).strip()
    return _git("rev-parse", "--verify", "--quiet", f"{added}^" if added else "HEAD").strip()


def unpack(commit: str, folder: Path) -> str:
    """Unpack the sources of a commit and return the PYTHONPATH that leads to them.

    Raises:
        NoHistory
    """
    archive = folder / "sources.tar"
    _git("archive", f"--output={archive}", commit, *_SOURCES)
    subprocess.run(["tar", "--extract", f"--file={archive}", f"--directory={folder}"], check=True, timeout=60)
    return ":".join(str(folder / source) for source in _SOURCES)


def _git(*arguments: str) -> str:
    try:
        top = subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--show-toplevel"], capture_output=True, text=True, timeout=60
        )
        if top.returncode != 0 or Path(top.stdout.strip()).resolve() != ROOT.resolve():
            raise NoHistory("not a clone")
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise NoHistory("git is not installed") from None
    if done.returncode != 0:
        raise NoHistory(done.stderr.strip() or f"git {arguments[0]} found nothing")
    return done.stdout
