"""``parley doctor``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec
from rich.text import Text

from parley_cli import output
from parley_cli.doctor.checks import run_checks
from parley_cli.doctor.report import Finding
from parley_cli.doctor.target import find_target

_ABOUT_WIDTH = 9
_MARKS = {"ok": ("ok     ", "green"), "note": ("note   ", "yellow"), "problem": ("PROBLEM", "red")}


def doctor(*, folder: Path, ports: Mapping[str, int], services: Mapping[str, tuple[str, int]], json: bool) -> int:
    """Print the findings; return 0 when none is a problem, else 1."""
    logging.getLogger("parley").setLevel(logging.CRITICAL)
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    findings = asyncio.run(run_checks(find_target(folder.absolute(), ports, services)))
    problems = sum(finding.level == "problem" for finding in findings)
    if json:
        for finding in findings:
            print(msgspec.json.encode(finding).decode())
    else:
        terminal = output.console()
        for finding in findings:
            terminal.print(_text(finding), soft_wrap=True)
        print(f"\n{problems} {'problem' if problems == 1 else 'problems'}." if problems else "\nNothing is wrong.")
    return 1 if problems else 0


def _text(finding: Finding) -> Text:
    text = Text.assemble(f"{finding.about:<{_ABOUT_WIDTH}} ", _MARKS[finding.level], f" {finding.text}")
    if finding.fix:
        text.append(f"\n{'':<{_ABOUT_WIDTH}}         → {finding.fix}")
    return text
