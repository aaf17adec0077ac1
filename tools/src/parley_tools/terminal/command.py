"""``parley chat "question"``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import msgspec

from parley.contracts import frames
from parley_tools.client import ClientError, ParleyClient, Problem, Watch
from parley_tools.client.state import TERMINAL
from parley_tools.stack import state as stack_state
from parley_tools.terminal.printer import Printer
from parley_tools.terminal.sessions import Sessions

_LONGEST = 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", help="- reads it from standard input")
    parser.add_argument("--chat", metavar="ID", help="go on with this chat")
    parser.add_argument("--model", help="default: the chat's, else the server's")
    parser.add_argument("--json", action="store_true", help="print the frames, one JSON object per line")
    parser.add_argument("--url", help="of the server; default: PARLEY_URL, else the stack that runs here")


def run(arguments: argparse.Namespace) -> int:
    """Ask, print the answer as it grows, and return the exit code: 0 when it is complete."""
    question = sys.stdin.read() if arguments.question == "-" else arguments.question
    try:
        return asyncio.run(_chat(arguments, question))
    except ClientError as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nparley: left; the answer goes on without you", file=sys.stderr)
        return 130


async def _chat(arguments: argparse.Namespace, question: str) -> int:
    url = arguments.url or _default_url()
    sessions = Sessions()
    async with ParleyClient(url, access_token=sessions.get(url)) as client:
        await _begin(client, sessions, url)
        chat_id = arguments.chat or (await client.api.create_chat()).id
        async with client.watch(chat_id, on_frame=_print_frame if arguments.json else None) as watch:
            model = {"model": arguments.model} if arguments.model else {}
            message_id = await client.api.send(chat_id, question, **model)
            if arguments.json:
                answer = await watch.answer_to(message_id, timeout=_LONGEST)
                return 0 if answer.status == "complete" else 1
            complete = await _follow(watch, message_id)
        print(f'\nTo go on: parley chat --chat {chat_id} "…"', file=sys.stderr)
        return 0 if complete else 1


async def _follow(watch: Watch, message_id: str) -> bool:
    """Print the answer to a prompt, from when its turn comes to its end; return whether it is complete."""
    printer = Printer(sys.stdout, sys.stderr)
    async with asyncio.timeout(_LONGEST):
        async for state in watch:
            answer = next(iter(state.answers_to(message_id)), None)
            if answer is not None and answer.status in TERMINAL:
                return printer.end(answer)
            if answer is not None and state.generation is not None and state.generation.message_id == answer.id:
                printer.show(state.generation)
    raise AssertionError("a watch goes on until it is left")


async def _begin(client: ParleyClient, sessions: Sessions, url: str) -> None:
    """Go on with the session that was remembered, or begin one."""
    try:
        session = await client.api.begin_session()
    except Problem as problem:
        if problem.status != 401:
            raise
        client.api.access_token = None
        session = await client.api.begin_session()
    sessions.set(url, session.access_token)


def _print_frame(frame: frames.ServerFrame) -> None:
    print(msgspec.json.encode(frame).decode(), flush=True)


def _default_url() -> str:
    if url := os.environ.get("PARLEY_URL"):
        return url
    running = stack_state.read()
    return running.url if running is not None else "http://127.0.0.1:8000"
