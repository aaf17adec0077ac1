"""A person with a browser, under any host name."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect

from parley.contracts.ids import new_id
from tests.support.waiting import eventually

Json = dict[str, Any]


class Visitor:
    """Speaks to ``127.0.0.1:port`` as if a name server had led from ``name`` to it. An asynchronous context manager."""

    def __init__(self, port: int, name: str = "localhost", *, token: str = "", page: str | None = None) -> None:
        """Describe the person.

        Args:
            token: Of an earlier visit.
            page: Origin of the page that is open, when not this one.
        """
        self.port = port
        self.host = f"{name}:{port}"
        self.origin = page or f"http://{self.host}"
        self.token = token
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)

    async def __aenter__(self) -> Visitor:
        try:
            if not self.token:
                self.token = (await self.ask("POST", "/v1/session", {}))["access_token"]
        except BaseException:
            await self.http.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Host": self.host, "Origin": self.origin}
        return headers | ({"Authorization": f"Bearer {self.token}"} if self.token else {})

    async def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        response = await self.http.request(method, path, json=body, headers=self.headers)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        answer: Json = response.json()
        return answer

    async def patiently(self, method: str, path: str, body: Json | None = None) -> Json:
        """Ask again, as every client does, while a part that died is not back."""

        async def answered() -> Json:
            try:
                return await self.ask(method, path, body)
            except httpx.HTTPError as error:
                raise AssertionError(f"{path}: {error!r}") from error

        return await eventually(answered, deadline=60, every=0.3, what=path)

    async def new_chat(self, model: str = "demo-fast") -> str:
        chat: str = (await self.ask("POST", "/v1/chats", {"id": new_id(), "model": model}))["id"]
        return chat

    async def send(self, chat: str, text: str) -> str:
        body = {"id": new_id(), "content": text}
        message: str = (await self.patiently("POST", f"/v1/chats/{chat}/messages", body))["message_id"]
        return message

    async def messages(self, chat: str) -> list[Json]:
        items: list[Json] = (await self.patiently("GET", f"/v1/chats/{chat}/messages?limit=100"))["items"]
        return items

    async def answer(self, chat: str, message: str, *, deadline: float = 90) -> Json:
        """Return the complete answer to a message."""

        async def complete() -> Json:
            over = ("complete", "failed", "stopped")
            answers = [each for each in await self.messages(chat) if each["parent_id"] == message]
            return next((each for each in answers if each["status"] in over), {})

        found = await eventually(complete, deadline=deadline, every=0.2, what=f"the answer in {chat}")
        assert found["status"] == "complete", found
        return found

    async def ticket(self) -> str:
        ticket: str = (await self.ask("POST", "/v1/push-ticket", {}))["ticket"]
        return ticket

    def socket(self) -> connect:
        return connect(
            f"ws://{self.host}/ws",
            host="127.0.0.1",
            port=self.port,
            origin=self.origin,  # type: ignore[arg-type]
            proxy=None,
            open_timeout=60,
            compression=None,
        )

    async def authenticate(self, socket: ClientConnection) -> None:
        await socket.send(msgspec.json.encode({"type": "auth", "ticket": await self.ticket()}).decode())
        assert msgspec.json.decode(await socket.recv())["type"] == "ready"
