"""Links to chats: who may create one and who may read by it, how often, and what search engines are asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest

from parley.contracts import rpc
from parley.contracts.access.identity import digest
from parley.contracts.ids import new_id
from parley.runtime.tokens import cookie_name
from tests.support.chat_store.identities import FakeIdentities
from tests.unit.gateway.apps import KEY, SECRET, app, token, with_session

TOKEN: Final = "t" * 43
CHAT: Final = new_id()


class Links(FakeIdentities):
    """:data:`tests.unit.gateway.apps.USER`'s session, and the link of :data:`TOKEN`.

    Attributes:
        asked: Requests about links, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        vars(self).update(vars(with_session()))
        self.asked: list[Any] = []
        self.link = rpc.ShareLink(id=new_id(), chat_id=CHAT, live=False, tip_id=None, created_at=datetime.now(UTC))

    def _get_shared(self, request: rpc.GetShared) -> Any:
        self.asked.append(request)
        if request.token_digest != digest(TOKEN):
            return rpc.RpcError(code="not_found", message="There is no such link.")
        return rpc.SharedReply(title="trains", items=[], next=None)

    def _create_share_link(self, request: rpc.CreateShareLink) -> Any:
        self.asked.append(request)
        return rpc.ShareLinkReply(link=self.link)

    def _list_share_links(self, request: rpc.ListShareLinks) -> Any:
        self.asked.append(request)
        return rpc.ShareLinkList(items=[self.link])

    def _revoke_share_link(self, request: rpc.RevokeShareLink) -> Any:
        self.asked.append(request)
        return rpc.Done()


@asynccontextmanager
async def visiting(asgi: Any, *, address: str = "192.0.2.1", bearer: str | None = None) -> AsyncIterator[Any]:
    """A client at an address; ``bearer``: with a session."""
    headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
    transport = httpx.ASGITransport(asgi, client=(address, 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://chat.test", headers=headers) as http:
        yield http


@pytest.mark.parametrize(
    ("mode", "anonymous", "signed_in"),
    [
        ("off", (404, "not_found"), (404, "not_found")),
        ("members", (401, "not_authenticated"), (200, None)),
        ("public", (200, None), (200, None)),
    ],
)
async def test_a_link_is_read_by_whom_the_setting_allows(
    mode: str, anonymous: tuple[int, str | None], signed_in: tuple[int, str | None]
) -> None:
    links = Links()
    asgi = app(identities=links, share_links=mode)
    for bearer, expected in ((None, anonymous), (token(), signed_in)):
        links.asked.clear()
        async with visiting(asgi, bearer=bearer) as http:
            response = await http.get(f"/v1/shared/{TOKEN}")
        assert (response.status_code, response.json().get("code")) == expected
        assert len(links.asked) == (expected[0] == 200), "chat-store is asked only for who may read"


async def test_members_read_by_their_cookie_and_not_by_a_session_that_has_ended() -> None:
    asgi = app(identities=Links(), share_links="members")
    for secret, expected in ((SECRET, 200), ("x" * 43, 401)):
        async with visiting(asgi) as http:
            cookie = {"cookie": f"{cookie_name(KEY)}={secret}"}
            assert (await http.get(f"/v1/shared/{TOKEN}", headers=cookie)).status_code == expected


async def test_no_link_is_created_where_links_are_off_and_those_that_exist_can_be_revoked() -> None:
    links = Links()
    async with visiting(app(identities=links, share_links="off"), bearer=token()) as http:
        refused = await http.post(f"/v1/chats/{CHAT}/shares", json={})
        assert (refused.status_code, refused.json()["code"]) == (403, "share_links_off")
        assert links.asked == []
        listed = await http.get(f"/v1/chats/{CHAT}/shares")
        assert [one["id"] for one in listed.json()["items"]] == [links.link.id]
        assert (await http.delete(f"/v1/chats/{CHAT}/shares/{links.link.id}")).status_code == 204


async def test_the_token_of_a_new_link_is_in_the_response_and_chat_store_gets_its_digest() -> None:
    links = Links()
    async with visiting(app(identities=links, share_links="members"), bearer=token()) as http:
        response = await http.post(f"/v1/chats/{CHAT}/shares", json={"live": True})
    assert response.status_code == 201
    secret = response.json()["token"]
    assert response.headers["location"] == f"/v1/shared/{secret}"
    (asked,) = links.asked
    assert (asked.token_digest, asked.live, asked.chat_id) == (digest(secret), True, CHAT)


async def test_what_a_link_shows_is_not_indexed_nor_cached_nor_named_to_other_sites() -> None:
    async with visiting(app(identities=Links(), share_links="public")) as http:
        shown = await http.get(f"/v1/shared/{TOKEN}")
    assert shown.json() == {"title": "trains", "messages": [], "next": None}
    assert shown.headers["x-robots-tag"] == "noindex, nofollow"
    assert shown.headers["cache-control"] == "no-store"
    assert shown.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/v1/shared/", "/v1/%73hared/", "/shared/"])
@pytest.mark.parametrize("base_path", ["", "/chat"])
async def test_the_token_of_a_link_gets_into_no_log(
    caplog: pytest.LogCaptureFixture, path: str, base_path: str
) -> None:
    caplog.set_level("DEBUG")
    asgi = app(identities=Links(), share_links="public", base_path=base_path, requests_burst_per_address=1)
    async with visiting(asgi) as http:
        for _ in range(2):
            await http.get(f"{base_path}{path}{TOKEN}")
    assert "/shared/…" in caplog.text
    assert TOKEN not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("gateway"))


async def test_links_are_guessed_at_a_bounded_rate_by_each_address() -> None:
    links = Links()
    asgi = app(identities=links, share_links="public", shared_per_second=0.01, shared_burst=2)

    async def read(address: str) -> httpx.Response:
        async with visiting(asgi, address=address) as http:
            response: httpx.Response = await http.get(f"/v1/shared/{new_id()}")
        return response

    assert [(await read("192.0.2.1")).status_code for _ in range(3)] == [404, 404, 429]
    refused = await read("192.0.2.1")
    assert refused.json()["code"] == "too_many"
    assert int(refused.headers["retry-after"]) > 0
    assert (await read("192.0.2.2")).status_code == 404, "another address is not limited by it"
    # An IPv6 network is one address: its users have 2^64 of them.
    assert [(await read(f"2001:db8:0:1::{number}")).status_code for number in range(1, 4)] == [404, 404, 429]
    assert (await read("2001:db8:0:2::1")).status_code == 404
    assert len(links.asked) == 6, "a refused request asks nobody"


async def test_the_address_behind_a_trusted_proxy_is_limited_and_a_claimed_one_is_not_believed() -> None:
    def limited(**more: str) -> Any:
        return app(identities=Links(), share_links="public", shared_per_second=0.01, shared_burst=1, **more)

    async def read(asgi: Any, forwarded: str) -> int:
        async with visiting(asgi, address="10.0.0.1") as http:
            headers = {"x-forwarded-for": forwarded}
            return int((await http.get(f"/v1/shared/{TOKEN}", headers=headers)).status_code)

    behind_proxy = limited(trusted_proxies="10.0.0.0/8")
    assert [await read(behind_proxy, one) for one in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [200, 200, 429]
    open_to_all = limited()
    assert [await read(open_to_all, one) for one in ("192.0.2.1", "192.0.2.2")] == [200, 429]


async def test_no_limit_is_a_setting_too() -> None:
    async with visiting(app(identities=Links(), share_links="public", shared_per_second=0)) as http:
        assert {(await http.get(f"/v1/shared/{TOKEN}")).status_code for _ in range(300)} == {200}
