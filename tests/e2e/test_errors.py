"""What is refused, and how: a documented problem or close code each time, and the services live on."""

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from parley.contracts.ids import new_id
from parley_client import ConnectionRefused, ParleyClient
from tests.support.stack import RunningStack

_UNKNOWN = "0190a000-0000-7000-8000-000000000000"


async def _refused(client: ParleyClient, method: str, path: str, **arguments: Any) -> tuple[int, str]:
    """The status and the code of a problem."""
    await client.api.ensure_session()
    headers = client.api.headers | arguments.pop("headers", {})
    async with httpx.AsyncClient(base_url=client.api.url, timeout=20) as http:
        response = await http.request(method, path, headers=headers, **arguments)
    assert response.headers["content-type"].startswith("application/problem+json"), response.text
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["title"]
    return response.status_code, problem["code"]


_JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        pytest.param({"content": b"not json", "headers": _JSON}, 400, id="not JSON"),
        pytest.param({"content": b"", "headers": _JSON}, 400, id="no body"),
        pytest.param({"json": []}, 422, id="not an object"),
        pytest.param({"json": {"content": ""}}, 422, id="empty"),
        pytest.param({"json": {"content": " \n\t"}}, 422, id="blank"),
        pytest.param({"json": {"content": 7}}, 422, id="not a text"),
        pytest.param({"json": {"content": "hi", "id": "not an id"}}, 422, id="a bad id"),
        pytest.param({"json": {"content": "a" * 300_000}}, 413, id="300 KB"),
        pytest.param({"content": b"x" * 5_000_000, "headers": _JSON}, 413, id="5 MB"),
        pytest.param({"content": b"hi", "headers": {"content-type": "text/plain"}}, 415, id="a text"),
    ],
)
async def test_a_message_that_is_none_is_refused(client: ParleyClient, arguments: dict[str, Any], status: int) -> None:
    chat = await client.api.create_chat()
    got, code = await _refused(client, "POST", f"/v1/chats/{chat.id}/messages", **arguments)
    assert got == status
    assert code
    assert await client.api.all_messages(chat.id) == []


async def test_what_does_not_exist_and_what_is_of_others_look_alike(stack: RunningStack, client: ParleyClient) -> None:
    chat = await client.api.create_chat(model="demo-fast")
    async with client.watch(chat.id) as watch:
        answer = await watch.answer_to(await client.api.send(chat.id, "mine"))
    async with stack.client() as other:
        for chat_id in (chat.id, _UNKNOWN):
            for method, path, body in (
                ("GET", "", None),
                ("PATCH", "", {"title": "x"}),
                ("GET", "/messages", None),
                ("POST", "/messages", {"content": "hi"}),
                ("POST", f"/messages/{answer.id}/regenerate", {}),
                ("DELETE", f"/messages/{answer.id}", None),
                ("POST", "/stop", {}),
                ("GET", "/stream", None),
                ("PUT", f"/members/{new_id()}", {}),
            ):
                arguments = {} if body is None else {"json": body}
                assert await _refused(other, method, f"/v1/chats/{chat_id}{path}", **arguments) == (
                    404,
                    "not_found",
                ), f"{method} {path}"
            async with other.watch(chat_id) as theirs:
                with pytest.raises(ConnectionRefused, match="not_found"):
                    await theirs.until(lambda state: state.chat)
    assert [message.content for message in await client.api.all_messages(chat.id)][:1] == ["mine"]


async def test_a_wrong_method_and_an_unknown_path_are_refused_with_a_problem(client: ParleyClient) -> None:
    assert (await _refused(client, "PUT", "/v1/chats"))[0] == 405
    assert (await _refused(client, "GET", "/v1/nothing"))[0] == 404
    assert (await _refused(client, "GET", "/v1/chats/not-an-id"))[0] in (404, 422)


def _forged(token: str) -> str:
    """The same token, of another user, with the old signature."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = new_id()
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{header}.{changed}.{signature}"


async def test_a_token_that_is_missing_forged_or_nonsense_is_refused(client: ParleyClient) -> None:
    await client.api.ensure_session()
    token = client.api.access_token
    assert token is not None
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=") + f".{token.split('.')[1]}."
    for bad in (None, "nonsense", _forged(token), unsigned):
        async with httpx.AsyncClient(base_url=client.api.url) as http:
            headers = {"Authorization": f"Bearer {bad}"} if bad else {}
            response = await http.get("/v1/chats", headers=headers)
        assert response.status_code == 401
        assert response.json()["code"]


# --- the socket ------------------------------------------------------------------------------------------------------


async def _close_code(socket: ClientConnection) -> int:
    await asyncio.wait_for(socket.wait_closed(), 20)
    assert socket.close_code is not None
    return socket.close_code


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param("not json", 4400, id="not JSON"),
        pytest.param('{"type":"nothing"}', 4400, id="an unknown type"),
        pytest.param(b"\x00\x01", 4400, id="binary"),
        pytest.param(json.dumps({"type": "watch", "chat_id": _UNKNOWN, "after": None}), 4401, id="watch before auth"),
        pytest.param('{"type":"auth","ticket":"nonsense"}', 4401, id="a bad ticket"),
    ],
)
async def test_a_bad_frame_closes_the_socket_with_its_code(stack: RunningStack, frame: str | bytes, code: int) -> None:
    async with connect(stack.state.push_url) as socket:
        await socket.send(frame)
        assert await _close_code(socket) == code


async def test_a_session_token_is_no_ticket(stack: RunningStack, client: ParleyClient) -> None:
    await client.api.ensure_session()
    async with connect(stack.state.push_url) as socket:
        await socket.send(json.dumps({"type": "auth", "ticket": client.api.access_token}))
        assert await _close_code(socket) == 4401


async def test_a_frame_that_is_too_large_closes_the_socket(stack: RunningStack, client: ParleyClient) -> None:
    ticket = await client.api.push_ticket()
    async with connect(stack.state.push_url) as socket:
        await socket.send(json.dumps({"type": "auth", "ticket": ticket}))
        assert json.loads(await socket.recv())["type"] == "ready"
        await socket.send(json.dumps({"type": "watch", "chat_id": "x" * 1_000_000, "after": None}))
        assert await _close_code(socket) in (1009, 4400)


async def test_after_all_that_the_services_are_alive_and_logged_no_traceback(
    stack: RunningStack, client: ParleyClient
) -> None:
    chat = await client.api.create_chat(model="demo-fast")
    async with client.watch(chat.id) as watch:
        assert "alive" in (await watch.answer_to(await client.api.send(chat.id, "alive"))).content
    stack.assert_no_traceback()
    assert all(process.restarts == 0 for process in stack.state.processes.values())


# --- the provider ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("demo-error-401", "provider_auth"),
        ("demo-context-length", "context_too_long"),
        ("demo-error-content-filter", "content_refused"),
        ("no-such-model", "model_not_found"),
    ],
)
async def test_an_error_that_no_retry_cures_is_reported_at_once(client: ParleyClient, model: str, code: str) -> None:
    chat = await client.api.create_chat(model=model)
    async with client.watch(chat.id) as watch:
        answer = await watch.answer_to(await client.api.send(chat.id, "hi"), timeout=20)
    assert answer.status == "failed"
    assert answer.error is not None
    assert answer.error.code == code
    assert len(answer.error.message) > 20, "words that a person can act on"
    assert "Error code" not in answer.error.message, "the raw exception is not shown"


@pytest.mark.parametrize(
    "model", ["demo-error-429-once", "demo-error-500-once", "demo-cut-once", "demo-error-mid-stream-once"]
)
async def test_an_error_that_a_retry_resolves_is_not_seen_at_the_end(client: ParleyClient, model: str) -> None:
    chat = await client.api.create_chat(model=model)
    async with client.watch(chat.id) as watch:
        answer = await watch.answer_to(await client.api.send(chat.id, f"transient {model}"))
    assert answer.status == "complete"
    assert answer.error is None
    assert answer.content.count(f"transient {model}") == 2, "the text is of one attempt"
