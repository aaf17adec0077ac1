"""Every route of the gateway by everybody: the exact status, with chat-store, push and Postgres behind it.

Which API key may use which route is shown without servers, in tests/unit/gateway/test_matrix.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio

from gateway.answers.reader import AnswerRef
from gateway.app import build_routes
from gateway.protocols.openai.responses_ids import conversation_id, item_id, response_id
from parley.contracts import ids
from parley.runtime.tokens import KeyRing
from tests.integration.access.scene import KEY, REFUSED, ROLES, Scene, create_scene
from tests.integration.chat_store.client import Neighbour
from tests.support.service import ServiceProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

Outcome = int | str
"""A status below 400; else the status with the problem's code."""

NOT_FOUND: Final = "404 not_found"
FORBIDDEN: Final = "403 forbidden"
NOT_ADMINISTRATOR: Final = "403 not_administrator"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A route with what everybody gets.

    Attributes:
        names: Of the path's parameters, where they are not those of :func:`_path`: whose id it is.
        prepare: What the scene needs first.
        alone: Whether everybody with a session gets a scene of their own, in which nothing else was prepared.
    """

    outcomes: dict[str, Outcome]
    body: Callable[[Scene], Any] = lambda _: None
    query: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Scene], Awaitable[None]] | None = None
    alone: bool = False


def members(owner: Outcome, writer: Outcome, reader: Outcome, *, invited: Outcome = NOT_FOUND, **row: Any) -> Row:
    """A route of a chat: whoever is no member does not learn that there is one."""
    outcomes = (owner, writer, reader, invited, NOT_FOUND, NOT_FOUND)
    return Row(outcomes={**dict(zip(ROLES, outcomes, strict=True)), **REFUSED}, **row)


def users(outcome: Outcome, **row: Any) -> Row:
    """A route of everybody who has a session."""
    return Row(outcomes={**dict.fromkeys(ROLES, outcome), **REFUSED}, **row)


def openai_users(outcome: Outcome, **row: Any) -> Row:
    """A route of OpenAI's API, with its codes."""
    outcomes: dict[str, Outcome] = dict.fromkeys(ROLES, outcome)
    for who, refusal in REFUSED.items():
        outcomes[who] = "401 invalid_api_key" if refusal.startswith("401") else refusal
    return Row(outcomes=outcomes, **row)


def openai_members(owner: Outcome, writer: Outcome, reader: Outcome, **row: Any) -> Row:
    """A route of OpenAI's API about a chat, which is a conversation there, or about an answer in one."""
    row_of_users = openai_users(NOT_FOUND, **row)
    return replace(row_of_users, outcomes={**row_of_users.outcomes, "owner": owner, "writer": writer, "reader": reader})


def administrators(outcome: Outcome, **row: Any) -> Row:
    outcomes = {**dict.fromkeys(ROLES, NOT_ADMINISTRATOR), "administrator": outcome, **REFUSED}
    return Row(outcomes=outcomes, **row)


def everybody(outcome: Outcome, **others: Outcome) -> Row:
    """A route that needs no session; ``others``: who gets something else."""
    return Row(outcomes=dict.fromkeys((*ROLES, *REFUSED), outcome) | others)


MATRIX: Final[dict[str, Row]] = {
    # A session that is there is renewed; only who has none at all becomes a guest.
    "POST /v1/session": Row(outcomes=users(200).outcomes | {"anonymous": 200}),
    "DELETE /v1/session": everybody(200, disabled="403 user_disabled"),
    "GET /v1/sessions": users(200),
    "DELETE /v1/sessions": users(200),
    "DELETE /v1/sessions/{session_id}": users(204),
    "GET /v1/me": users(200),
    "DELETE /v1/me": users(202, body=lambda _: {"confirm": "erase"}),
    "GET /v1/me/export": users(200),
    "POST /v1/push-ticket": users(200),
    # There is no provider here: tests/unit/gateway/test_oidc.py.
    "GET /v1/auth/oidc/login": everybody(NOT_FOUND),
    "GET /v1/auth/oidc/callback": everybody(NOT_FOUND),
    "POST /v1/auth/oidc/backchannel-logout": everybody(NOT_FOUND),
    "GET /v1/api-keys": users(200),
    "POST /v1/api-keys": users(201, body=lambda _: {"name": "a key", "scopes": ["read"]}),
    "DELETE /v1/api-keys/{key_id}": users(204),
    "GET /v1/admin/users": administrators(200),
    "GET /v1/admin/users/{user_id}": administrators(200),
    "PATCH /v1/admin/users/{user_id}": administrators(200, body=lambda _: {"disabled": True}),
    "DELETE /v1/admin/users/{user_id}": administrators(202),
    "GET /v1/admin/keys": administrators(200),
    "DELETE /v1/admin/keys/{key_id}": administrators(204),
    "GET /v1/admin/usage": administrators(200),
    "GET /v1/config": everybody(200),
    "GET /v1/models": users(200),
    "GET /v1/chats": users(200),
    "POST /v1/chats": users(201),
    "GET /v1/chats/{chat_id}": members(200, 200, 200),
    "PATCH /v1/chats/{chat_id}": members(200, 200, FORBIDDEN, body=lambda _: {"title": "another"}),
    "DELETE /v1/chats/{chat_id}": members(204, FORBIDDEN, FORBIDDEN),
    "POST /v1/chats/{chat_id}/stop": members(202, 202, FORBIDDEN),
    "GET /v1/chats/{chat_id}/messages": members(200, 200, 200),
    "POST /v1/chats/{chat_id}/messages": members(202, 202, FORBIDDEN, body=lambda _: {"content": "hello"}),
    "GET /v1/chats/{chat_id}/messages/{message_id}": members(200, 200, 200),
    "DELETE /v1/chats/{chat_id}/messages/{message_id}": members(
        204, FORBIDDEN, FORBIDDEN, names={"message_id": "queued"}, prepare=Scene.queue
    ),
    "DELETE /v1/chats/{chat_id}/messages/{message_id} of the writer": members(
        204, 204, FORBIDDEN, names={"message_id": "queued by the writer"}, prepare=Scene.queue
    ),
    "POST /v1/chats/{chat_id}/messages/{message_id}/regenerate": members(202, 202, FORBIDDEN, prepare=Scene.answer),
    "GET /v1/chats/{chat_id}/members": members(200, 200, 200),
    "GET /v1/chats/{chat_id}/members/{user_id}": members(200, 200, 200, names={"user_id": "writer"}),
    "PUT /v1/chats/{chat_id}/members/{user_id}": members(200, FORBIDDEN, FORBIDDEN),
    "PUT /v1/chats/{chat_id}/members/{user_id} of a member": members(
        200, FORBIDDEN, FORBIDDEN, names={"user_id": "reader"}
    ),
    "DELETE /v1/chats/{chat_id}/members/{user_id}": members(204, FORBIDDEN, FORBIDDEN, names={"user_id": "disabled"}),
    "DELETE /v1/chats/{chat_id}/members/{user_id} of the reader": members(
        204, FORBIDDEN, 204, names={"user_id": "reader"}
    ),
    "DELETE /v1/chats/{chat_id}/members/{user_id} of the owner": members(
        FORBIDDEN, FORBIDDEN, FORBIDDEN, names={"user_id": "owner"}
    ),
    "PUT /v1/chats/{chat_id}/owner": members(
        200, FORBIDDEN, FORBIDDEN, body=lambda scene: {"user_id": scene.id_of("writer")}
    ),
    "GET /v1/invitations": users(200),
    # A member has accepted already; nobody else learns more than that there is no invitation.
    "POST /v1/invitations/{chat_id}": members(200, 200, 200, invited=200),
    "DELETE /v1/invitations/{chat_id}": users(204),
    "GET /v1/chats/{chat_id}/shares": members(200, FORBIDDEN, FORBIDDEN),
    "POST /v1/chats/{chat_id}/shares": members(201, FORBIDDEN, FORBIDDEN),
    "DELETE /v1/chats/{chat_id}/shares/{share_id}": members(204, FORBIDDEN, FORBIDDEN),
    # SHARE_LINKS is `members`; the others: tests/unit/gateway/test_shares.py.
    "GET /v1/shared/{token}": users(200),
    "POST /v1/chats/{chat_id}/messages/{message_id}/tool-calls/{call_id}": members(
        "409 conflict", "409 conflict", FORBIDDEN, body=lambda _: {"approve": True}
    ),
    "GET /v1/chats/{chat_id}/stream": members(200, 200, 200),
    "GET /openai/v1/models": openai_users(200),
    "GET /openai/v1/models/{model}": openai_users("404 model_not_found"),
    # A request that is wrong, for there is no worker that would answer: who may use a chat is shown above.
    "POST /openai/v1/chat/completions": openai_users("400 invalid", body=lambda _: {"model": "demo"}),
    "POST /ai-sdk/chat": users("422 invalid", body=lambda _: {"id": "x", "messages": []}),
    # Whoever may not read the chat has none by this name, and nothing runs in it.
    "GET /ai-sdk/chat/{chat_id}/stream": Row(
        outcomes={**dict(zip(ROLES, (200, 200, 200, 204, 204, 204), strict=True)), **REFUSED}
    ),
    "POST /ai-sdk/chat/{chat_id}/stop": members(204, 204, FORBIDDEN),
    "POST /ag-ui": users("422 invalid", body=lambda _: {"threadId": "x", "runId": "y", "messages": []}),
    "GET /ag-ui": users(NOT_FOUND, query={"threadId": "x", "runId": "y"}),
    "POST /openai/v1/responses": openai_users("400 invalid", body=lambda _: {"model": "demo"}),
    "POST /openai/v1/responses in a conversation": openai_members(
        200,
        200,
        FORBIDDEN,
        body=lambda scene: {
            "model": "demo",
            "input": "hello",
            "conversation": conversation_id(scene.chat_id),
            "background": True,
        },
    ),
    "GET /openai/v1/responses/{response_id}": openai_members(200, 200, 200),
    "GET /openai/v1/responses/{response_id}/input_items": openai_members(200, 200, 200),
    "POST /openai/v1/responses/{response_id}/cancel": openai_members(200, 200, FORBIDDEN, prepare=Scene.answer),
    "DELETE /openai/v1/responses/{response_id}": openai_members(
        200, FORBIDDEN, FORBIDDEN, prepare=Scene.answer, alone=True
    ),
    "POST /openai/v1/conversations": openai_users(200, body=lambda _: {}),
    "GET /openai/v1/conversations/{conversation_id}": openai_members(200, 200, 200),
    "POST /openai/v1/conversations/{conversation_id}": openai_members(
        200, 200, FORBIDDEN, body=lambda _: {"metadata": {"title": "another"}}
    ),
    "DELETE /openai/v1/conversations/{conversation_id}": openai_members(200, FORBIDDEN, FORBIDDEN),
    "GET /openai/v1/conversations/{conversation_id}/items": openai_members(200, 200, 200),
    "GET /openai/v1/conversations/{conversation_id}/items/{item_id}": openai_members(200, 200, 200),
    "GET /v1/search": users(200, query={"q": "hello"}),
    "GET /v1/usage": users(200),
    "GET /healthz": everybody(200),
    "GET /readyz": everybody(200),
    "GET /metrics": everybody(200),
}
"""By method and path; the same route with another target is told apart by what follows the path."""


def route_of(name: str) -> str:
    return " ".join(name.split()[:2])


def cells() -> list[Any]:
    return [
        pytest.param(name, caller, outcome, id=f"{name} by {caller}")
        for name, row in MATRIX.items()
        for caller, outcome in row.outcomes.items()
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(gateway: ServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.health_url, timeout=60, trust_env=False, verify=False) as http:
        yield http


def _path(name: str, scene: Scene, caller: str) -> str:
    path = name.split()[1]
    of = MATRIX[name].names
    session = scene.sessions.get(caller, scene.users["owner"])
    values = {
        "chat_id": scene.chat_id,
        "message_id": scene.messages.get(of.get("message_id", "answer"), ids.new_id()),
        "user_id": scene.id_of(of.get("user_id", "newcomer")),
        "session_id": session.session_id,
        "key_id": scene.key_id,
        "share_id": scene.share_id,
        "token": scene.share_token,
        "model": "none",
        "call_id": "call_1",
        "conversation_id": conversation_id(scene.chat_id),
        "response_id": response_id(scene.chat_id, scene.messages.get("answer", ids.new_id())),
        "item_id": item_id(
            "msg", AnswerRef(chat_id=scene.chat_id, message_id=scene.messages.get("prompt", ids.new_id())), 0, 0
        ),
    }
    return path.format(**values)


async def _ask(http: httpx.AsyncClient, name: str, scene: Scene, caller: str) -> Outcome:
    row = MATRIX[name]
    token = scene.token_of(caller, KeyRing([KEY]))
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    body = row.body(scene)
    method = name.split()[0]
    request = http.build_request(method, _path(name, scene, caller), headers=headers, json=body, params=row.query)
    response = await http.send(request, stream=True)
    try:
        # A stream has no end.
        if response.is_success:
            return response.status_code
        await response.aread()
        problem = response.json()
        return f"{response.status_code} {problem.get('error', problem)['code']}"
    finally:
        await response.aclose()
        http.cookies.clear()


async def test_every_route_has_a_row() -> None:
    paths = build_routes().openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    assert {route_of(name) for name in MATRIX} == routes


@pytest.mark.parametrize(("name", "caller", "outcome"), cells())
async def test_everybody_gets_what_the_policy_allows(
    http: httpx.AsyncClient, store: Neighbour, scene: Scene, name: str, caller: str, outcome: Outcome
) -> None:
    changes = isinstance(outcome, int) and not name.startswith("GET ") and caller != "anonymous"
    prepare = MATRIX[name].prepare
    if changes or (MATRIX[name].alone and caller in ROLES):
        scene = await create_scene(store)
        if prepare is not None:
            await prepare(scene)
    before = await scene.version()
    assert await _ask(http, name, scene, caller) == outcome
    if not changes:
        assert await scene.version() == before
