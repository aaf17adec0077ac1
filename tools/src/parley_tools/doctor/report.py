"""What a check found."""

from __future__ import annotations

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
    """The findings of one check, in order."""

    def __init__(self, about: str) -> None:
        self._about = about
        self.findings: list[Finding] = []

    def ok(self, text: str) -> None:
        self.findings.append(Finding(about=self._about, level="ok", text=text))

    def note(self, text: str, remedy: str = "") -> None:
        self.findings.append(Finding(about=self._about, level="note", text=text, remedy=remedy))

    def problem(self, text: str, remedy: str) -> None:
        self.findings.append(Finding(about=self._about, level="problem", text=text, remedy=remedy))
