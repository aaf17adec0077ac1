"""Everything of a user as one JSON document, read page by page: memory holds one page."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from gateway.bus.store_client import StoreClient
from gateway.errors import Forbidden, NotFound
from parley.contracts import rpc
from parley.contracts.access import identity
from parley.contracts.access.identity import User
from parley.contracts.completion import CompletionRequest
from parley.contracts.limits import MAX_PAGE
from parley.contracts.resources import Chat, Message

VERSION: Final = 1

_encode = msgspec.json.Encoder().encode


class Export:
    """The export of one user; see :meth:`chunks`."""

    def __init__(self, store: StoreClient, user: User) -> None:
        self._store = store
        self._user = user
        self._written: set[str] = set()

    @classmethod
    async def begin(cls, store: StoreClient, user_id: str) -> "Export":
        """Raises: GatewayError: chat-store does not answer, before anything is sent."""
        return cls(store, (await store.ask(identity.GetUser(user_id=user_id))).user)

    @property
    def user_id(self) -> str:
        return self._user.id

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the document in pieces. An error ends it without its last member, ``complete``."""
        sessions = await self._store.ask(identity.ListSessions(user_id=self.user_id))
        keys = await self._store.ask(identity.ListApiKeys(user_id=self.user_id))
        usage = await self._store.ask(rpc.GetUsage(user_id=self.user_id, by_day=True))
        invitations = await self._store.ask(rpc.ListInvitations(user_id=self.user_id))
        head = {
            "version": VERSION,
            "exported_at": datetime.now(UTC),
            "user": self._user,
            "sessions": sessions.items,
            "api_keys": keys.items,
            "usage": usage.items,
            "invitations": invitations.items,
        }
        yield _encode(head)[:-1] + b',"chats":['
        first = True
        # A chat that changes meanwhile moves to the front of the list, so the list is read until it has nothing new.
        while unwritten := await self._unwritten():
            for chat in unwritten:
                async for chunk in self._chat(chat, first=first):
                    yield chunk
                    first = False
        yield b'],"complete":true}'

    async def _unwritten(self) -> list[Chat]:
        """Return a page of chats that has some which are not written yet, without the others."""
        before: str | None = None
        while True:
            page = await self._store.ask(rpc.ListChats(user_id=self.user_id, before=before, limit=MAX_PAGE))
            found = [chat for chat in page.items if chat.id not in self._written]
            if found or page.next is None:
                return found
            before = page.next

    async def _chat(self, chat: Chat, *, first: bool) -> AsyncIterator[bytes]:
        """Yield a chat with its messages, newest first, prompts with their completions; nothing when it is gone."""
        self._written.add(chat.id)
        try:
            head = await self._head(chat)
        except NotFound:
            return
        opening = _encode(head)[:-1] + b',"messages":['
        yield opening if first else b"," + opening
        before: str | None = None
        separator = b""
        while True:
            try:
                request = rpc.ListMessages(
                    user_id=self.user_id, chat_id=chat.id, before=before, limit=MAX_PAGE, completions=True
                )
                page = await self._store.ask(request)
            except NotFound:
                break
            for message in reversed(page.items):
                yield separator + _with_completion(message, page.completions.get(message.id))
                separator = b","
            before = page.next
            if before is None:
                break
        yield b"]}"

    async def _head(self, chat: Chat) -> dict[str, Any]:
        """Return all of a chat but its messages. Raises: NotFound: it is gone."""
        access = await self._store.ask(rpc.CheckAccess(user_id=self.user_id, chat_id=chat.id))
        members = await self._store.ask(rpc.ListMembers(user_id=self.user_id, chat_id=chat.id))
        try:
            links = (await self._store.ask(rpc.ListShareLinks(user_id=self.user_id, chat_id=chat.id))).items
        except Forbidden:
            links = []  # they are the owner's
        return {"chat": chat, "role": access.role, "members": members.items, "share_links": links}


def _with_completion(message: Message, completion: CompletionRequest | None) -> bytes:
    encoded = _encode(message)
    return encoded if completion is None else encoded[:-1] + b',"completion":' + _encode(completion) + b"}"
