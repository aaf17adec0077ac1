"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Level = Literal["ok", "note", "problem"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence about one thing.

    Attributes:
        about: The part that was looked at: ``settings``, ``nats``, ``postgres``, …
        level: ``note``: worth knowing, nothing is broken.
        text: What is so.
        remedy: What to do; empty when there is nothing to do.
    """

    about: str
    level: Level
    text: str
    remedy: str = ""


class Report:
    """The findings of one check, in order.

    Attributes:
        made: Whether Parley has made something on this server; None: that is not known.
    """

    def __init__(self, about: str) -> None:
        self._about = about
        self.findings: list[Finding] = []
        self.made: bool | None = None
        self._when_new: list[Finding] = []
        self._otherwise: list[Finding] = []

    def empty(self, text: str, remedy: str, *, otherwise: Iterable[tuple[str, str]]) -> None:
        """Nothing is made here yet: worth a note on a new installation, and ``otherwise`` these problems."""
        self.made = False
        self._when_new = [Finding(about=self._about, level="note", text=text, remedy=remedy)]
        self._otherwise = [
            Finding(about=self._about, level="problem", text=lacking, remedy=mend) for lacking, mend in otherwise
        ]

    def all_findings(self, *, new: bool) -> list[Finding]:
        """The findings on an installation that is ``new``, or is not."""
        return [*self.findings, *(self._when_new if new else self._otherwise)]

    def ok(self, text: str) -> None:
        self.findings.append(Finding(about=self._about, level="ok", text=text))

    def note(self, text: str, remedy: str = "") -> None:
        self.findings.append(Finding(about=self._about, level="note", text=text, remedy=remedy))

    def problem(self, text: str, remedy: str) -> None:
        self.findings.append(Finding(about=self._about, level="problem", text=text, remedy=remedy))
