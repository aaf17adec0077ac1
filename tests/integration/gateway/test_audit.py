"""A refused sign-in as an operator finds it: in the stream ``AUDIT``, and in the log of the gateway."""

import httpx
import msgspec
import nats.js.errors
from nats.aio.client import Client

from parley.contracts.access.audit import AuditEvent
from parley.contracts.streams import AUDIT
from tests.integration.gateway.conftest import Running
from tests.support.chat_store.fake import FakeStore
from tests.support.waiting import eventually


async def test_a_refused_api_key_is_in_the_stream_and_its_address_in_the_log(
    gateway: Running, store: FakeStore, nc: Client
) -> None:
    headers = {"authorization": f"Bearer pk_abcdefgh_{'x' * 43}", "x-request-id": "the-refused-request"}
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False) as http:
        assert (await http.get("/v1/chats", headers=headers)).status_code == 401
    js = nc.jetstream()

    async def published() -> AuditEvent | None:
        try:
            message = await js.get_last_msg(AUDIT.name, "audit.sign_in_refused")
        except nats.js.errors.NotFoundError:
            return None
        return msgspec.json.decode(message.data or b"", type=AuditEvent)

    event = await eventually(published, what="the event in the stream")
    assert event is not None
    assert (event.method, event.reason, event.request_id) == ("api_key", "token_invalid", "the-refused-request")

    def logged() -> list[str]:
        return [line for line in gateway.process.log.splitlines() if "A sign-in was refused" in line]

    # A thread of its own writes the log.
    lines = await eventually(logged, what="the line in the log")
    assert len(lines) == 1
    assert "the-refused-request" in lines[0]
    assert "127.0.0.1" in lines[0]
    metrics = gateway.process.get("/metrics")[1]
    assert 'parley_gateway_refused_sign_ins_total{method="api_key",reason="token_invalid"} 1.0' in metrics
