"""Judge how a stack reads a provider's recorded responses. Run by ``make replay ARGS="JUDGE FOLDER..."``.

JUDGE is a program that is the provider, at REPLAY_PORT of this machine, while it runs as ``JUDGE ADDRESS FOLDER``: it
asks the stack at ADDRESS for answers, brings the responses in FOLDER, and compares. It ends with 0 when all are as
expected. Before it, the calls of tools in the responses are decoded and compared with what their entries hold.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from llm_worker.generation.content import AttemptContent
from llm_worker.provider.completion import CompletionDecoder
from parley.contracts.completion import ToolCall
from parley_cli import child_process
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.options import StackOptions
from parley_cli.stack.stack import Stack


def _decoded_calls(body: bytes, size: int) -> list[ToolCall]:
    """The calls in a response that arrives in reads of that size."""
    decoder, content = CompletionDecoder(), AttemptContent()
    for start in range(0, len(body), size):
        content.add(decoder.feed(body[start : start + size]))
    content.add(decoder.close())
    return content.tool_calls


def _entries(body: bytes) -> list[dict[str, Any]]:
    """The entries of tool calls in a response, in their order."""
    lines = (line.removeprefix(b"data:").strip() for line in body.splitlines())
    found: list[dict[str, Any]] = []
    for line in lines:
        if b'"tool_calls"' in line and line.startswith(b"{"):
            for choice in json.loads(line).get("choices", []):
                found += (choice.get("delta") or choice.get("message") or {}).get("tool_calls") or []
    return found


def _check_calls(folder: Path) -> int:
    """The number of responses whose calls are not decoded as they were sent."""
    failed = checked = 0
    for path in sorted(folder.glob("*.body")):
        body = path.read_bytes()
        entries = _entries(body)
        if not entries:
            continue
        checked += 1
        calls = _decoded_calls(body, len(body))
        ids = list(dict.fromkeys(entry["id"] for entry in entries if entry.get("id")))
        sent = "".join(entry["function"].get("arguments") or "" for entry in entries)
        ok = (
            calls == _decoded_calls(body, 1) == _decoded_calls(body, 37)
            and [call.id for call in calls] == ids
            and "".join(call.arguments for call in calls) in (sent, "{}")
            and all(call.name and isinstance(json.loads(call.arguments), dict) for call in calls)
        )
        if not ok:
            failed += 1
            print(f"{path.stem}: calls {calls}", flush=True)
    print(f"{checked - failed} of {checked} responses with calls of tools are decoded as they were sent", flush=True)
    return failed


async def _judge(program: Path, folders: list[Path], port: str, options: StackOptions, log: CombinedLog) -> int:
    """The number of folders in which something is not as expected."""
    failed = 0
    async with Stack(options, log) as stack:
        for folder in folders:
            print(f"{folder}:", flush=True)
            failed += _check_calls(folder) > 0
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
