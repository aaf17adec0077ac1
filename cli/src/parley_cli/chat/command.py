"""``parley chat "question"``."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from parley.contracts import frames
from parley_cli.chat.printer import Printer
from parley_cli.chat.sessions import Sessions
from parley_cli.stack import probe
from parley_cli.stack import state as stack_state
from parley_client import ClientError, NotReachable, ParleyClient, SignedOut, Watch
from parley_client.state import TERMINAL

_REQUEST_DEADLINE = 15.0
_DEFAULT_PORT = 8000


def chat(
    question: str,
    *,
    chat_id: str | None,
    model: str | None,
    json: bool,
    url: str | None,
    api_key: str | None,
    timeout: float,
) -> int:
    """Ask, print the answer as it grows, and return the exit code: 0 when it is complete."""
    try:
        text = sys.stdin.read() if question == "-" else question
        return asyncio.run(_chat(text, chat_id, model, json, url, api_key, timeout))
    except UnicodeDecodeError:
        print("parley: the question is not valid UTF-8", file=sys.stderr)
    except NotReachable as error:
        print(f"parley: {error}. Start a stack with `parley up`, or name a server with --url.", file=sys.stderr)
    except ClientError as error:
        print(f"parley: {error}", file=sys.stderr)
    except TimeoutError:
        print(
            f"parley: the answer was not complete within {timeout:g} seconds; the server continues it", file=sys.stderr
        )
    except KeyboardInterrupt:
        print("\nparley: interrupted; the server continues the answer", file=sys.stderr)
        return 130
    return 1


async def _chat(
    question: str,
    chat_id: str | None,
    model: str | None,
    json: bool,
    server: str | None,
    api_key: str | None,
    timeout: float,
) -> int:
    url = server or await _default_url()
    sessions = Sessions()
    cookies = sessions.get(url) if api_key is None else {}
    async with ParleyClient(url, cookies=cookies, api_key=api_key, deadline=_REQUEST_DEADLINE) as client:
        if api_key is None:
            await _begin(client, sessions, url)
        chat_id = chat_id or (await client.api.create_chat()).id
        async with client.watch(chat_id, on_frame=_print_frame if json else None) as watch:
            message_id = await client.api.send(chat_id, question, **({"model": model} if model else {}))
            if json:
                answer = await watch.answer_to(message_id, timeout=timeout)
                return 0 if answer.status == "complete" else 1
            complete = await _follow(watch, message_id, timeout)
        print(f'\nTo continue: parley chat --chat {chat_id} "…"', file=sys.stderr)
        return 0 if complete else 1


async def _follow(watch: Watch, message_id: str, timeout: float) -> bool:
    """Print the answer to a prompt as it is generated; return whether it is complete."""
    printer = Printer(sys.stdout, sys.stderr)
    async with asyncio.timeout(timeout):
        async for state in watch:
            answer = next(iter(state.answers_to(message_id)), None)
            if answer is not None and answer.status in TERMINAL:
                return printer.end(answer)
            if answer is not None and state.generation is not None and state.generation.message_id == answer.id:
                printer.show(state.generation)
    raise AssertionError("a watch ends only when it is closed")


async def _begin(client: ParleyClient, sessions: Sessions, url: str) -> None:
    """Continue the stored session, or begin one."""
    try:
        await client.api.begin_session()
    except SignedOut:
        client.api.forget_session()
        await client.api.begin_session()
    try:
        sessions.set(url, client.api.cookies)
    except OSError as error:
        print(f"parley: the session was not stored, so this chat cannot be continued later: {error}", file=sys.stderr)


def _print_frame(frame: frames.ServerFrame) -> None:
    print(msgspec.json.encode(frame).decode(), flush=True)


async def _default_url() -> str:
    """Return the server's address. Raises NotReachable: none is configured, and no stack runs."""
    if url := os.environ.get("PARLEY_URL"):
        return url
    running = stack_state.read()
    if running is not None:
        return running.url
    if not await probe.serves_page(_DEFAULT_PORT):
        raise NotReachable(f"No stack runs in this folder, and nothing like Parley answers on port {_DEFAULT_PORT}")
    return f"http://127.0.0.1:{_DEFAULT_PORT}"
