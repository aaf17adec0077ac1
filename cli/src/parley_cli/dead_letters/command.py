"""``parley dead-letters list | show | replay | drop``."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from typing import Any

import nats.errors

from parley.contracts import streams
from parley.runtime.nats.errors import BusUnavailable, NotProvisioned
from parley.runtime.nats.requirements import require
from parley_cli.arguments import seconds
from parley_cli.dead_letters.dead_letter import Letter
from parley_cli.dead_letters.errors import DeadLetterError
from parley_cli.dead_letters.queue import DeadLetterBox
from parley_cli.deadline import DeadlinePassed, within
from parley_cli.servers import ServerTrouble, check_jetstream, nats_client
from parley_cli.stack import state

_REASON_WIDTH = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``parley dead-letters`` takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="one line per letter, the oldest first")
    listing.add_argument("--consumer", help="only what this consumer could not handle")
    show = actions.add_parser("show", help="all that is known of one letter")
    show.add_argument("number", type=int)
    replay = actions.add_parser("replay", help="send letters again to where they came from")
    drop = actions.add_parser("drop", help="remove letters for good")
    for several in (replay, drop):
        several.add_argument("number", type=int, nargs="*")
        several.add_argument("--all", action="store_true", help="every letter (of --consumer)")
        several.add_argument("--consumer", help="with --all: only what this consumer could not handle")
    for each in (listing, show, replay, drop):
        each.add_argument("--nats-url", help="default: NATS_URL, else that of the stack that runs here")
        each.add_argument(
            "--timeout", type=seconds, default=60.0, metavar="SECONDS", help="how long it may take (default 60)"
        )
        each.add_argument("--json", action="store_true", help="one JSON object per line")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out and return the exit code."""
    logging.getLogger("parley").setLevel(logging.ERROR)
    url = arguments.nats_url or _default_url()
    if url is None:
        print("No stack runs here. Name the server with --nats-url or NATS_URL.", file=sys.stderr)
        return 2
    if arguments.action in ("replay", "drop") and bool(arguments.number) == arguments.all:
        print("Name letters by their numbers, or all of them with --all.", file=sys.stderr)
        return 2
    try:
        asyncio.run(within(arguments.timeout, _run(arguments, url)))
    except (DeadLetterError, ServerTrouble, BusUnavailable, NotProvisioned) as error:
        print(f"parley: {error}", file=sys.stderr)
    except DeadlinePassed:
        print(
            f"parley: NATS did not answer all of it within {arguments.timeout:g} seconds. What was printed is done. "
            "Give it more with --timeout SECONDS.",
            file=sys.stderr,
        )
    except (TimeoutError, nats.errors.Error) as error:
        print(f"parley: NATS stopped answering: {error!r}", file=sys.stderr)
    else:
        return 0
    return 1


async def _run(arguments: argparse.Namespace, url: str) -> None:
    async with nats_client(url, "parley-dead-letters") as nc:
        await check_jetstream(nc)
        js = nc.jetstream(timeout=10)
        await require(js, streams=(streams.DEAD_LETTERS,))
        await _act(arguments, DeadLetterBox(js))


async def _act(arguments: argparse.Namespace, box: DeadLetterBox) -> None:
    match arguments.action:
        case "list":
            async for letter in box.letters(arguments.consumer):
                print(json.dumps(_record(letter)) if arguments.json else _line(letter))
        case "show":
            letter = await box.letter(arguments.number)
            print(json.dumps(_record(letter)) if arguments.json else _page(letter))
        case "replay":
            for number in await _numbers(arguments, box):
                letter = await box.replay(number)
                done = {"replayed": number, "subject": letter.subject}
                print(json.dumps(done) if arguments.json else f"{number} sent again to {letter.subject}")
        case "drop":
            for number in await _numbers(arguments, box):
                await box.drop(number)
                print(json.dumps({"dropped": number}) if arguments.json else f"{number} dropped")


async def _numbers(arguments: argparse.Namespace, box: DeadLetterBox) -> list[int]:
    """The letters meant; listed before any is touched, since a replayed one may come back as a new one at once."""
    if arguments.all:
        return [letter.number async for letter in box.letters(arguments.consumer)]
    return list(arguments.number)


# --- how letters look ------------------------------


def _record(letter: Letter) -> dict[str, Any]:
    return {
        "number": letter.number,
        "died_at": letter.died_at.isoformat(),
        "consumer": letter.consumer,
        "reason": letter.reason,
        "subject": letter.subject,
        "stream": letter.stream,
        "sequence": letter.sequence,
        "deliveries": letter.deliveries,
        "headers": letter.headers,
        "body": letter.content,
    }


def _line(letter: Letter) -> str:
    return (
        f"{letter.number:>6}  {letter.died_at:%Y-%m-%d %H:%M:%S}  {letter.consumer:<22}  "
        f"{letter.subject or '?'}  {letter.reason[:_REASON_WIDTH]}"
    )


def _page(letter: Letter) -> str:
    record = _record(letter)
    body = record.pop("body")
    headers = record.pop("headers")
    lines = [f"{name + ':':<12} {'' if value is None else value}" for name, value in record.items()]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["", body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)]
    return "\n".join(lines)


def _default_url() -> str | None:
    if url := os.environ.get("NATS_URL"):
        return url
    running = state.read()
    return running.nats_url if running is not None else None
