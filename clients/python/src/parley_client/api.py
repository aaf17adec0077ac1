"""The HTTP interface of the gateway (``/v1``): one method per route that a program needs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from parley.contracts.ids import new_id
from parley.contracts.resources import Chat, Message, Role
from parley.contracts.rpc import SearchHit
from parley_client.session import GatewaySession

T = TypeVar("T")


class Ticket(msgspec.Struct, frozen=True):
    ticket: str
    expires_at: datetime


class Config(msgspec.Struct, frozen=True):
    push_url: str
    default_model: str | None = None
    demo: bool = False


class Models(msgspec.Struct, frozen=True):
    items: list[str]
    default: str | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]
    next: str | None = None


class Submitted(msgspec.Struct, frozen=True):
    chat_id: str
    message_id: str


class Api(GatewaySession):
    """The gateway's requests, one method each; :class:`GatewaySession` authenticates and repeats them.

    A message can be sent again because the client chose its id.
    """

    async def push_ticket(self) -> str:
        """What a socket authenticates with, within a minute."""
        return (await self.request("POST", "/v1/push-ticket", Ticket, json={}, retry=False)).ticket

    async def config(self) -> Config:
        return await self.request("GET", "/v1/config", Config, session=False)

    async def models(self) -> Models:
        return await self.request("GET", "/v1/models", Models)

    # --- chats -------------------------------------------------------------------------------------------------------

    async def create_chat(self, *, chat_id: str | None = None, **fields: str | None) -> Chat:
        """Create a chat with ``title``, ``model`` and ``system_prompt``, each optional."""
        return await self.request("POST", "/v1/chats", Chat, json={"id": chat_id or new_id(), **fields})

    async def chat(self, chat_id: str) -> Chat:
        return await self.request("GET", f"/v1/chats/{chat_id}", Chat)

    async def chats(self, *, before: str | None = None, limit: int = 50) -> Page[Chat]:
        return await self.request("GET", "/v1/chats", Page[Chat], params=_page(before, limit))

    async def delete_chat(self, chat_id: str) -> None:
        await self.request("DELETE", f"/v1/chats/{chat_id}", None)

    # --- messages ----------------------------------------------------------------------------------------------------

    async def send(self, chat_id: str, content: str, *, message_id: str | None = None, **fields: Any) -> str:
        """Send a message and return its id once it is durable. Repeated with the same id until then.

        Args:
            fields: ``model``, and ``parent_id`` (null for a new root).

        Raises:
            Problem: refused.
            NotReachable: not accepted until the deadline; sending the same id again later does no harm.
        """
        body = {"id": message_id or new_id(), "content": content, **fields}
        return (await self.request("POST", f"/v1/chats/{chat_id}/messages", Submitted, json=body)).message_id

    async def messages(self, chat_id: str, *, before: str | None = None, limit: int = 50) -> Page[Message]:
        """A page of messages, oldest first within it; ``next`` leads to older ones."""
        return await self.request("GET", f"/v1/chats/{chat_id}/messages", Page[Message], params=_page(before, limit))

    async def all_messages(self, chat_id: str) -> list[Message]:
        """Every message, oldest first."""
        found: list[Message] = []
        before: str | None = None
        while True:
            page = await self.messages(chat_id, before=before, limit=100)
            found = page.items + found
            before = page.next
            if before is None:
                return found

    async def regenerate(self, chat_id: str, message_id: str, *, model: str | None = None) -> str:
        """Ask for another answer, and return its id. Sent again after a lost answer, it is the same one."""
        answer_id = new_id()
        body = {"id": answer_id, "model": model}
        await self.request("POST", f"/v1/chats/{chat_id}/messages/{message_id}/regenerate", None, json=body)
        return answer_id

    async def delete_message(self, chat_id: str, message_id: str) -> None:
        """Take a queued prompt back."""
        await self.request("DELETE", f"/v1/chats/{chat_id}/messages/{message_id}", None)

    async def stop(self, chat_id: str, message_id: str | None = None) -> None:
        """Stop the running answer; ``message_id``: only that one, or the first answer to that prompt."""
        await self.request("POST", f"/v1/chats/{chat_id}/stop", None, json={"message_id": message_id})

    async def stream(self, chat_id: str, last_event_id: str | None, on_line: Callable[[bytes], None]) -> None:
        """Read a chat's server-sent events until the stream ends. Raises Problem or httpx.TransportError."""
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        await self.read_lines(f"/v1/chats/{chat_id}/stream", on_line, **headers)

    # --- others ------------------------------------------------------------------------------------------------------

    async def put_member(self, chat_id: str, user_id: str, role: Role = "writer") -> None:
        """Invite a user, or change the role of a member."""
        await self.request("PUT", f"/v1/chats/{chat_id}/members/{user_id}", None, json={"role": role})

    async def accept_invitation(self, chat_id: str) -> None:
        await self.request("POST", f"/v1/invitations/{chat_id}", None, json={})

    async def delete_member(self, chat_id: str, user_id: str) -> None:
        await self.request("DELETE", f"/v1/chats/{chat_id}/members/{user_id}", None)

    async def search(self, query: str, *, limit: int = 20) -> Page[SearchHit]:
        return await self.request("GET", "/v1/search", Page[SearchHit], params={"q": query, "limit": limit})


def _page(before: str | None, limit: int) -> dict[str, str | int]:
    return {"limit": limit} | ({"before": before} if before is not None else {})
