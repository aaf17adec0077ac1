"""Rates of users and addresses, the refusal of prompts at the gateway, and the allowed models."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from parley.contracts import rpc
from parley.contracts.ids import derived_id, new_id
from parley_cli.embedded.ports import free_port
from tests.integration.gateway.conftest import Models, Running, User, environment, prompts_of, signed_in
from tests.support.chat_store.fake import FakeStore
from tests.support.service import run_service

MODELS = [
    {"name": "small", "context_tokens": 8192, "price": {"input": 1.5, "output": 6}},
    {"name": "usual", "display_name": "The usual one", "default": True},
    {"name": "large", "groups": ["research"]},
]
HIDDEN = {"REQUESTS_PER_SECOND_PER_ADDRESS": "0.01", "REQUESTS_BURST_PER_ADDRESS": "3", "TRUSTED_PROXIES": "127.0.0.1"}


@pytest.fixture
async def listed(gateway: Running, module_nats_url: str, store: FakeStore) -> AsyncIterator[User]:
    """A guest at a gateway with a list of models."""
    async with (
        run_service("gateway", environment(module_nats_url, free_port(), MODELS=json.dumps(MODELS))) as process,
        signed_in(process.health_url) as user,
    ):
        yield user


# --- prompts ----------------------------------------------------------------------------------------------------------


async def test_a_prompt_over_a_limit_is_refused_before_it_is_accepted(user: User, store: FakeStore, nc: Client) -> None:
    chat_id = await user.new_chat()
    store.chats.limited = True
    await user.http.post(f"/v1/chats/{chat_id}/messages", json={"content": "accepted"})
    store.refusals["admit_prompt"] = rpc.RpcError(
        code="too_many", message="Your tokens for today are used up.", retry_after=40.2, reason="budget_spent"
    )
    refused = await user.http.post(f"/v1/chats/{chat_id}/messages", json={"content": "hello", "model": "demo"})
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "41"
    assert (refused.json()["code"], refused.json()["detail"]) == ("budget_spent", "Your tokens for today are used up.")
    assert [prompt.content for prompt in await prompts_of(nc, chat_id)] == ["accepted"]
    asked = store.last["admit_prompt"]
    assert (asked.user_id, asked.chat_id, asked.bytes, asked.model) == (user.id, chat_id, 5, "demo")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/openai/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}),
        ("/openai/v1/responses", {"model": "demo", "input": "hello"}),
        (
            "/ai-sdk/chat",
            {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "a"}]}]},
        ),
        (
            "/ag-ui",
            {
                "threadId": "t",
                "runId": "r",
                "state": {},
                "tools": [],
                "context": [],
                "messages": [{"id": "m", "role": "user", "content": "hello"}],
            },
        ),
    ],
)
async def test_a_prompt_that_is_refused_leaves_no_empty_chat(
    user: User, store: FakeStore, path: str, body: dict[str, Any]
) -> None:
    store.chats.limited = True
    store.refusals["admit_prompt"] = rpc.RpcError(
        code="too_many", message="Your tokens for today are used up.", retry_after=40.2, reason="budget_spent"
    )
    refused = await user.http.post(path, json=body)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "41")
    assert "Your tokens for today are used up." in refused.text
    assert store.chats.chats == {}


@pytest.mark.parametrize("path", ["/ai-sdk/chat", "/ag-ui"])
async def test_nobody_takes_the_ids_that_are_derived_for_the_clients_of_others(
    user: User, store: FakeStore, path: str
) -> None:
    chat_id = derived_id("another user", "ai-sdk chat", "main")
    part = {"type": "text", "text": "a"}
    body = {
        "/ai-sdk/chat": {"id": chat_id, "messages": [{"id": "m", "role": "user", "parts": [part]}]},
        "/ag-ui": {
            "threadId": chat_id,
            "runId": "r",
            "state": {},
            "tools": [],
            "context": [],
            "messages": [{"id": "m", "role": "user", "content": "hello"}],
        },
    }[path]
    assert (await user.http.post(path, json=body)).status_code == 404
    assert (await user.http.post("/v1/chats", json={"id": chat_id})).status_code == 422
    own = await user.new_chat()
    for more in ({"id": chat_id}, {"answer_id": chat_id}):
        sent = await user.http.post(f"/v1/chats/{own}/messages", json={"content": "hello", **more})
        assert sent.status_code == 422
    assert set(store.chats.chats) == {own}


async def test_a_prompt_counts_with_what_it_has_in_addition_to_text(user: User, store: FakeStore) -> None:
    store.chats.limited = True
    store.refusals["admit_prompt"] = rpc.RpcError(code="too_many", message="Too many wait.", reason="queue_full")
    await user.http.post("/openai/v1/responses", json={"input": "hello", "instructions": "i" * 1000})
    assert store.last["admit_prompt"].bytes > 1000


async def test_each_prompt_is_asked_for_while_a_limit_is_set_and_none_for_a_minute_after_there_is_none(
    listed: User, store: FakeStore
) -> None:
    user = listed  # at a gateway of its own, which remembers that there is no limit
    chat_id = await user.new_chat()
    store.chats.limited = True
    for number in range(1, 4):
        sent = await user.http.post(f"/v1/chats/{chat_id}/messages", json={"content": "hello"})
        assert (sent.status_code, store.asked["admit_prompt"]) == (202, number)
    store.chats.limited = False
    for _ in range(3):
        await user.http.post(f"/v1/chats/{chat_id}/messages", json={"content": "hello"})
    assert store.asked["admit_prompt"] == 4


async def test_a_prompt_is_accepted_while_chat_store_cannot_say_whether_it_is_within_the_limits(
    user: User, store: FakeStore, gateway: Running, nc: Client
) -> None:
    chat_id = await user.new_chat()
    store.chats.limited = True
    await user.http.post(f"/v1/chats/{chat_id}/messages", json={"content": "asked"})
    store.refusals["admit_prompt"] = rpc.RpcError(code="unavailable", message="The database does not answer.")
    sent = await user.http.post(f"/v1/chats/{chat_id}/messages", json={"content": "not asked"})
    assert sent.status_code == 202
    assert [prompt.content for prompt in await prompts_of(nc, chat_id)] == ["asked", "not asked"]
    assert "parley_gateway_unchecked_prompts_total 1.0" in gateway.process.get("/metrics")[1]


# --- rates ------------------------------------------------------------------------------------------------------------


async def test_a_user_makes_as_many_requests_as_allowed_and_another_is_not_concerned(
    gateway: Running, module_nats_url: str, store: FakeStore
) -> None:
    rate = {"REQUESTS_PER_SECOND": "0.01", "REQUESTS_BURST": "3"}
    async with (
        run_service("gateway", environment(module_nats_url, free_port(), **rate)) as process,
        signed_in(process.health_url) as user,
        signed_in(process.health_url) as other,
    ):
        answers = [await user.http.get("/v1/chats") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[-1].json()["code"] == "too_many_requests"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 100
        assert (await other.http.get("/v1/chats")).status_code == 200


async def test_an_address_is_counted_by_its_network_and_only_a_proxy_names_it(
    gateway: Running, module_nats_url: str
) -> None:
    async with (
        run_service("gateway", environment(module_nats_url, free_port(), **HIDDEN)) as process,
        httpx.AsyncClient(base_url=process.health_url, trust_env=False) as http,
    ):

        async def status(forwarded: str | None) -> int:
            headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
            return (await http.get("/v1/config", headers=headers)).status_code

        # The right-most address is the proxy's word; what stands left of it is the client's.
        one_network = [f"2001:db8:1:2::{number}" for number in range(4)]
        assert [await status(f"198.51.100.7, {one}") for one in one_network] == [200, 200, 200, 429]
        assert await status("2001:db8:1:3::1") == 200
        assert [await status("192.0.2.1") for _ in range(4)] == [200, 200, 200, 429]
        # A proxy that speaks for itself is nobody's address, and probes are not counted.
        assert {await status(None) for _ in range(10)} == {200}
        healthy = [await http.get("/healthz", headers={"x-forwarded-for": "192.0.2.1"}) for _ in range(5)]
        assert {answer.status_code for answer in healthy} == {200}


# --- models -----------------------------------------------------------------------------------------------------------


async def test_the_allowed_models_are_listed_with_what_they_are(listed: User, models: Models) -> None:
    assert (await listed.http.get("/v1/models")).json() == {
        "items": ["small", "usual"],
        "default": "usual",
        "details": [
            {
                "name": "small",
                "display_name": "small",
                "default": False,
                "context_tokens": 8192,
                "price": {"input": 1.5, "output": 6.0},
            },
            {
                "name": "usual",
                "display_name": "The usual one",
                "default": True,
                "context_tokens": None,
                "price": None,
            },
        ],
        "next": None,
    }
    assert models.asked == 0


@pytest.mark.parametrize(
    ("model", "status", "code"), [("unknown", 422, "no_such_model"), ("large", 403, "model_not_allowed")]
)
async def test_another_model_is_refused_wherever_it_is_named(
    listed: User, store: FakeStore, model: str, status: int, code: str
) -> None:
    chat_id = await listed.new_chat()
    for method, path in (
        ("POST", "/v1/chats"),
        ("PATCH", f"/v1/chats/{chat_id}"),
        ("POST", f"/v1/chats/{chat_id}/messages"),
        ("POST", f"/v1/chats/{chat_id}/messages/{new_id()}/regenerate"),
    ):
        body = {"model": model} | ({"content": "hello"} if path.endswith("messages") else {})
        refused = await listed.http.request(method, path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (status, code), path
    assert (await listed.http.patch(f"/v1/chats/{chat_id}", json={"model": "small"})).status_code == 200


# --- usage ------------------------------------------------------------------------------------------------------------


async def test_usage_is_asked_for_by_day_where_days_are_named(user: User, store: FakeStore) -> None:
    assert (await user.http.get("/v1/usage")).status_code == 200
    assert not store.last["usage"].by_day
    assert (await user.http.get("/v1/usage", params={"from": "2026-11-01", "to": "2026-11-30"})).status_code == 200
    asked = store.last["usage"]
    assert (asked.by_day, str(asked.from_day), str(asked.to_day)) == (True, "2026-11-01", "2026-11-30")
    for wrong in ({"from": "yesterday"}, {"from": "2026-11-02", "to": "2026-11-01"}):
        assert (await user.http.get("/v1/usage", params=wrong)).status_code == 422
