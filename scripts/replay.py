"""Judge how a stack reads a provider's recorded responses. Run by ``make replay ARGS="JUDGE FOLDER..."``.

JUDGE is a program that is the provider, at REPLAY_PORT of this machine, while it runs as ``JUDGE ADDRESS FOLDER``: it
asks the stack at ADDRESS for answers, brings the responses in FOLDER, and compares. It ends with 0 when all are as
expected.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from parley_cli import child_process
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.options import StackOptions
from parley_cli.stack.stack import Stack


async def _judge(program: Path, folders: list[Path], port: str, options: StackOptions, log: CombinedLog) -> int:
    """The number of folders in which something is not as expected."""
    failed = 0
    async with Stack(options, log) as stack:
        for folder in folders:
            print(f"{folder}:", flush=True)
            process = await child_process.start_async(
                [sys.executable, str(program), stack.url, str(folder)],
                output=sys.stdout.fileno(),
                environment={**os.environ, "REPLAY_PORT": port},
            )
            failed += await process.wait() != 0
    return failed


def main(
    *,
    judge: Annotated[Path, typer.Argument(help="the provider, which also compares")],
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="of recorded responses")],
) -> None:
    """Judge how a stack reads a provider's recorded responses."""
    port = os.environ.get("REPLAY_PORT", "8190")
    with tempfile.TemporaryDirectory(prefix="parley-replay-") as data, Path(data, "stack.log").open("w") as output:
        options = StackOptions(
            folder=Path(data),
            port=0,
            push_port=0,
            # Responses are named by models, which no list names.
            inherited=child_process.base_environment()
            | {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "ANY_MODEL": "true"},
            environment={"gateway": {"WRITES_PER_SECOND": "0"}},
        )
        failed = asyncio.run(_judge(judge, folders, port, options, CombinedLog(output, colour=False)))
    raise typer.Exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
