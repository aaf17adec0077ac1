"""``parley chat "question"``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import msgspec

from parley.contracts import frames
from parley_cli.arguments import seconds
from parley_cli.chat.printer import Printer
from parley_cli.chat.sessions import Sessions
from parley_cli.stack import probe
from parley_cli.stack import state as stack_state
from parley_client import ClientError, NotReachable, ParleyClient, Problem, Watch
from parley_client.state import TERMINAL

_LONGEST = 3600.0
_REQUEST_DEADLINE = 15.0
_DEFAULT_PORT = 8000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", help="- reads it from standard input")
    parser.add_argument("--chat", metavar="ID", help="go on with this chat")
    parser.add_argument("--model", help="default: the chat's, else the server's")
    parser.add_argument("--json", action="store_true", help="print the frames, one JSON object per line")
    parser.add_argument("--url", help="of the server; default: PARLEY_URL, else the stack that runs here")
    parser.add_argument(
        "--timeout", type=seconds, default=_LONGEST, metavar="SECONDS", help="how long to wait for the answer's end"
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask, print the answer as it grows, and return the exit code: 0 when it is complete."""
    try:
        question = sys.stdin.read() if arguments.question == "-" else arguments.question
        return asyncio.run(_chat(arguments, question))
    except UnicodeDecodeError:
        print("parley: the question is no text in UTF-8", file=sys.stderr)
        return 1
    except NotReachable as error:
        print(f"parley: {error}. Start a stack with `parley up`, or name a server with --url.", file=sys.stderr)
        return 1
    except ClientError as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1
    except TimeoutError:
        print(
            f"parley: no end of the answer within {arguments.timeout:g} seconds; it goes on without you",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\nparley: left; the answer goes on without you", file=sys.stderr)
        return 130


async def _chat(arguments: argparse.Namespace, question: str) -> int:
    url = arguments.url or await _default_url()
    sessions = Sessions()
    async with ParleyClient(url, access_token=sessions.get(url), deadline=_REQUEST_DEADLINE) as client:
        await _begin(client, sessions, url)
        chat_id = arguments.chat or (await client.api.create_chat()).id
        async with client.watch(chat_id, on_frame=_print_frame if arguments.json else None) as watch:
            model = {"model": arguments.model} if arguments.model else {}
            message_id = await client.api.send(chat_id, question, **model)
            if arguments.json:
                answer = await watch.answer_to(message_id, timeout=arguments.timeout)
                return 0 if answer.status == "complete" else 1
            complete = await _follow(watch, message_id, arguments.timeout)
        print(f'\nTo go on: parley chat --chat {chat_id} "…"', file=sys.stderr)
        return 0 if complete else 1


async def _follow(watch: Watch, message_id: str, timeout: float) -> bool:
    """Print the answer to a prompt, from when its turn comes to its end; return whether it is complete."""
    printer = Printer(sys.stdout, sys.stderr)
    async with asyncio.timeout(timeout):
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
    try:
        sessions.set(url, session.access_token)
    except OSError as error:
        print(f"parley: this chat cannot be gone on with later: {error}", file=sys.stderr)


def _print_frame(frame: frames.ServerFrame) -> None:
    print(msgspec.json.encode(frame).decode(), flush=True)


async def _default_url() -> str:
    """Raises: NotReachable: nothing is named, and nothing runs."""
    if url := os.environ.get("PARLEY_URL"):
        return url
    running = stack_state.read()
    if running is not None:
        return running.url
    if not await probe.serves_page(_DEFAULT_PORT):
        raise NotReachable(f"No stack runs in this folder, and nothing like Parley answers on port {_DEFAULT_PORT}")
    return f"http://127.0.0.1:{_DEFAULT_PORT}"
