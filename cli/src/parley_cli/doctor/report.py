"""The findings of a check."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Level = Literal["ok", "note", "problem"]


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename={"fix": "remedy"}):
    """The result of one check, as ``--json`` prints it.

    Attributes:
        about: The part that was checked: ``settings``, ``nats``, ``postgres``, …
        level: ``note``: information; nothing is broken.
        text: What was found.
        fix: What to do; may be empty. ``remedy`` in JSON.
    """

    about: str
    level: Level
    text: str
    fix: str = ""


class Report:
    """The findings of one check, in order.

    Attributes:
        made: Whether Parley's schema or streams exist on this server; None: unknown.
    """

    def __init__(self, about: str) -> None:
        self._about = about
        self.findings: list[Finding] = []
        self.made: bool | None = None
        self._when_new: list[Finding] = []
        self._otherwise: list[Finding] = []

    def empty(self, text: str, fix: str, *, otherwise: Iterable[tuple[str, str]]) -> None:
        """The server is empty: a note on a new installation, on any other one the problems ``otherwise``."""
        self.made = False
        self._when_new = [Finding(about=self._about, level="note", text=text, fix=fix)]
        self._otherwise = [
            Finding(about=self._about, level="problem", text=missing, fix=action) for missing, action in otherwise
        ]

    def all_findings(self, *, new: bool) -> list[Finding]:
        """Return the findings, given whether the installation is ``new``."""
        return [*self.findings, *(self._when_new if new else self._otherwise)]

    def ok(self, text: str) -> None:
        self.findings.append(Finding(about=self._about, level="ok", text=text))

    def note(self, text: str, fix: str = "") -> None:
        self.findings.append(Finding(about=self._about, level="note", text=text, fix=fix))

    def problem(self, text: str, fix: str) -> None:
        self.findings.append(Finding(about=self._about, level="problem", text=text, fix=fix))
