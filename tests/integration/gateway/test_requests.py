"""Every route, as a program uses it."""

import asyncio
import time
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import msgspec
import pytest
from msgspec import structs
from nats.aio.client import Client
from nats.aio.msg import Msg

from parley.contracts import rpc, subjects
from parley.contracts.ids import is_id, new_id
from parley.contracts.resources import Message, MessageError
from parley.runtime.nats.connect import wait_until_processed
from tests.integration.gateway.conftest import Models, Running, User, prompts_of
from tests.support.chat_store.fake import FakeStore
from tests.support.waiting import eventually


def answer_in(chat_id: str) -> Message:
    return Message(
        id=new_id(),
        chat_id=chat_id,
        parent_id=None,
        role="assistant",
        author_id=None,
        content="# Hello\n\nwörld",
        reasoning="",
        status="complete",
        model="demo",
        error=None,
        usage=None,
        created_at=datetime.now(UTC),
        version=2,
    )


async def test_a_chat_is_created_once_whatever_happens_to_the_answer(user: User, store: FakeStore) -> None:
    body = {"id": new_id(), "title": "Trains", "model": "demo", "system_prompt": "Be brief."}
    first = await user.http.post("/v1/chats", json=body)
    again = await user.http.post("/v1/chats", json=body)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert first.headers["location"] == f"/v1/chats/{body['id']}"
    chat = first.json()
    assert {name: chat[name] for name in body} == body
    assert chat["owner_id"] == user.id
    assert set(chat) == {
        *("id", "owner_id", "title", "model", "system_prompt", "tip_id"),
        *("created_at", "updated_at", "version", "running"),
    }


async def test_chats_are_listed_in_pages(user: User, store: FakeStore) -> None:
    ids = {await user.new_chat() for _ in range(3)}
    page = (await user.http.get("/v1/chats", params={"limit": 2})).json()
    assert (len(page["items"]), page["next"]) == (2, "2")
    rest = (await user.http.get("/v1/chats", params={"limit": 2, "before": page["next"]})).json()
    assert (len(rest["items"]), rest["next"]) == (1, None)
    assert {chat["id"] for chat in page["items"] + rest["items"]} == ids


async def test_a_chat_is_shown_changed_and_deleted(user: User, store: FakeStore) -> None:
    chat_id = await user.new_chat()
    changed = await user.http.patch(f"/v1/chats/{chat_id}", json={"title": "New", "model": None})
    assert changed.json()["title"] == "New"
    request = store.last["update_chat"]
    assert request.model is None
    assert not request.system_prompt, "what was not named stays"
    assert (await user.http.get(f"/v1/chats/{chat_id}")).json() == changed.json()
    deleted = await user.http.delete(f"/v1/chats/{chat_id}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await user.http.get(f"/v1/chats/{chat_id}")).status_code == 404


async def test_a_message_is_in_the_stream_when_its_response_is_202(user: User, store: FakeStore, nc: Client) -> None:
    chat_id = await user.new_chat()
    message_id, parent_id = new_id(), new_id()
    body = {"id": message_id, "content": "Grüße 👋", "parent_id": parent_id, "model": "demo-fast"}
    answer = await user.http.post(f"/v1/chats/{chat_id}/messages", json=body)
    assert (answer.status_code, answer.json()) == (202, {"chat_id": chat_id, "message_id": message_id})
    (prompt,) = await prompts_of(nc, chat_id)
    assert (prompt.user_id, prompt.message_id, prompt.content) == (user.id, message_id, "Grüße 👋")
    assert (prompt.parent_id, prompt.model) == (parent_id, "demo-fast")


@pytest.mark.parametrize(("body", "shown"), [({}, "absent"), ({"parent_id": None}, None)])
async def test_an_absent_parent_and_a_null_parent_differ(
    body: dict[str, None], shown: str | None, user: User, store: FakeStore, nc: Client
) -> None:
    chat_id = await user.new_chat()
    answer = await user.http.post(f"/v1/chats/{chat_id}/messages", json={"content": "x", **body})
    assert is_id(answer.json()["message_id"])
    (prompt,) = await prompts_of(nc, chat_id)
    assert prompt.parent_id is None if shown is None else not isinstance(prompt.parent_id, str | None)


async def test_messages_are_listed(user: User, store: FakeStore) -> None:
    chat_id = await user.new_chat()
    store.chats.add_message(answer_in(chat_id))
    page = (await user.http.get(f"/v1/chats/{chat_id}/messages", params={"limit": 7, "before": "abc"})).json()
    assert page["next"] is None
    assert page["items"][0]["content"] == "# Hello\n\nwörld"
    assert (store.last["list_messages"].before, store.last["list_messages"].limit) == ("abc", 7)


async def test_another_answer_is_asked_for_under_an_id_that_makes_it_repeatable(user: User, store: FakeStore) -> None:
    chat_id = await user.new_chat()
    message = answer_in(chat_id)
    store.chats.add_message(message)
    path = f"/v1/chats/{chat_id}/messages/{message.id}/regenerate"
    answer = await user.http.post(path)
    assert (answer.status_code, answer.json()["chat_id"]) == (202, chat_id)
    assert answer.json()["message_id"] == store.last["regenerate"].answer_id
    mine = new_id()
    answer = await user.http.post(path, json={"id": mine, "model": "demo-slow"})
    assert answer.json()["message_id"] == mine
    assert store.last["regenerate"].model == "demo-slow"
    assert (await user.http.post(f"/v1/chats/{chat_id}/messages/{new_id()}/regenerate")).status_code == 404


async def test_a_running_answer_is_stopped_and_a_queued_prompt_deleted(user: User, store: FakeStore) -> None:
    chat_id, message_id = await user.new_chat(), new_id()
    assert (await user.http.post(f"/v1/chats/{chat_id}/stop")).status_code == 202
    assert (store.last["stop"].chat_id, store.last["stop"].message_id) == (chat_id, None)
    named = await user.http.post(f"/v1/chats/{chat_id}/stop", json={"message_id": message_id})
    assert (named.status_code, named.json()) == (202, {})
    assert store.last["stop"].message_id == message_id
    assert (await user.http.post(f"/v1/chats/{chat_id}/stop", json={"message_id": "no id"})).status_code == 422
    assert (await user.http.delete(f"/v1/chats/{chat_id}/messages/{message_id}")).status_code == 204
    assert store.last["delete_message"].message_id == message_id


@pytest.mark.parametrize("call_id", ["call_1", "functions.clock:0", "ns/clock#1?", "../..", "a%2Fb", "Würfel"])
async def test_a_call_is_decided_whatever_its_provider_named_it(user: User, store: FakeStore, call_id: str) -> None:
    chat_id, answer_id = await user.new_chat(), new_id()
    path = f"/v1/chats/{chat_id}/messages/{answer_id}/tool-calls/{quote(call_id, safe='')}"
    response = await user.http.post(path, json={"approve": False})
    assert response.status_code == 204, response.text
    assert store.last["decide_tool_call"] == rpc.DecideToolCall(
        user_id=user.id, chat_id=chat_id, message_id=answer_id, call_id=call_id, approve=False
    )


async def test_members_are_invited_listed_and_removed(user: User, other: User, store: FakeStore) -> None:
    chat_id = await user.new_chat()
    members, invitation = f"/v1/chats/{chat_id}/members", f"/v1/invitations/{chat_id}"
    assert (await other.http.get(members)).status_code == 404
    assert (await other.http.post(invitation)).status_code == 404
    invited = await user.http.put(f"{members}/{other.id}", json={"role": "reader"})
    assert (invited.status_code, invited.json()["role"], invited.json()["status"]) == (200, "reader", "invited")
    assert (await user.http.put(f"{members}/{other.id}", json={"role": "owner"})).status_code == 422
    assert [one["chat_id"] for one in (await other.http.get("/v1/invitations")).json()["items"]] == [chat_id]
    accepted = await other.http.post(invitation)
    assert (accepted.status_code, accepted.json()["status"]) == (200, "member")
    assert (await other.http.put(f"{members}/{new_id()}")).status_code == 403
    listed = (await other.http.get(members)).json()
    assert {member["user_id"] for member in listed["items"]} == {user.id, other.id}
    assert listed["next"] is None
    assert (await user.http.get(f"{members}/{other.id}")).json() == accepted.json()
    assert (await user.http.delete(f"{members}/{other.id}")).status_code == 204
    assert (await user.http.get(f"{members}/{other.id}")).status_code == 404


async def test_an_invitation_is_declined(user: User, other: User, store: FakeStore) -> None:
    chat_id = await user.new_chat()
    await user.http.put(f"/v1/chats/{chat_id}/members/{other.id}")
    assert (await other.http.delete(f"/v1/invitations/{chat_id}")).status_code == 204
    assert (await other.http.get("/v1/invitations")).json()["items"] == []
    assert (await other.http.get("/v1/invitations/x")).status_code in (404, 405)


async def test_a_chat_is_handed_over_to_a_member(user: User, other: User, store: FakeStore) -> None:
    chat_id = await user.new_chat()
    owner = f"/v1/chats/{chat_id}/owner"
    assert (await user.http.put(owner, json={"user_id": other.id})).status_code == 409
    await join(chat_id, user, other)
    assert (await other.http.put(owner, json={"user_id": other.id})).status_code == 403
    handed = await user.http.put(owner, json={"user_id": other.id})
    assert (handed.status_code, handed.json()["owner_id"]) == (200, other.id)
    assert (await user.http.put(owner, json={})).status_code == 422


async def test_a_reader_reads_and_cannot_send(user: User, other: User, store: FakeStore) -> None:
    chat_id = await user.new_chat()
    await join(chat_id, user, other, "reader")
    messages = f"/v1/chats/{chat_id}/messages"
    assert (await other.http.get(messages)).status_code == 200
    for _ in range(2):
        refused = await other.http.post(messages, json={"content": "hi"})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    await user.http.put(f"/v1/chats/{chat_id}/members/{other.id}", json={"role": "writer"})
    assert (await other.http.post(messages, json={"content": "hi"})).status_code == 202
    await user.http.put(f"/v1/chats/{chat_id}/members/{other.id}", json={"role": "reader"})
    assert (await other.http.post(messages, json={"content": "hi"})).status_code == 403


async def join(chat_id: str, owner: User, member: User, role: str = "writer") -> None:
    """Invite a user, who accepts."""
    await owner.http.put(f"/v1/chats/{chat_id}/members/{member.id}", json={"role": role})
    await member.http.post(f"/v1/invitations/{chat_id}")


async def test_a_member_who_was_removed_here_cannot_send_a_moment_later(
    user: User, other: User, store: FakeStore
) -> None:
    chat_id = await user.new_chat()
    await join(chat_id, user, other)
    messages = f"/v1/chats/{chat_id}/messages"
    assert (await other.http.post(messages, json={"content": "hi"})).status_code == 202
    await user.http.delete(f"/v1/chats/{chat_id}/members/{other.id}")
    assert (await other.http.post(messages, json={"content": "hi"})).status_code == 404


async def test_search_and_usage(user: User, store: FakeStore) -> None:
    hits = (await user.http.get("/v1/search", params={"q": "föö bar"})).json()
    assert hits["items"][0]["excerpt"] == "… föö bar …"
    usage = (await user.http.get("/v1/usage")).json()
    assert usage == {
        "items": [
            {"model": "demo", "answers": 2, "input_tokens": 10, "output_tokens": 20, "estimated": 0, "cost": None}
        ],
        "next": None,
    }


async def test_a_search_is_cancelled_when_its_client_disconnects(user: User, store: FakeStore, nc: Client) -> None:
    store.silent = True
    cancelled: list[str] = []

    async def on_cancel(message: Msg) -> None:
        cancelled.append(message.subject.split(".")[2])

    await nc.subscribe(subjects.ctl_search_cancel("*"), cb=on_cancel)
    await wait_until_processed(nc)
    searching = asyncio.create_task(user.http.get("/v1/search", params={"q": "long"}))
    await eventually(lambda: store.asked["search"] > 0)
    searching.cancel()
    await eventually(lambda: cancelled == [store.last["search"].search_id])


async def test_a_refused_search_is_a_problem_with_the_reason(user: User, store: FakeStore) -> None:
    for code, status in (("too_many", 429), ("unavailable", 503)):
        store.refusals["search"] = rpc.RpcError(code=code, message="Later.", retry_after=1.0)
        answer = await user.http.get("/v1/search", params={"q": "many"})
        assert (answer.status_code, answer.headers["retry-after"]) == (status, "1")


async def test_models_are_cached_for_a_minute(user: User, models: Models) -> None:
    for _ in range(3):
        listed = (await user.http.get("/v1/models")).json()
        assert listed == {"items": ["demo", "demo-fast"], "default": "demo", "details": [], "next": None}
    assert models.asked <= 1


async def test_access_to_a_chat_is_cached_for_a_minute(user: User, other: User, store: FakeStore) -> None:
    chat_id = await user.new_chat()
    await join(chat_id, user, other)
    for _ in range(5):
        answer = await other.http.post(f"/v1/chats/{chat_id}/messages", json={"content": "x"})
        assert answer.status_code == 202
    assert store.asked["check_access"] == 1


async def test_the_configuration_needs_no_session(gateway: Running) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        config = (await http.get("/v1/config")).json()
    assert config == {
        "push_url": f"ws://127.0.0.1:{gateway.push_port}/ws",
        "auth": {"guest": True, "oidc": None},
        "default_model": None,
        "demo": False,
        "version": "0.1.0",
        "limits": {"content_bytes": 131072},
    }


async def test_probes_and_metrics_are_on_the_same_port(gateway: Running, user: User, store: FakeStore) -> None:
    await user.new_chat()
    assert gateway.process.get("/healthz") == (200, "ok\n")
    status, text = gateway.process.get("/readyz")
    said = msgspec.json.decode(text)
    assert abs(said.pop("time") - time.time()) < 5, "by which the doctor compares clocks"
    assert (status, said) == (200, {"ready": True, "problems": {}})
    status, text = gateway.process.get("/metrics")
    assert status == 200
    assert 'parley_gateway_requests_total{method="POST",route="/v1/chats",status="201"}' in text


async def test_the_same_message_many_times_at_once_is_in_the_stream_once(
    user: User, store: FakeStore, nc: Client
) -> None:
    chat_id, message_id = await user.new_chat(), new_id()
    body = {"id": message_id, "content": "once"}
    answers = await asyncio.gather(*(user.http.post(f"/v1/chats/{chat_id}/messages", json=body) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert [prompt.message_id for prompt in await prompts_of(nc, chat_id)] == [message_id]


async def test_a_duplicate_that_chat_store_has_lost_is_published_again(
    user: User, store: FakeStore, nc: Client
) -> None:
    """After a failover of Postgres that lost it, and again after another one."""
    chat_id, message_id = await user.new_chat(), new_id()
    body = {"id": message_id, "content": "not lost"}
    for number in range(1, 4):
        assert (await user.http.post(f"/v1/chats/{chat_id}/messages", json=body)).status_code == 202
        assert len(await prompts_of(nc, chat_id)) == number
        assert (await user.http.post(f"/v1/chats/{chat_id}/messages", json=body)).status_code == 202
        assert len(await prompts_of(nc, chat_id)) == number, "it is there"
        del store.chats.prompts[chat_id, message_id]


async def test_a_duplicate_is_accepted_while_chat_store_cannot_be_asked(
    user: User, store: FakeStore, nc: Client
) -> None:
    chat_id, message_id = await user.new_chat(), new_id()
    body = {"id": message_id, "content": "perhaps lost"}
    assert (await user.http.post(f"/v1/chats/{chat_id}/messages", json=body)).status_code == 202
    store.refusals["get_message"] = rpc.RpcError(code="unavailable", message="Away.")
    assert (await user.http.post(f"/v1/chats/{chat_id}/messages", json=body)).status_code == 202
    assert len(await prompts_of(nc, chat_id)) == 2


async def test_another_message_with_an_id_in_use_is_refused(user: User, other: User, store: FakeStore) -> None:
    chat_id, message_id = await user.new_chat(), new_id()
    await join(chat_id, user, other)
    messages = f"/v1/chats/{chat_id}/messages"
    assert (await user.http.post(messages, json={"id": message_id, "content": "mine"})).status_code == 202
    for somebody, content in ((user, "other words"), (other, "mine")):
        refused = await somebody.http.post(messages, json={"id": message_id, "content": content})
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


async def test_a_rejected_message_sent_again_is_refused_while_it_would_be_rejected(
    user: User, store: FakeStore, nc: Client
) -> None:
    chat_id, message_id = await user.new_chat(), new_id()
    messages = f"/v1/chats/{chat_id}/messages"
    body = {"id": message_id, "content": "too late"}
    assert (await user.http.post(messages, json=body)).status_code == 202
    error = MessageError(code="not_a_member", message="You may not write to this chat any more.", retryable=False)
    rejected = structs.replace(store.chats.prompts[chat_id, message_id], status="rejected", error=error, content="")
    store.chats.prompts[chat_id, message_id] = rejected
    shown = await user.http.get(f"{messages}/{message_id}")
    assert (shown.json()["status"], shown.json()["error"]["code"]) == ("rejected", "not_a_member")
    members = store.chats.members.pop(chat_id)
    assert (await user.http.post(messages, json=body)).status_code == 404
    store.chats.members[chat_id] = members
    assert (await user.http.post(messages, json=body)).status_code == 202
    assert len(await prompts_of(nc, chat_id)) == 2
