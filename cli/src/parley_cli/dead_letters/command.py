"""``parley dead-letters list | show | replay | drop``."""

from __future__ import annotations

import asyncio
import json as json_module
import logging
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import nats.errors

from parley.contracts import streams
from parley.runtime.nats.errors import BusUnavailable, NotProvisioned
from parley.runtime.nats.requirements import require
from parley_cli.actions import Output, find_nats, print_all
from parley_cli.dead_letters.dead_letter import DeadLetter
from parley_cli.dead_letters.errors import DeadLetterError
from parley_cli.dead_letters.queue import DeadLetterQueue
from parley_cli.deadline import DeadlinePassed, within
from parley_cli.servers import ServerUnusable, check_jetstream, nats_client

_REASON_WIDTH = 60


Action = Callable[[DeadLetterQueue], AsyncIterator[Output]]


def run(action: Action, *, nats_url: str | None, timeout: float, json: bool) -> int:
    """Carry out an action and return the exit code."""
    logging.getLogger("parley").setLevel(logging.ERROR)
    url = find_nats(nats_url)
    if url is None:
        return 2
    try:
        asyncio.run(within(timeout, _run(action, url, json)))
    except (DeadLetterError, ServerUnusable, BusUnavailable, NotProvisioned) as error:
        print(f"parley: {error}", file=sys.stderr)
    except DeadlinePassed:
        print(
            f"parley: NATS did not complete all requests within {timeout:g} seconds. What was printed is done. "
            "Allow more time with --timeout SECONDS.",
            file=sys.stderr,
        )
    except (TimeoutError, nats.errors.Error) as error:
        print(f"parley: NATS stopped responding: {error!r}", file=sys.stderr)
    else:
        return 0
    return 1


async def _run(action: Action, url: str, json: bool) -> None:
    async with nats_client(url, "parley-dead-letters") as nc:
        await check_jetstream(nc)
        js = nc.jetstream(timeout=10)
        await require(js, streams=(streams.DEAD_LETTERS,))
        await print_all(action(DeadLetterQueue(js)), json=json)


# --- actions ------------------------------


def list_all(consumer: str | None) -> Action:
    async def action(queue: DeadLetterQueue) -> AsyncIterator[Output]:
        async for letter in queue.letters(consumer):
            yield Output(_record(letter), _line(letter))

    return action


def show(number: int) -> Action:
    async def action(queue: DeadLetterQueue) -> AsyncIterator[Output]:
        letter = await queue.letter(number)
        yield Output(_record(letter), _page(letter))

    return action


def replay(numbers: list[int] | None, consumer: str | None) -> Action:
    async def action(queue: DeadLetterQueue) -> AsyncIterator[Output]:
        for number in await _numbers(queue, numbers, consumer):
            letter = await queue.replay(number)
            yield Output({"replayed": number, "subject": letter.subject}, f"{number} sent again to {letter.subject}")

    return action


def drop(numbers: list[int] | None, consumer: str | None) -> Action:
    async def action(queue: DeadLetterQueue) -> AsyncIterator[Output]:
        for number in await _numbers(queue, numbers, consumer):
            await queue.drop(number)
            yield Output({"dropped": number}, f"{number} dropped")

    return action


async def _numbers(queue: DeadLetterQueue, numbers: list[int] | None, consumer: str | None) -> list[int]:
    """Return ``numbers``, else those of all (of ``consumer``).

    All are listed before any is changed: a replayed dead letter may return as a new one at once.
    """
    return [letter.number async for letter in queue.letters(consumer)] if numbers is None else numbers


# --- formats ------------------------------


def _record(letter: DeadLetter) -> dict[str, Any]:
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


def _line(letter: DeadLetter) -> str:
    # Not a table: each line is printed when it is read, so that a long list starts at once and may be cut off.
    return (
        f"{letter.number:>6}  {letter.died_at:%Y-%m-%d %H:%M:%S}  {letter.consumer:<22}  "
        f"{letter.subject or '?'}  {letter.reason[:_REASON_WIDTH]}"
    )


def _page(letter: DeadLetter) -> str:
    record = _record(letter)
    body = record.pop("body")
    headers = record.pop("headers")
    lines = [f"{name + ':':<12} {'' if value is None else value}" for name, value in record.items()]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["", body if isinstance(body, str) else json_module.dumps(body, indent=2, ensure_ascii=False)]
    return "\n".join(lines)
