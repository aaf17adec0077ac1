"""Refused sign-ins: which ones are published, with what, and how many."""

from types import SimpleNamespace
from typing import Any, Final

import msgspec
import pytest

from gateway.auth.audit import Audit
from parley.contracts.access.audit import AuditEvent
from parley.runtime.nats.publish import MSG_ID
from tests.support.chat_store.identities import FakeIdentities
from tests.support.oidc_provider import CLIENT_ID, OidcProvider
from tests.unit.gateway.apps import app, client, token

API_KEY: Final = f"pk_abcdefgh_{'x' * 43}"


class FakeBus:
    """A bus that is up or not, and what was published on it."""

    def __init__(self, *, is_up: bool = True) -> None:
        self.is_up = is_up
        self.client = SimpleNamespace(publish=self._publish)
        self.published: list[tuple[str, AuditEvent, dict[str, str]]] = []

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        self.published.append((subject, msgspec.json.decode(payload, type=AuditEvent), headers))


async def refuse(audit: Audit, address: str = "192.0.2.1") -> None:
    await audit.sign_in_refused("oidc", "disabled", address=address, request_id="r1")


async def test_an_event_names_the_method_the_reason_and_the_request_and_nobody() -> None:
    bus: Any = FakeBus()
    await refuse(Audit(bus))
    ((subject, event, headers),) = bus.published
    assert subject == "audit.sign_in_refused"
    assert headers == {MSG_ID: event.id}
    assert (event.kind, event.method, event.reason, event.request_id) == ("sign_in_refused", "oidc", "disabled", "r1")
    assert (event.actor_id, event.user_id) == (None, None)
    assert b"192.0.2.1" not in msgspec.json.encode(event)


async def test_an_address_publishes_a_bounded_number_and_others_go_on() -> None:
    bus: Any = FakeBus()
    audit = Audit(bus)
    for _ in range(100):
        await refuse(audit)
    seen = len(bus.published)
    assert 30 <= seen < 100
    await refuse(audit, "192.0.2.2")
    assert len(bus.published) == seen + 1


async def test_nothing_is_published_while_nats_is_away_and_the_request_is_answered() -> None:
    bus: Any = FakeBus(is_up=False)
    await refuse(Audit(bus))
    assert bus.published == []


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The method and the reason of each refused sign-in."""
    found: list[tuple[str, str]] = []

    async def note(self: Audit, method: str, reason: str, *, address: str, request_id: str | None, **_: object) -> None:
        assert address == "127.0.0.1"
        assert request_id is not None
        found.append((method, reason))

    monkeypatch.setattr(Audit, "sign_in_refused", note)
    return found


async def status_with(asgi: Any, **headers: str) -> int:
    async with client(asgi) as http:
        return int((await http.get("/v1/me", headers=headers)).status_code)


async def test_an_api_key_that_is_refused_is_one(refused: list[tuple[str, str]]) -> None:
    assert await status_with(app(), authorization=f"Bearer {API_KEY}") == 401
    assert refused == [("api_key", "token_invalid")]


async def test_a_session_that_has_ended_and_an_access_token_are_none(refused: list[tuple[str, str]]) -> None:
    asgi = app()
    assert await status_with(asgi) == 401
    assert await status_with(asgi, authorization=f"Bearer {token(seconds=-60)}") == 401
    assert await status_with(asgi, authorization="Bearer nonsense") == 401
    assert await status_with(asgi, authorization=f"Bearer {token()}") == 200
    assert refused == []


async def test_a_token_of_another_issuer_that_is_refused_is_one(refused: list[tuple[str, str]]) -> None:
    asgi = app(auth_modes="jwt", jwt_issuer="https://id.example.org", jwt_audience="parley", jwt_key="j" * 32,
               jwt_algorithms="HS256")  # fmt: skip
    assert await status_with(asgi, authorization="Bearer a.b.c") == 401
    assert refused == [("jwt", "token_invalid")]


async def test_a_disabled_user_whom_the_proxy_names_is_one(refused: list[tuple[str, str]]) -> None:
    identities = FakeIdentities()
    asgi = app(identities=identities, auth_modes="proxy", auth_proxy_networks="127.0.0.1")
    assert await status_with(asgi, **{"x-forwarded-user": "ada"}) == 200
    (user_id,) = identities.users
    identities.change(user_id, disabled=True)
    again = app(identities=identities, auth_modes="proxy", auth_proxy_networks="127.0.0.1")
    assert await status_with(again, **{"x-forwarded-user": "ada"}) == 403
    assert refused == [("proxy", "user_disabled")]


async def test_a_callback_without_a_sign_in_is_one_and_a_provider_that_is_away_is_not(
    refused: list[tuple[str, str]],
) -> None:
    async with OidcProvider() as provider:
        asgi = app(auth_modes="oidc", oidc_issuer=provider.issuer, oidc_client_id=CLIENT_ID)
        async with client(asgi) as http:
            back = await http.get("/v1/auth/oidc/callback", params={"code": "x", "state": "y"})
            assert back.headers["location"] == "/?sign_in_error=expired"
    away = app(auth_modes="oidc", oidc_issuer="http://127.0.0.1:1", oidc_client_id=CLIENT_ID)
    async with client(away) as http:
        assert (await http.get("/v1/auth/oidc/login")).headers["location"] == "/?sign_in_error=unavailable"
    assert refused == [("oidc", "expired")]
