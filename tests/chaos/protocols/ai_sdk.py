"""A chat of the AI SDK as ``useChat`` has it: all readers are in one process of Node.js."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from parley.contracts.ids import new_id
from parley.runtime import tasks
from tests.chaos.protocols.reader import Ask, Reader
from tests.support.node import NODE

_SCRIPT = Path(__file__).with_name("ai_sdk.mjs")


@asynccontextmanager
async def connect(url: str, key: str) -> AsyncIterator[Callable[[Ask], Reader]]:
    process = await asyncio.create_subprocess_exec(
        *(NODE, str(_SCRIPT), url, key), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    chats = _Chats(process)
    replies = asyncio.create_task(chats.read_replies())
    try:
        yield lambda ask: ChatReader(ask, chats)
    finally:
        process.kill()
        await process.wait()
        await tasks.end(replies)


class _Chats:
    """The chats in the process of Node.js."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._reading: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def read(self, command: dict[str, Any]) -> dict[str, Any]:
        """Let a chat read until its end, or until it is cut off; when cancelled, cut it off."""
        number = command["number"]
        reply = self._reading[number] = asyncio.get_running_loop().create_future()
        self._send({"do": "read", **command})
        try:
            return await asyncio.shield(reply)
        except asyncio.CancelledError:
            self._send({"do": "stop", "number": number})
            await reply
            raise

    def _send(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def read_replies(self) -> None:
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                reply = json.loads(line)
                self._reading.pop(reply["number"]).set_result(reply)
        finally:
            for reply in self._reading.values():
                reply.set_exception(ConnectionError("Node.js has ended"))


class ChatReader(Reader):
    """Reads the answer to the first message of one chat."""

    def __init__(self, ask: Ask, chats: _Chats) -> None:
        super().__init__(ask)
        self._chats = chats
        self.reading.chat_id = new_id()

    async def _read(self) -> None:
        reply = await self._chats.read(
            {
                "number": self.ask.number,
                "chat": self.reading.chat_id,
                "model": self.ask.model,
                "text": self.ask.prompt,
            }
        )
        self.reading.end, self.reading.problem = reply["end"], reply["problem"]
        self.reading.text, self.reading.reasoning = reply["text"], reply["reasoning"]
