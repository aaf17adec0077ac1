"""After ``DELETE /v1/me`` nothing of what the user wrote is left: in the database, in the streams, in the logs."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import nats.js.errors
import pytest

from parley.runtime.nats.connect import connect
from parley_cli.embedded.postgres import postgres_program
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

WORD = "quetzalcoatl"
"""What the user writes, and nobody else."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("erasure") / "data"
    settings = {"LOG_LEVEL": "DEBUG", "SHARE_LINKS": "public"}
    with RunningStack(folder, "--gateway", "2", environment=settings) as running:
        yield running


class User:
    """A guest who speaks HTTP."""

    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=60)
        self.id = ""

    async def __aenter__(self) -> "User":
        session = await self.http.post("/v1/session", json={})
        assert session.status_code == 200, session.text
        self.id = session.json()["user_id"]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def chat(self) -> str:
        created = await self.http.post("/v1/chats", json={"model": "demo"})
        assert created.status_code == 201, created.text
        return str(created.json()["id"])

    async def ask(self, chat_id: str, content: str) -> None:
        """Send a prompt and wait until its answer is stored."""
        sent = await self.http.post(f"/v1/chats/{chat_id}/messages", json={"content": content})
        assert sent.status_code == 202, sent.text
        message_id = sent.json()["message_id"]

        async def answered() -> bool:
            return any(
                one["parent_id"] == message_id and one["status"] == "complete" for one in await self.messages(chat_id)
            )

        await eventually(answered, what="the answer", deadline=60)

    async def messages(self, chat_id: str) -> list[dict[str, Any]]:
        reply = await self.http.get(f"/v1/chats/{chat_id}/messages")
        assert reply.status_code == 200, reply.text
        items: list[dict[str, Any]] = reply.json()["items"]
        return items


async def streams(stack: RunningStack) -> str:
    """Everything that the streams have, as text."""
    nc = await connect(stack.state.nats_url, name="test")
    try:
        js = nc.jetstream()
        found = []
        for info in await js.streams_info():
            name, sequence = info.config.name or "", 0
            while True:
                try:
                    message = await js.get_msg(name, seq=sequence + 1, subject=">", next=True)
                except nats.js.errors.NotFoundError:
                    break
                sequence = message.seq or 0
                found.append(f"{message.headers} {(message.data or b'').decode(errors='replace')}")
        return "\n".join(found)
    finally:
        await nc.close()


def dump(stack: RunningStack) -> str:
    """The database as plain SQL."""
    command = [postgres_program("pg_dump"), "--dbname", stack.state.database_url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


async def erased(stack: RunningStack, user_id: str) -> None:
    """Wait until the first round of the erasure is complete."""
    connection = await asyncpg.connect(stack.state.database_url)
    try:

        async def done() -> bool:
            query = "SELECT erase_at IS NULL OR erase_at > erase_requested_at FROM users WHERE id = $1"
            return bool(await connection.fetchval(query, user_id))

        await eventually(done, what="the erasure", deadline=60)
    finally:
        await connection.close()


async def everywhere(user: User) -> str:
    """Put the word wherever else a user's text can get, and return the id of the chat for it."""
    chat_id = await user.chat()
    http, chat = user.http, {"parley.chat_id": chat_id}
    tool = {"name": "look", "description": WORD, "parameters": {"type": "object", "properties": {WORD: {}}}}
    response = {
        "model": "demo-fast",
        "input": [{"role": "user", "content": WORD}],
        "instructions": WORD,
        "user": WORD,
        "metadata": {"mine": WORD, **chat},
        "safety_identifier": WORD,
        "prompt_cache_key": WORD,
        "tools": [{"type": "function", **tool}],
    }
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": json.dumps({WORD: 1})}}
    messages = [
        *({"role": "system", "content": WORD}, {"role": "user", "content": "hello", "name": WORD}),
        *({"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": WORD}),
    ]
    completion = {
        "model": "demo-fast",
        "messages": messages,
        "metadata": {"mine": WORD, **chat},
        "tools": [{"type": "function", "function": tool}],
    }
    part = {"type": "text", "text": WORD}
    for path, body in (
        ("/openai/v1/responses", response),
        ("/openai/v1/chat/completions", completion),
        ("/openai/v1/chat/completions", {**completion, "model": "demo-tools", "messages": messages[:2]}),
        ("/ai-sdk/chat", {"id": chat_id, "messages": [{"id": WORD, "role": "user", "parts": [part]}]}),
        (f"/v1/chats/{chat_id}/messages", {"content": WORD, "model": "demo-slow"}),
        (f"/v1/chats/{chat_id}/messages", {"content": f"{WORD}, queued"}),
        (f"/v1/chats/{chat_id}/messages", {"content": f"{WORD}, rejected", "when_busy": "reject"}),
        ("/v1/api-keys", {"name": WORD, "scopes": ["read"]}),
    ):
        reply = await http.post(path, json=body)
        assert reply.status_code in (200, 201, 202, 409), reply.text
    assert (await http.patch(f"/v1/chats/{chat_id}", json={"title": WORD})).status_code == 200
    assert (await http.get("/v1/search", params={"q": WORD})).status_code == 200
    assert (await http.post("/v1/session", json={}, headers={"user-agent": WORD})).status_code == 200
    return chat_id


async def test_nothing_that_an_erased_user_wrote_is_found_anywhere(stack: RunningStack) -> None:
    async with User(stack.state.url) as user:
        chats = [await user.chat() for _ in range(2)]
        for chat_id in chats:
            await user.ask(chat_id, f"Tell me of {WORD}. Repeat: {WORD}")
        changed = await user.http.patch(f"/v1/chats/{chats[0]}", json={"system_prompt": f"Speak as {WORD}."})
        assert changed.status_code == 200, changed.text
        chats.append(await everywhere(user))
        shared = (await user.http.post(f"/v1/chats/{chats[0]}/shares", json={"live": True})).json()
        assert WORD in (await user.http.get(f"/v1/shared/{shared['token']}")).text

        export = (await user.http.get("/v1/me/export")).json()
        assert export["complete"]
        assert {one["chat"]["id"] for one in export["chats"]} == set(chats)
        assert WORD in json.dumps(export["chats"][0]["messages"])
        links = {one["chat"]["id"]: [link["id"] for link in one["share_links"]] for one in export["chats"]}
        assert links == {chats[0]: [shared["id"]], chats[1]: [], chats[2]: []}
        assert WORD in dump(stack)
        assert WORD in await streams(stack)

        refused = await user.http.request("DELETE", "/v1/me", json={"confirm": "yes"})
        assert refused.status_code == 422, refused.text
        done = await user.http.request("DELETE", "/v1/me", json={"confirm": "erase"})
        assert done.status_code == 202, done.text
        await erased(stack, user.id)

        async def streams_are_purged() -> bool:
            return WORD not in await streams(stack)

        await eventually(streams_are_purged, what="the streams being purged", deadline=60)
        assert WORD not in dump(stack)
        assert WORD not in stack.log, "logs have ids and no text"
        assert (await user.http.get(f"/v1/shared/{shared['token']}")).status_code == 404
