"""The ``parley`` command: its subcommands and their options.

A subcommand's code is imported when it runs, so that ``parley --help`` and wrong usage are answered at once.
"""

from __future__ import annotations

import gc
import os
import signal
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

from parley_cli import arguments
from parley_cli.arguments import Deadline, OfUser, folder_option, port_option, seconds_option
from parley_cli.commands import SETTINGS, Action, Command, bus_command, interrupt
from parley_cli.embedded.folder import DEFAULT_FOLDER

app = typer.Typer(help="Parley: a chat backend that streams language-model answers.", **SETTINGS)

Replicas = Annotated[int, typer.Option(min=1, max=64, metavar="N", help="number of processes")]


@app.command(cls=Command)
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


@app.command(cls=Command)
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


@app.command(cls=Command)
def migrate() -> int:
    """Bring the database and the streams up to date."""
    from parley_cli.stack.migration import run_migration

    return run_migration(os.environ)


@app.command(cls=Command)
def demo_model(*, host: str = "127.0.0.1", port: Annotated[int, port_option("0: any free one")] = 8002) -> int:
    """Run an OpenAI-compatible server with scripted answers."""
    from parley_cli.demo_model import command

    return command.serve(host, port)


@app.command(cls=Command)
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


@app.command(cls=Command)
def backup(
    *,
    file: BackupFile,
    data: BackupFolder = None,
    timeout: Deadline = 3600.0,
    force: Annotated[bool, typer.Option("--force", help="replace an existing file")] = False,
) -> int:
    """Write all chats, users and unprocessed messages to a file."""
    from parley_cli.backup import command

    return command.backup(file, folder=data, timeout=timeout, force=force)


@app.command(cls=Command)
def restore(
    *,
    file: BackupFile,
    data: BackupFolder = None,
    timeout: Deadline = 3600.0,
    force: Annotated[bool, typer.Option("--force", help="replace existing data: all of it is lost")] = False,
) -> int:
    """Restore a file that `parley backup` wrote."""
    from parley_cli.backup import command

    return command.restore(file, folder=data, timeout=timeout, force=force)


@bus_command(app, "parley_cli.administration.store")
def usage(
    *,
    user: OfUser = None,
    from_day: Annotated[date | None, typer.Option("--from", parser=date.fromisoformat, metavar="DAY")] = None,
    to_day: Annotated[date | None, typer.Option("--to", parser=date.fromisoformat, metavar="DAY")] = None,
) -> Action:
    """Sum up the tokens and the cost of users, by user and model."""
    from parley_cli.administration.usage import list_usage

    return list_usage(user, from_day, to_day)


_GROUPS: Final = {
    "dead-letters": (
        "parley_cli.dead_letters.command",
        "List, show, replay or drop the messages that no service could handle.",
    ),
    "users": ("parley_cli.administration.users", "List, show, disable, enable or erase users, or change their roles."),
    "keys": ("parley_cli.administration.keys", "List, create or revoke API keys of all users."),
}
"""Groups of commands: the module that declares them, and their help."""


class _LazyGroup(TyperGroup):
    """A group whose module is imported when its commands are listed, or one of them runs."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        self._import()
        return super().list_commands(ctx)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        self._import()
        return super().get_command(ctx, cmd_name)

    def _import(self) -> None:
        if not self.commands:
            module, _ = _GROUPS[self.name or ""]
            self.commands = get_group(import_module(module).app).commands


for _name, (_, _help) in _GROUPS.items():
    app.add_typer(typer.Typer(cls=_LazyGroup, help=_help, **SETTINGS), name=_name)


def main() -> None:
    """Run a subcommand and exit with its code."""
    # A shell starts a background job with SIGINT ignored, but SIGTERM interrupts a command by raising it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Cleans up as after Ctrl-C. Commands that serve have handlers of their own; `nohup` ignores SIGHUP.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        app(prog_name="parley")
    finally:
        gc.freeze()  # as parley.runtime.lifecycle: the end is sooner


if __name__ == "__main__":
    main()
