"""``parley doctor``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

import msgspec

from parley_cli.arguments import folder, port_number
from parley_cli.doctor.checks import examine
from parley_cli.doctor.report import Finding
from parley_cli.doctor.target import find
from parley_cli.stack.state import DEFAULT_FOLDER

_ABOUT_WIDTH = 9
_MARKS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}
_COLOURS = {"ok": "32", "note": "33", "problem": "31"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``parley doctor`` takes."""
    parser.add_argument(
        "--data",
        type=folder,
        default=DEFAULT_FOLDER,
        metavar="FOLDER",
        help="of a running stack (default .parley); NATS_URL, DATABASE_URL and OPENAI_* go before",
    )
    parser.add_argument("--port", type=port_number, default=8000, help="that the page would have (default 8000)")
    parser.add_argument(
        "--push-port", type=port_number, default=8001, help="that the websockets would have (default 8001)"
    )
    parser.add_argument(
        "--service",
        type=_address,
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="health port of a service elsewhere, whose clock is compared; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def run(arguments: argparse.Namespace) -> int:
    """Say what is wrong; 0 when nothing is, else 1."""
    logging.getLogger("parley").setLevel(logging.CRITICAL)
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    patient = find(
        arguments.data.absolute(), {"page": arguments.port, "websocket": arguments.push_port}, dict(arguments.service)
    )
    findings = asyncio.run(examine(patient))
    problems = sum(finding.level == "problem" for finding in findings)
    for finding in findings:
        print(msgspec.json.encode(finding).decode() if arguments.json else _line(finding, colour=sys.stdout.isatty()))
    if not arguments.json:
        print(f"\n{problems} {'problem' if problems == 1 else 'problems'}." if problems else "\nNothing is wrong.")
    return 1 if problems else 0


def _address(text: str) -> tuple[str, tuple[str, int]]:
    host, _, port = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return text, (host.strip("[]"), port_number(port))


def _line(finding: Finding, *, colour: bool) -> str:
    mark = _MARKS[finding.level]
    if colour:
        mark = f"\x1b[{_COLOURS[finding.level]}m{mark}\x1b[0m"
    line = f"{finding.about:<{_ABOUT_WIDTH}} {mark} {finding.text}"
    if finding.remedy:
        line += f"\n{'':<{_ABOUT_WIDTH}}         → {finding.remedy}"
    return line
