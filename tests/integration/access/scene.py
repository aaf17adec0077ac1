"""A shared chat with everybody who may, or may not, have something to do with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

import jwt

from parley.contracts import ids, rpc
from parley.contracts.access.identity import EndSessions, Principal, UpdateUser, digest
from parley.contracts.completion import ToolCall, ToolRound
from parley.runtime.tokens import KeyRing
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.people import create_key, start_session

KEY: Final = "a-key-of-the-tests-of-who-may-do-what-01"
ISSUER: Final = "https://id.example.org"
ISSUER_KEY: Final = "a-key-of-the-issuer-that-is-trusted-here"
AUDIENCE: Final = "parley"

ROLES: Final = ("owner", "writer", "reader", "invited", "administrator", "stranger")
"""Who has a good session. The last two are no members, and not invited either."""

REFUSED: Final = {
    "anonymous": "401 not_authenticated",
    "expired token": "401 token_expired",
    "expired session": "401 session_ended",
    "revoked": "401 session_ended",
    "disabled": "403 user_disabled",
    "foreign issuer": "401 token_invalid",
}
"""Who has none, and the response. All of them but ``disabled``, a writer, name the owner of the chat."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A chat with its people.

    Attributes:
        users: By role; also ``disabled``, and ``newcomer``, who has nothing to do with the chat.
        sessions: By caller; None: the request carries none.
        messages: ``prompt`` and its ``answer`` after :meth:`answer`; ``queued`` and ``queued by the writer`` after
            :meth:`queue`; ``waits for approval``, an answer, after :meth:`wait_for_approval`.
    """

    store: Neighbour
    chat_id: str
    users: dict[str, Principal]
    sessions: dict[str, Principal]
    share_id: str
    share_token: str
    key_id: str
    messages: dict[str, str] = field(default_factory=dict)

    def id_of(self, role: str) -> str:
        return self.users[role].user.id

    def token_of(self, caller: str, keys: KeyRing) -> str | None:
        """Return the bearer token that a caller sends."""
        owner_id = self.id_of("owner")
        if caller == "anonymous":
            return None
        if caller == "foreign issuer":
            claims = {"iss": "https://id.example.com", "sub": owner_id, "aud": AUDIENCE, "exp": 2**31}
            return jwt.encode(claims, ISSUER_KEY, algorithm="HS256")
        session = self.sessions[caller]
        seconds = -60 if caller == "expired token" else 600
        return keys.issue("access", session.user.id, seconds, session_id=session.session_id)[0]

    async def answer(self) -> None:
        """Have a prompt of the owner answered."""
        self.messages["prompt"] = await self.store.say(self.chat_id, user_id=self.id_of("owner"))
        claimed = await self.store.claimed(await self.store.request_for(self.chat_id))
        await self.store.finish(claimed)
        self.messages["answer"] = claimed.message_id
        await self._until("answer", "complete")

    async def queue(self) -> None:
        """Have a prompt of the owner and one of the writer wait behind one that is being answered."""
        await self.store.say(self.chat_id, "first", user_id=self.id_of("owner"))
        for name, role in (("queued", "owner"), ("queued by the writer", "writer")):
            self.messages[name] = await self.store.say(self.chat_id, name, user_id=self.id_of(role))
        await self._until("queued by the writer", "queued")

    async def wait_for_approval(self) -> None:
        """Have an answer wait for the approval of its call ``call_1``."""
        await self.store.say(self.chat_id, user_id=self.id_of("owner"))
        claimed = await self.store.claimed(await self.store.request_for(self.chat_id))
        call = ToolCall(id="call_1", name="look", server="web", status="awaiting_approval")
        stored: rpc.StoreToolRound = rpc.StoreToolRound(
            chat_id=self.chat_id,
            generation_id=claimed.generation_id,
            attempt=claimed.attempt,
            number=0,
            round=ToolRound(calls=[call]),
        )
        await self.store.ask(stored)
        self.messages["waits for approval"] = claimed.message_id

    async def version(self) -> int:
        return (await self.store.sync(self.chat_id)).version

    async def _until(self, name: str, status: str) -> None:
        owner_id, message_id = self.id_of("owner"), self.messages[name]
        # It waits for what was accepted before; an end is stored by itself.
        async with asyncio.timeout(20):
            while True:
                request = rpc.GetMessage(user_id=owner_id, chat_id=self.chat_id, message_id=message_id)
                if (await self.store.ask(request)).message.status == status:
                    return
                await asyncio.sleep(0.02)


async def create_scene(store: Neighbour) -> Scene:
    """Create a chat with its people, and their sessions."""
    names = [*ROLES, "disabled", "newcomer"]
    users = dict(zip(names, await asyncio.gather(*(start_session(store) for _ in names)), strict=True))
    owner_id, administrator_id = users["owner"].user.id, users["administrator"].user.id
    expired, revoked = await asyncio.gather(
        start_session(store, user_id=owner_id, idle_seconds=0.001), start_session(store, user_id=owner_id)
    )
    chat_id = await store.chat(owner_id)
    for role in ("writer", "reader", "invited", "disabled"):
        user_id = users[role].user.id
        as_role: rpc.PutMember = rpc.PutMember(
            user_id=owner_id, chat_id=chat_id, member_id=user_id, role="reader" if role == "reader" else "writer"
        )
        await store.ask(as_role)
        if role != "invited":
            await store.ask(rpc.AcceptInvitation(user_id=user_id, chat_id=chat_id))
    share_id, share_token = ids.new_id(), ids.new_id()
    _, _, _, _, key = await asyncio.gather(
        store.ask(UpdateUser(user_id=administrator_id, role="administrator")),
        store.ask(UpdateUser(user_id=users["disabled"].user.id, disabled=True)),
        store.ask(EndSessions(user_id=owner_id, session_id=revoked.session_id)),
        store.ask(
            rpc.CreateShareLink(
                user_id=owner_id, chat_id=chat_id, share_id=share_id, token_digest=digest(share_token), live=True
            )
        ),
        create_key(store, owner_id, ids.new_id()),
    )
    return Scene(
        store=store,
        chat_id=chat_id,
        users=users,
        sessions={
            **users,
            "expired token": users["owner"],
            "expired session": expired,
            "revoked": revoked,
        },
        share_id=share_id,
        share_token=share_token,
        key_id=key.id,
    )
