"""The ``parley`` command: every subcommand and its options.

A subcommand's code is imported when it runs, so that ``parley --help`` and wrong usage are answered at once.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from parley_cli import arguments
from parley_cli.arguments import folder_option, port_option, seconds_option
from parley_cli.embedded.folder import DEFAULT_FOLDER

_received_signals: list[int] = []


class _Command(TyperCommand):
    """A subcommand whose function returns the exit code, and that a signal interrupts."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # its name in Typer's public interface
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()  # here, where a closed pipe is handled
        except KeyboardInterrupt:
            typer.echo(f"{ctx.command_path.replace(' ', ': ', 1)} was interrupted", err=True)
            raise typer.Exit(128 + (_received_signals or [signal.SIGINT])[0]) from None
        raise typer.Exit(code)


# Plain help and errors: an error stays on one line, which scripts can search, and rich is not imported for it.
_SETTINGS: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}
app = typer.Typer(help="Parley: a chat backend that streams language-model answers.", **_SETTINGS)
dead_letters = typer.Typer(help="List, show, replay or drop the messages that no service could handle.", **_SETTINGS)
app.add_typer(dead_letters, name="dead-letters")
users = typer.Typer(help="List, show, disable, enable or erase users, or change their roles.", **_SETTINGS)
app.add_typer(users, name="users")
keys = typer.Typer(help="List, create or revoke API keys of all users.", **_SETTINGS)
app.add_typer(keys, name="keys")

Replicas = Annotated[int, typer.Option(min=1, max=64, metavar="N", help="number of processes")]


@app.command(cls=_Command)
def up(
    *,
    host: Annotated[str, typer.Option(help="address on which the page and the websockets listen")] = "127.0.0.1",
    port: Annotated[int, port_option("of the page; 0: any free one")] = 8000,
    push_port: Annotated[int, port_option("of the websockets; 0: any free one")] = 8001,
    data: Annotated[Path, folder_option("data folder of the stack")] = DEFAULT_FOLDER,
    chat_store: Replicas = 1,
    llm_worker: Replicas = 1,
    push: Replicas = 1,
    gateway: Replicas = 1,
) -> int:
    """Run everything on this machine."""
    from parley_cli.stack import command

    replicas = {"chat-store": chat_store, "llm-worker": llm_worker, "push": push, "gateway": gateway}
    return command.up(folder=data, host=host, port=port, push_port=push_port, replicas=replicas)


@app.command(cls=_Command)
def chat(
    *,
    question: Annotated[str, typer.Argument(help="- reads it from standard input")],
    chat_id: Annotated[str | None, typer.Option("--chat", metavar="ID", help="continue this chat")] = None,
    model: Annotated[str | None, typer.Option(help="default: the chat's, else the server's")] = None,
    json: Annotated[bool, typer.Option("--json", help="print the frames, one JSON object per line")] = False,
    url: Annotated[
        str | None, typer.Option(help="of the server; default: PARLEY_URL, else the running stack's")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="PARLEY_API_KEY", show_envvar=False, help="instead of a guest's session; default: PARLEY_API_KEY"
        ),
    ] = None,
    timeout: Annotated[float, seconds_option("how long to wait for the end of the answer")] = 3600.0,
) -> int:
    """Ask a question and print the answer as it is generated."""
    from parley_cli.chat import command

    return command.chat(
        question, chat_id=chat_id, model=model, json=json, url=url, api_key=api_key or None, timeout=timeout
    )


@app.command(cls=_Command)
def migrate() -> int:
    """Bring the database and the streams up to date."""
    from parley_cli.stack.migration import run_migration

    return run_migration(os.environ)


@app.command(cls=_Command)
def demo_model(*, host: str = "127.0.0.1", port: Annotated[int, port_option("0: any free one")] = 8002) -> int:
    """Run an OpenAI-compatible server with scripted answers."""
    from parley_cli.demo_model import command

    return command.serve(host, port)


@app.command(cls=_Command)
def doctor(
    *,
    data: Annotated[
        Path, folder_option("of a running stack; NATS_URL, DATABASE_URL and OPENAI_* take precedence")
    ] = DEFAULT_FOLDER,
    port: Annotated[int, port_option("of the page")] = 8000,
    push_port: Annotated[int, port_option("of the websockets")] = 8001,
    service: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="health port of a service elsewhere, to compare its clock; repeatable"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object per line")] = False,
) -> int:
    """Check the installation, and report what is wrong and how to fix it."""
    addresses = {name: arguments.address(name) for name in service or []}
    from parley_cli.doctor import command

    return command.doctor(folder=data, ports={"page": port, "websocket": push_port}, services=addresses, json=json)


BackupFile = Annotated[Path, typer.Argument(metavar="FILE")]
BackupFolder = Annotated[
    Path | None,
    folder_option(
        f"of the stack, running or not (default {DEFAULT_FOLDER}); NATS_URL and DATABASE_URL set together win"
    ),
]
BackupTimeout = Annotated[float, seconds_option("how long it may take")]


@app.command(cls=_Command)
def backup(
    *,
    file: BackupFile,
    data: BackupFolder = None,
    timeout: BackupTimeout = 3600.0,
    force: Annotated[bool, typer.Option("--force", help="replace an existing file")] = False,
) -> int:
    """Write all chats, users and unprocessed messages to a file."""
    from parley_cli.backup import command

    return command.backup(file, folder=data, timeout=timeout, force=force)


@app.command(cls=_Command)
def restore(
    *,
    file: BackupFile,
    data: BackupFolder = None,
    timeout: BackupTimeout = 3600.0,
    force: Annotated[bool, typer.Option("--force", help="replace existing data: all of it is lost")] = False,
) -> int:
    """Restore a file that `parley backup` wrote."""
    from parley_cli.backup import command

    return command.restore(file, folder=data, timeout=timeout, force=force)


# --- parley dead-letters ------------------------------

NatsUrl = Annotated[str | None, typer.Option(help="default: NATS_URL, else the running stack's")]
Deadline = Annotated[float, seconds_option("how long it may take")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object per line")]
Consumer = Annotated[str | None, typer.Option(help="only what this consumer could not handle")]
Numbers = Annotated[list[int] | None, typer.Argument(metavar="NUMBER")]
All = Annotated[bool, typer.Option("--all", help="every dead letter (of --consumer)")]


def _selection(numbers: list[int] | None, all_: bool) -> list[int] | None:
    """Return the numbers that were given; None for all."""
    if bool(numbers) == all_:
        raise typer.BadParameter("give dead letters by their numbers, or all of them with --all")
    return numbers or None


@dead_letters.command("list", cls=_Command)
def list_dead_letters(
    *, consumer: Consumer = None, nats_url: NatsUrl = None, timeout: Deadline = 60.0, json: Json = False
) -> int:
    """List the dead letters, one line each, oldest first."""
    from parley_cli.dead_letters import command

    return command.run(command.list_all(consumer), nats_url=nats_url, timeout=timeout, json=json)


@dead_letters.command(cls=_Command)
def show(*, number: int, nats_url: NatsUrl = None, timeout: Deadline = 60.0, json: Json = False) -> int:
    """Show one dead letter with its headers and body."""
    from parley_cli.dead_letters import command

    return command.run(command.show(number), nats_url=nats_url, timeout=timeout, json=json)


@dead_letters.command(cls=_Command)
def replay(
    *,
    number: Numbers = None,
    all_: All = False,
    consumer: Consumer = None,
    nats_url: NatsUrl = None,
    timeout: Deadline = 60.0,
    json: Json = False,
) -> int:
    """Publish dead letters again on their original subjects, and remove them from the queue."""
    numbers = _selection(number, all_)
    from parley_cli.dead_letters import command

    action = command.replay(numbers, consumer)
    return command.run(action, nats_url=nats_url, timeout=timeout, json=json)


@dead_letters.command(cls=_Command)
def drop(
    *,
    number: Numbers = None,
    all_: All = False,
    consumer: Consumer = None,
    nats_url: NatsUrl = None,
    timeout: Deadline = 60.0,
    json: Json = False,
) -> int:
    """Remove dead letters for good."""
    numbers = _selection(number, all_)
    from parley_cli.dead_letters import command

    action = command.drop(numbers, consumer)
    return command.run(action, nats_url=nats_url, timeout=timeout, json=json)


# --- parley users, keys, usage ------------------------------

UserId = Annotated[str, typer.Argument(metavar="USER", help="the user's id")]
OfUser = Annotated[str | None, typer.Option("--user", metavar="USER", help="only of this user")]


@users.command("list", cls=_Command)
def list_users(
    *,
    query: Annotated[str | None, typer.Argument(help="part of an id, a name or an e-mail address")] = None,
    nats_url: NatsUrl = None,
    timeout: Deadline = 60.0,
    json: Json = False,
) -> int:
    """List users, one line each, newest first."""
    from parley_cli.administration import command, users

    return command.run(users.list_all(query), nats_url=nats_url, timeout=timeout, json=json)


@users.command("show", cls=_Command)
def show_user(*, user: UserId, nats_url: NatsUrl = None, timeout: Deadline = 60.0, json: Json = False) -> int:
    """Show one user."""
    from parley_cli.administration import command, users

    return command.run(users.show(user), nats_url=nats_url, timeout=timeout, json=json)


@users.command("create", cls=_Command)
def create_user(
    *,
    name: Annotated[str, typer.Argument(parser=arguments.visible, metavar="NAME", help="the program or person")],
    nats_url: NatsUrl = None,
    timeout: Deadline = 60.0,
    json: Json = False,
) -> int:
    """Create a user who signs in with API keys only, and print the id. The same name is the same user."""
    from parley_cli.administration import command, users

    return command.run(users.create(name), nats_url=nats_url, timeout=timeout, json=json)


@users.command(cls=_Command)
def disable(*, user: UserId, nats_url: NatsUrl = None, timeout: Deadline = 60.0, json: Json = False) -> int:
    """End the sessions of a user, and let the user not sign in again."""
    from parley_cli.administration import command, users

    return command.run(users.update(user, disabled=True), nats_url=nats_url, timeout=timeout, json=json)


@users.command(cls=_Command)
def enable(*, user: UserId, nats_url: NatsUrl = None, timeout: Deadline = 60.0, json: Json = False) -> int:
    """Let a user who was disabled sign in again."""
    from parley_cli.administration import command, users

    return command.run(users.update(user, disabled=False), nats_url=nats_url, timeout=timeout, json=json)


@users.command(cls=_Command)
def role(
    *,
    user: UserId,
    role: Annotated[Literal["user", "administrator"], typer.Argument(metavar="ROLE", help="user or administrator")],
    nats_url: NatsUrl = None,
    timeout: Deadline = 60.0,
    json: Json = False,
) -> int:
    """Change the role of a user; the first administrator is made by this."""
    from parley_cli.administration import command, users

    return command.run(users.update(user, role=role), nats_url=nats_url, timeout=timeout, json=json)


@users.command(cls=_Command)
def erase(
    *,
    user: UserId,
    force: Annotated[bool, typer.Option("--force", help="do not ask: it cannot be undone")] = False,
    nats_url: NatsUrl = None,
    timeout: Deadline = 60.0,
    json: Json = False,
) -> int:
    """Erase a user: who it is, the chats, and what the user wrote in the chats of others."""
    if not force:
        typer.confirm(f"Erase {user} and everything of the user?", abort=True, err=True)
    from parley_cli.administration import command, users

    return command.run(users.erase(user), nats_url=nats_url, timeout=timeout, json=json)


@keys.command("list", cls=_Command)
def list_keys(*, user: OfUser = None, nats_url: NatsUrl = None, timeout: Deadline = 60.0, json: Json = False) -> int:
    """List API keys without their secrets, one line each, newest first."""
    from parley_cli.administration import command, keys

    return command.run(keys.list_all(user), nats_url=nats_url, timeout=timeout, json=json)


@keys.command(cls=_Command)
def create(
    *,
    user: UserId,
    name: Annotated[str, typer.Option(parser=arguments.visible, metavar="NAME", help="what the key is for")],
    scope: Annotated[list[arguments.KeyScope], typer.Option(help="what the key may do; repeatable")],
    expires: Annotated[
        date | None,
        typer.Option(parser=arguments.coming_day, metavar="DAY", help="the last day (UTC) on which it is good"),
    ] = None,
    nats_url: NatsUrl = None,
    timeout: Deadline = 60.0,
    json: Json = False,
) -> int:
    """Create an API key of a user and print it. It is shown this once; chat-store has its digest only."""
    from parley_cli.administration import command, keys

    action = keys.create(user, name=name, scopes=[one.value for one in scope], last_day=expires)
    return command.run(action, nats_url=nats_url, timeout=timeout, json=json)


@keys.command(cls=_Command)
def revoke(
    *,
    key: Annotated[list[str], typer.Argument(metavar="KEY", help="the key's id")],
    nats_url: NatsUrl = None,
    timeout: Deadline = 60.0,
    json: Json = False,
) -> int:
    """Revoke API keys for good."""
    from parley_cli.administration import command, keys

    return command.run(keys.revoke(key), nats_url=nats_url, timeout=timeout, json=json)


@app.command(cls=_Command)
def usage(
    *,
    user: OfUser = None,
    from_day: Annotated[date | None, typer.Option("--from", parser=date.fromisoformat, metavar="DAY")] = None,
    to_day: Annotated[date | None, typer.Option("--to", parser=date.fromisoformat, metavar="DAY")] = None,
    nats_url: NatsUrl = None,
    timeout: Deadline = 60.0,
    json: Json = False,
) -> int:
    """Sum up the tokens and the cost of users, by user and model."""
    from parley_cli.administration import command, usage

    action = usage.list_all(user, from_day, to_day)
    return command.run(action, nats_url=nats_url, timeout=timeout, json=json)


def main() -> None:
    """Run a subcommand and exit with its code."""
    # A shell starts a background job with SIGINT ignored, but SIGTERM interrupts a command by raising it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Cleans up as after Ctrl-C. Commands that serve have handlers of their own; `nohup` ignores SIGHUP.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        app(prog_name="parley")
    finally:
        gc.freeze()  # as parley.runtime.lifecycle: the end is sooner


def _interrupt(number: int, frame: object) -> None:
    _received_signals.append(number)
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
