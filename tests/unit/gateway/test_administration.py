"""``/v1/admin``: what administrators see and change, under their own name, and who is no administrator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any, Final

import httpx
import pytest

from parley.contracts import rpc
from parley.contracts.access import identity
from parley.contracts.access.identity import ApiKey
from parley.contracts.ids import new_id
from parley.contracts.resources import TokenUsage
from parley.runtime.tokens import cookie_name
from tests.support.chat_store.identities import FakeIdentities
from tests.unit.gateway.apps import KEY, SECRET, USER, app, client, token, with_session

OTHER: Final = "0199f3a2-10bb-7b02-8c11-5d2e9f0a7b32"
KEY_ID: Final = "0199f3a2-10cc-7b02-8c11-5d2e9f0a7b33"

ROUTES: Final = (
    ("GET", "/v1/admin/users", None),
    ("GET", f"/v1/admin/users/{OTHER}", None),
    ("PATCH", f"/v1/admin/users/{OTHER}", {"disabled": True}),
    ("DELETE", f"/v1/admin/users/{OTHER}", None),
    ("GET", "/v1/admin/keys", None),
    ("DELETE", f"/v1/admin/keys/{KEY_ID}", None),
    ("GET", "/v1/admin/usage", None),
)


class Directory(FakeIdentities):
    """:data:`USER` as an administrator, and another user.

    Attributes:
        asked: What administrators asked for, in order.
    """

    def __init__(self, *, administrator: bool = True) -> None:
        super().__init__()
        vars(self).update(vars(with_session()))
        self.asked: list[Any] = []
        self._user(OTHER)
        if administrator:
            self.change(USER, role="administrator")

    def _list_users(self, request: identity.ListUsers) -> Any:
        self.asked.append(request)
        return identity.UserList(items=list(self.users.values()), next="the next page")

    def _get_user(self, request: identity.GetUser) -> Any:
        self.asked.append(request)
        user = self.users.get(request.user_id)
        if user is None:
            return rpc.RpcError(code="not_found", message="There is no such user.")
        return identity.UserReply(user=user)

    def _update_user(self, request: identity.UpdateUser) -> Any:
        self.asked.append(request)
        changes = {"disabled": request.disabled, "role": request.role}
        self.change(request.user_id, **{name: value for name, value in changes.items() if value is not None})
        return identity.UserReply(user=self.users[request.user_id])

    def _erase_user(self, request: rpc.EraseUser) -> Any:
        self.asked.append(request)
        return rpc.Done()

    def _revoke_api_key(self, request: identity.RevokeApiKey) -> Any:
        self.asked.append(request)
        return rpc.Done()

    def _find_api_keys(self, request: rpc.FindApiKeys) -> Any:
        self.asked.append(request)
        now = datetime.now(UTC)
        key = ApiKey(
            id=KEY_ID,
            name="robot",
            prefix="pk_abcdefgh",
            scopes=("read",),
            created_at=now,
            last_used_at=None,
            expires_at=None,
        )
        return rpc.KeyOfUserList(items=[rpc.KeyOfUser(user_id=OTHER, key=key)], next=None)

    def _list_usage(self, request: rpc.ListUsage) -> Any:
        self.asked.append(request)
        usage = TokenUsage(model="demo", answers=1, input_tokens=2, output_tokens=3)
        return rpc.UsageOfUserList(items=[rpc.UsageOfUser(user_id=OTHER, usage=usage)], next=None)


@asynccontextmanager
async def administering(directory: Directory) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app(identities=directory), headers={"authorization": f"Bearer {token()}"}) as http:
        yield http


async def test_users_are_listed_by_page_and_found_by_a_part_of_what_they_are_called() -> None:
    directory = Directory()
    async with administering(directory) as http:
        page = (await http.get("/v1/admin/users", params={"query": "ada", "before": "here", "limit": 2})).json()
        assert {one["id"] for one in page["items"]} == {USER, OTHER}
        assert page["next"] == "the next page"
        assert (await http.get(f"/v1/admin/users/{OTHER}")).json()["role"] == "user"
        unknown = await http.get(f"/v1/admin/users/{new_id()}")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
        for limit in ("0", "101", "many"):
            assert (await http.get("/v1/admin/users", params={"limit": limit})).status_code == 422
    assert directory.asked[0] == identity.ListUsers(query="ada", before="here", limit=2)


async def test_a_user_is_changed_and_erased_in_the_name_of_the_administrator() -> None:
    directory = Directory()
    async with administering(directory) as http:
        disabled = await http.patch(f"/v1/admin/users/{OTHER}", json={"disabled": True})
        promoted = await http.patch(f"/v1/admin/users/{OTHER}", json={"role": "administrator", "disabled": False})
        erased = await http.delete(f"/v1/admin/users/{OTHER}")
        for wrong in ({"role": "king"}, {"disabled": "yes"}):
            assert (await http.patch(f"/v1/admin/users/{OTHER}", json=wrong)).status_code == 422
    assert (disabled.json()["disabled"], disabled.json()["role"]) == (True, "user")
    assert (promoted.json()["disabled"], promoted.json()["role"]) == (False, "administrator")
    assert erased.status_code == 202
    assert directory.asked == [
        identity.UpdateUser(user_id=OTHER, actor_id=USER, disabled=True),
        identity.UpdateUser(user_id=OTHER, actor_id=USER, disabled=False, role="administrator"),
        rpc.EraseUser(user_id=OTHER, actor_id=USER),
    ]


async def test_keys_of_everybody_are_listed_without_secrets_and_revoked() -> None:
    directory = Directory()
    async with administering(directory) as http:
        listed = (await http.get("/v1/admin/keys", params={"user": OTHER})).json()["items"]
        assert (await http.delete(f"/v1/admin/keys/{KEY_ID}")).status_code == 204
    assert [(one["user_id"], one["key"]["id"]) for one in listed] == [(OTHER, KEY_ID)]
    assert set(listed[0]["key"]) == {"id", "name", "prefix", "scopes", "created_at", "last_used_at", "expires_at"}
    assert directory.asked == [
        rpc.FindApiKeys(user_id=OTHER),
        identity.RevokeApiKey(user_id=None, key_id=KEY_ID, actor_id=USER),
    ]


async def test_usage_is_summed_up_between_two_days() -> None:
    directory = Directory()
    async with administering(directory) as http:
        days = {"from": "2026-11-01", "to": "2026-11-30", "user": OTHER}
        items = (await http.get("/v1/admin/usage", params=days)).json()["items"]
        for wrong in ({"from": "yesterday"}, {"to": "86400"}, {"from": "2026-11-02", "to": "2026-11-01"}):
            assert (await http.get("/v1/admin/usage", params=wrong)).status_code == 422
    assert [(one["user_id"], one["usage"]["model"], one["usage"]["output_tokens"]) for one in items] == [
        (OTHER, "demo", 3)
    ]
    assert directory.asked == [
        rpc.ListUsage(user_id=OTHER, from_day=date(2026, 11, 1), to_day=date(2026, 11, 30), limit=50)
    ]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_who_is_no_administrator_is_refused_before_chat_store_is_asked(method: str, path: str, body: Any) -> None:
    directory = Directory(administrator=False)
    async with administering(directory) as http:
        refused = await http.request(method, path, json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_administrator")
    assert directory.asked == []


@pytest.mark.parametrize(("method", "path", "body"), [one for one in ROUTES if one[0] != "GET"])
async def test_another_site_cannot_use_an_administrators_cookie(method: str, path: str, body: Any) -> None:
    directory = Directory()
    headers = {"cookie": f"{cookie_name(KEY)}={SECRET}", "origin": "https://evil.example.com"}
    async with client(app(identities=directory)) as http:
        refused = await http.request(method, path, json=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "cross_origin")
        assert directory.asked == []
        own = await http.request(method, path, json=body, headers={**headers, "origin": "http://chat.test"})
        assert own.is_success
