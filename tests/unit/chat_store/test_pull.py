"""Taking messages while the connection breaks off."""

from typing import Any, cast

from nats.aio.client import Client
from nats.aio.msg import Msg

from chat_store.events import pull
from chat_store.events.pull import Pull
from parley.contracts.streams import CHAT_STORE_PROMPTS


class BrokenOff:
    """A client whose first publishes fail as uvloop's writes to a socket that has just been closed."""

    def __init__(self) -> None:
        self.failures = 2
        self.asked = 0
        self.inbox: Any = None

    def new_inbox(self) -> str:
        return "inbox"

    async def subscribe(self, subject: str, cb: Any) -> None:
        self.inbox = cb

    async def publish(self, subject: str, payload: bytes, reply: str) -> None:
        self.asked += 1
        if self.asked <= self.failures:
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
        await self.inbox(Msg(_client=cast(Client, self), subject="chat.c.prompt.submitted", reply="ack", data=b"!"))


async def test_asking_goes_on_after_a_write_that_failed(monkeypatch: Any) -> None:
    monkeypatch.setattr(pull, "_PAUSE", 0.01)
    client = BrokenOff()
    taking = Pull(cast(Client, client), CHAT_STORE_PROMPTS, batch=1)
    await taking.open()
    (message,) = await taking.next()
    assert message.data == b"!"
    assert client.asked >= client.failures + 1


async def test_after_a_renewal_one_batch_is_empty() -> None:
    client = BrokenOff()
    client.failures = 0
    taking = Pull(cast(Client, client), CHAT_STORE_PROMPTS, batch=1)
    await taking.open()
    assert await taking.next()
    taking.renew()
    assert await taking.next() == [], "what may have been lost is looked for before anything else is carried out"
    assert await taking.next()
    assert await taking.next()
