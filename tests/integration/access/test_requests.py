"""Every request to chat-store: by whom it is made on the bus, and what it gets for whoever it is made.

chat-store is asked by services only, and each has the requests that it needs: a request that names a user is decided by
that user's role, one that names nobody by which service sends it, and one with a secret by what became of the secret.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import nats
import pytest
import pytest_asyncio

from parley.contracts import ids, rpc, subjects
from parley.contracts.access import identity, permissions
from parley.contracts.access.identity import External, digest
from parley.runtime.nats.connect import wait_until_processed
from parley.runtime.nats.errors import RpcRefused
from parley_cli.embedded.nats import NatsServer
from tests.integration.access.scene import ISSUER, ROLES, Scene, create_scene
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.people import create_key, sign_in, start_session
from tests.support.bus_passwords import random_passwords

pytestmark = pytest.mark.asyncio(loop_scope="module")

OK: Final = "ok"
NOT_FOUND: Final = "not_found"
FORBIDDEN: Final = "forbidden"

Build = Callable[[Scene, str], rpc.Request[Any]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A request for a user, and what it gets by the user's role.

    Attributes:
        build: Returns the request for a user with this id.
        changes: Whether one that is allowed changes something.
        prepare: What the scene needs first.
    """

    outcomes: dict[str, str]
    build: Build
    changes: bool = True
    prepare: Callable[[Scene], Awaitable[None]] | None = None


def members(
    owner: str, writer: str, reader: str, build: Build, *, others: str = NOT_FOUND, invited: str = NOT_FOUND, **row: Any
) -> Row:
    """A request about a chat. A user who is disabled is refused by the gateway and push, whom chat-store trusts."""
    outcomes = dict(zip(ROLES, (owner, writer, reader, invited, others, others), strict=True))
    return Row(outcomes=outcomes, build=build, **row)


def users(build: Build, **row: Any) -> Row:
    """A request about what is the user's own."""
    return Row(outcomes=dict.fromkeys(ROLES, OK), build=build, **row)


def _check(action: Any) -> Build:
    return lambda scene, user_id: rpc.CheckAccess(user_id=user_id, chat_id=scene.chat_id, action=action)


def _in_chat(kind: Any, **fields: Callable[[Scene], Any]) -> Build:
    """A request with the scene's chat and more fields of it."""
    return lambda scene, user_id: kind(
        user_id=user_id, chat_id=scene.chat_id, **{name: value(scene) for name, value in fields.items()}
    )


def _own(kind: Any, **fields: Any) -> Build:
    return lambda _, user_id: kind(user_id=user_id, **fields)


def _new_id(_: Scene) -> str:
    return ids.new_id()


def _member(role: str) -> Callable[[Scene], str]:
    return lambda scene: scene.id_of(role)


def _message(name: str) -> Callable[[Scene], str]:
    return lambda scene: scene.messages.get(name, ids.new_id())


FOR_USERS: Final[dict[str, Row]] = {
    **{
        f"check_access to {action}": members(*outcomes, _check(action), changes=False)
        for action, outcomes in {
            "read": (OK, OK, OK),
            "write": (OK, OK, FORBIDDEN),
            "rename": (OK, OK, FORBIDDEN),
            "invite": (OK, FORBIDDEN, FORBIDDEN),
            "share": (OK, FORBIDDEN, FORBIDDEN),
            "hand_over": (OK, FORBIDDEN, FORBIDDEN),
            "delete": (OK, FORBIDDEN, FORBIDDEN),
        }.items()
    },
    "create_chat": users(lambda _, user_id: rpc.CreateChat(user_id=user_id, chat_id=ids.new_id())),
    # The owner has created it; nobody learns of whom it is.
    "create_chat again": members(
        OK, "conflict", "conflict", _in_chat(rpc.CreateChat), invited="conflict", others="conflict", changes=False
    ),
    "get_chat": members(OK, OK, OK, _in_chat(rpc.GetChat), changes=False),
    "list_chats": users(_own(rpc.ListChats), changes=False),
    "update_chat": members(OK, OK, FORBIDDEN, _in_chat(rpc.UpdateChat, title=lambda _: "another")),
    "delete_chat": members(OK, FORBIDDEN, FORBIDDEN, _in_chat(rpc.DeleteChat)),
    "list_messages": members(OK, OK, OK, _in_chat(rpc.ListMessages), changes=False),
    "get_message": members(OK, OK, OK, _in_chat(rpc.GetMessage, message_id=_message("answer")), changes=False),
    "get_turn": members(OK, OK, OK, _in_chat(rpc.GetTurn, message_id=_message("answer")), changes=False),
    # It counts prompts against the limits of their user. Whether the user may write is asked by check_access.
    "admit_prompt": users(_in_chat(rpc.AdmitPrompt, message_id=_new_id, bytes=lambda _: 5)),
    "regenerate": members(
        OK,
        OK,
        FORBIDDEN,
        _in_chat(rpc.Regenerate, message_id=_message("answer"), answer_id=_new_id),
        prepare=Scene.answer,
    ),
    "delete_message": members(
        OK, FORBIDDEN, FORBIDDEN, _in_chat(rpc.DeleteMessage, message_id=_message("queued")), prepare=Scene.queue
    ),
    "delete_message of the writer": members(
        OK,
        OK,
        FORBIDDEN,
        _in_chat(rpc.DeleteMessage, message_id=_message("queued by the writer")),
        prepare=Scene.queue,
    ),
    "stop": members(OK, OK, FORBIDDEN, _in_chat(rpc.Stop)),
    "decide_tool_call": members(
        OK,
        OK,
        FORBIDDEN,
        _in_chat(
            rpc.DecideToolCall,
            message_id=_message("waits for approval"),
            call_id=lambda _: "call_1",
            approve=lambda _: True,
        ),
        prepare=Scene.wait_for_approval,
    ),
    "search": users(_own(rpc.Search, query="hello"), changes=False),
    "usage": users(_own(rpc.GetUsage), changes=False),
    "list_members": members(OK, OK, OK, _in_chat(rpc.ListMembers), changes=False),
    "put_member": members(OK, FORBIDDEN, FORBIDDEN, _in_chat(rpc.PutMember, member_id=_member("newcomer"))),
    "put_member of a member": members(OK, FORBIDDEN, FORBIDDEN, _in_chat(rpc.PutMember, member_id=_member("reader"))),
    "delete_member": members(OK, FORBIDDEN, FORBIDDEN, _in_chat(rpc.DeleteMember, member_id=_member("disabled"))),
    "delete_member of the reader": members(OK, FORBIDDEN, OK, _in_chat(rpc.DeleteMember, member_id=_member("reader"))),
    "delete_member of the owner": members(
        FORBIDDEN, FORBIDDEN, FORBIDDEN, _in_chat(rpc.DeleteMember, member_id=_member("owner"))
    ),
    "hand_over": members(OK, FORBIDDEN, FORBIDDEN, _in_chat(rpc.HandOver, member_id=_member("writer"))),
    "list_invitations": users(_own(rpc.ListInvitations), changes=False),
    "accept_invitation": members(OK, OK, OK, _in_chat(rpc.AcceptInvitation), invited=OK),
    "decline_invitation": users(_in_chat(rpc.DeclineInvitation)),
    "create_share_link": members(
        OK,
        FORBIDDEN,
        FORBIDDEN,
        _in_chat(rpc.CreateShareLink, share_id=_new_id, token_digest=_new_id, live=lambda _: False),
    ),
    "list_share_links": members(OK, FORBIDDEN, FORBIDDEN, _in_chat(rpc.ListShareLinks), changes=False),
    "revoke_share_link": members(
        OK, FORBIDDEN, FORBIDDEN, _in_chat(rpc.RevokeShareLink, share_id=lambda scene: scene.share_id)
    ),
    "list_sessions": users(_own(identity.ListSessions), changes=False),
    "end_sessions": users(_own(identity.EndSessions)),
    "create_api_key": users(
        lambda _, user_id: identity.CreateApiKey(
            user_id=user_id, key_id=ids.new_id(), name="a key", prefix=ids.new_id(), secret_digest="x", scopes=("read",)
        )
    ),
    "list_api_keys": users(_own(identity.ListApiKeys), changes=False),
    # A key of somebody else is left alone: test_identity.py.
    "revoke_api_key": users(lambda scene, user_id: identity.RevokeApiKey(user_id=user_id, key_id=scene.key_id)),
    "get_user": users(_own(identity.GetUser), changes=False),
}
"""Requests that are decided by the user whom they name; what follows the verb tells targets apart."""


async def _session(store: Neighbour, state: str) -> rpc.Request[Any]:
    secret = ids.new_id()
    principal = await start_session(store, secret, idle_seconds=0.001 if state == "expired" else 3600.0)
    if state == "revoked":
        await store.ask(identity.EndSessions(user_id=principal.user.id, session_id=principal.session_id))
    if state == "disabled":
        await store.ask(identity.UpdateUser(user_id=principal.user.id, disabled=True))
    return identity.ResolveSession(secret_digest=digest("another" if state == "unknown" else secret))


async def _api_key(store: Neighbour, state: str) -> rpc.Request[Any]:
    user_id, secret = (await start_session(store)).user.id, ids.new_id()
    expires = {"expires_at": datetime.now(UTC) - timedelta(seconds=1)} if state == "expired" else {}
    key = await create_key(store, user_id, secret, **expires)
    if state == "revoked":
        await store.ask(identity.RevokeApiKey(user_id=user_id, key_id=key.id))
    if state == "disabled":
        await store.ask(identity.UpdateUser(user_id=user_id, disabled=True))
    return identity.ResolveApiKey(prefix=key.prefix, secret_digest=digest("another" if state == "unknown" else secret))


async def _share_link(store: Neighbour, state: str) -> rpc.Request[Any]:
    token, share_id = ids.new_id(), ids.new_id()
    owner_id = (await start_session(store)).user.id
    chat_id = await store.chat(owner_id)
    link = rpc.CreateShareLink(
        user_id=owner_id, chat_id=chat_id, share_id=share_id, token_digest=digest(token), live=True
    )
    await store.ask(link)
    if state == "revoked":
        await store.ask(rpc.RevokeShareLink(user_id=owner_id, chat_id=chat_id, share_id=share_id))
    return rpc.GetShared(token_digest=digest("another" if state == "unknown" else token))


async def _external(store: Neighbour, state: str) -> External:
    subject = ids.new_id()
    if state == "disabled":
        user_id = (await sign_in(store, subject)).user.id
        await store.ask(identity.UpdateUser(user_id=user_id, disabled=True))
    return External(issuer=ISSUER, subject=subject)


async def _new_session(store: Neighbour, state: str) -> rpc.Request[Any]:
    return identity.StartSession(
        session_id=ids.new_id(),
        secret_digest=ids.new_id(),
        new_user_id=ids.new_id(),
        external=await _external(store, state),
        method="oidc",
        idle_seconds=3600,
        absolute_seconds=3600,
    )


async def _foreign_token(store: Neighbour, state: str) -> rpc.Request[Any]:
    return identity.ResolveExternal(external=await _external(store, state), new_user_id=ids.new_id())


_OF_SECRET: Final = {
    "good": OK,
    "unknown": NOT_FOUND,
    "expired": NOT_FOUND,
    "revoked": NOT_FOUND,
    "disabled": FORBIDDEN,
}

BY_SECRET: Final[dict[str, tuple[Callable[[Neighbour, str], Awaitable[rpc.Request[Any]]], dict[str, str]]]] = {
    "resolve_session": (_session, _OF_SECRET),
    "resolve_api_key": (_api_key, _OF_SECRET),
    # The issuer's signature was verified by the gateway, which also looks at the times in the token.
    "resolve_external": (_foreign_token, {"good": OK, "disabled": FORBIDDEN}),
    "start_session": (_new_session, {"good": OK, "disabled": FORBIDDEN}),
    "get_shared": (_share_link, {"good": OK, "unknown": NOT_FOUND, "revoked": NOT_FOUND}),
}
"""Requests that carry the digest of a secret, or name a user as an issuer does: what they get by its state."""

SENDERS: Final[dict[str, set[str]]] = {
    **{name.split()[0]: {"gateway"} for name in FOR_USERS},
    "start_session": {"gateway"},
    "end_provider_sessions": {"gateway"},
    "resolve_session": {"gateway", "push"},
    "resolve_api_key": {"gateway", "push"},
    "get_shared": {"gateway"},
    "find_revoked": {"gateway", "push"},
    "sync": {"push"},
    "versions": {"push"},
    "claim": {"llm-worker"},
    "store_tool_round": {"llm-worker"},
    "release": {"llm-worker"},
    # What administrators do by the gateway, which has asked for their role, operators do by the command line.
    "get_user": {"gateway", "operator"},
    "resolve_external": {"gateway", "operator"},
    "list_users": {"gateway", "operator"},
    "update_user": {"gateway", "operator"},
    "create_api_key": {"gateway", "operator"},
    "revoke_api_key": {"gateway", "operator"},
    "erase_user": {"gateway", "operator"},
    "find_api_keys": {"gateway", "operator"},
    "list_usage": {"gateway", "operator"},
}
"""Which users of the bus may send a request."""

_VIOLATION: Final = re.compile(r'permissions violation for publish to "([^"]+)"', re.IGNORECASE)


async def _reply(store: Neighbour, request: rpc.Request[Any]) -> str:
    """Return ``ok``, or the code of the refusal."""
    try:
        await store.ask(request, timeout=20)
    except RpcRefused as refused:
        return refused.code
    return OK


async def test_every_request_has_a_row() -> None:
    assert SENDERS.keys() == rpc.STORE_REQUESTS.keys()
    decided = {name.split()[0] for name in FOR_USERS} | BY_SECRET.keys()
    names_a_user = {verb for verb, request in rpc.STORE_REQUESTS.items() if "user_id" in request.__struct_fields__}
    # Of these, the user is whom it is about; who asks is an administrator or an operator.
    assert names_a_user - decided == {"update_user", "erase_user", "find_api_keys", "list_usage"}


@pytest.mark.parametrize(
    ("name", "role", "outcome"),
    [
        pytest.param(name, role, outcome, id=f"{name} for {role}")
        for name, row in FOR_USERS.items()
        for role, outcome in row.outcomes.items()
    ],
)
async def test_a_request_for_a_user_is_decided_by_the_role(
    store: Neighbour, scene: Scene, name: str, role: str, outcome: str
) -> None:
    row = FOR_USERS[name]
    changes = row.changes and outcome == OK
    if changes:
        scene = await create_scene(store)
        if row.prepare is not None:
            await row.prepare(scene)
    before = await scene.version()
    assert await _reply(store, row.build(scene, scene.id_of(role))) == outcome
    if not changes:
        assert await scene.version() == before


@pytest.mark.parametrize(
    ("verb", "state", "outcome"),
    [
        pytest.param(verb, state, outcome, id=f"{verb} of a secret that is {state}")
        for verb, (_, outcomes) in BY_SECRET.items()
        for state, outcome in outcomes.items()
    ],
)
async def test_a_request_with_a_secret_is_decided_by_its_state(
    store: Neighbour, verb: str, state: str, outcome: str
) -> None:
    request = await BY_SECRET[verb][0](store, state)
    assert request.subject() == subjects.rpc_store(verb)
    assert await _reply(store, request) == outcome


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def refused(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, set[str]]]:
    """The requests that a nats-server refuses, by user of the bus."""
    found: dict[str, set[str]] = {}
    server = NatsServer(tmp_path_factory.mktemp("nats"), passwords=random_passwords())
    with server:
        for user in permissions.USERS:
            errors: list[str] = []

            async def note(error: Exception, errors: list[str] = errors) -> None:
                errors.append(str(error))

            url, prefix = server.url_of(user.user), permissions.inbox_prefix(user.user).encode()
            nc = await nats.connect(url, error_cb=note, inbox_prefix=prefix)
            for verb in rpc.STORE_REQUESTS:
                await nc.publish(subjects.rpc_store(verb), b"")
            await wait_until_processed(nc)
            await nc.close()
            violations = [match[1] for error in errors if (match := _VIOLATION.search(error)) is not None]
            assert len(violations) == len(errors), errors
            found[user.user] = {subject.removeprefix(subjects.rpc_store("")) for subject in violations}
    yield found


@pytest.mark.parametrize("user", [user.user for user in permissions.USERS])
@pytest.mark.parametrize("verb", rpc.STORE_REQUESTS)
async def test_a_request_is_sent_by_who_needs_it(refused: dict[str, set[str]], verb: str, user: str) -> None:
    assert (verb not in refused[user]) == (user in SENDERS[verb])
