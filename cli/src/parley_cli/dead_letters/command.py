"""``parley dead-letters list | show | replay | drop``."""

from __future__ import annotations

import json as json_module
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from parley_cli.commands import SETTINGS, Action, Output, bus_command

if TYPE_CHECKING:
    from parley_cli.dead_letters.dead_letter import DeadLetter
    from parley_cli.dead_letters.queue import DeadLetterQueue

_RUNNER: Final = "parley_cli.dead_letters.queue"
_REASON_WIDTH = 60

Consumer = Annotated[str | None, typer.Option(help="only what this consumer could not handle")]
Numbers = Annotated[list[int] | None, typer.Argument(metavar="NUMBER")]
All = Annotated[bool, typer.Option("--all", help="every dead letter (of --consumer)")]
app = typer.Typer(**SETTINGS)


@bus_command(app, _RUNNER, "list")
def list_dead_letters(*, consumer: Consumer = None) -> Action:
    """List the dead letters, one line each, oldest first."""

    async def action(queue: DeadLetterQueue) -> AsyncIterator[Output]:
        async for letter in queue.letters(consumer):
            yield Output(_record(letter), _line(letter))

    return action


@bus_command(app, _RUNNER)
def show(*, number: int) -> Action:
    """Show one dead letter with its headers and body."""

    async def action(queue: DeadLetterQueue) -> AsyncIterator[Output]:
        letter = await queue.letter(number)
        yield Output(_record(letter), _page(letter))

    return action


@bus_command(app, _RUNNER)
def replay(*, number: Numbers = None, all_: All = False, consumer: Consumer = None) -> Action:
    """Publish dead letters again on their original subjects, and remove them from the queue."""
    _check_selection(number, all_)

    async def action(queue: DeadLetterQueue) -> AsyncIterator[Output]:
        for each in number or await _all_numbers(queue, consumer):
            letter = await queue.replay(each)
            yield Output({"replayed": each, "subject": letter.subject}, f"{each} sent again to {letter.subject}")

    return action


@bus_command(app, _RUNNER)
def drop(*, number: Numbers = None, all_: All = False, consumer: Consumer = None) -> Action:
    """Remove dead letters for good."""
    _check_selection(number, all_)

    async def action(queue: DeadLetterQueue) -> AsyncIterator[Output]:
        for each in number or await _all_numbers(queue, consumer):
            await queue.drop(each)
            yield Output({"dropped": each}, f"{each} dropped")

    return action


def _check_selection(numbers: list[int] | None, all_: bool) -> None:
    if bool(numbers) == all_:
        raise typer.BadParameter("give dead letters by their numbers, or all of them with --all")


async def _all_numbers(queue: DeadLetterQueue, consumer: str | None) -> list[int]:
    """List all (of ``consumer``) before any is changed: a replayed one may return as a new one at once."""
    return [letter.number async for letter in queue.letters(consumer)]


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
