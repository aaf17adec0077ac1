import base64
import time

import msgspec

from parley.contracts.live import TicketUsed
from parley.runtime.tokens import KeyRing
from push.transport.tickets import Tickets

KEYS = KeyRing(["a key for tests that is long enough"])


def ticket() -> str:
    return KEYS.issue("ticket", "ann", 60)[0]


def test_a_ticket_is_good_once() -> None:
    used: list[TicketUsed] = []
    tickets = Tickets(used.append)
    one, other = ticket(), ticket()
    assert one != other
    expires = time.time() + 60
    assert tickets.use(one, expires)
    assert not tickets.use(one, expires)
    assert tickets.use(other, expires)
    assert len(used) == 2


def test_another_spelling_of_its_signature_is_the_same_ticket() -> None:
    tickets = Tickets(lambda _: None)
    one = ticket()
    head, _, signature = one.rpartition(".")
    spelled = next(
        f"{head}.{signature[:-1]}{last}"
        for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        if last != signature[-1] and raw(signature[:-1] + last) == raw(signature)
    )
    assert tickets.use(one, time.time() + 60)
    assert not tickets.use(spelled, time.time() + 60)


def raw(signature: str) -> bytes:
    return base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))


def test_what_another_process_let_in_is_used() -> None:
    used: list[TicketUsed] = []
    there, here = Tickets(used.append), Tickets(lambda _: None)
    one = ticket()
    there.use(one, time.time() + 60)
    here.on_used(b"ctl.ticket.used", msgspec.json.encode(used[0]))
    here.on_used(b"ctl.ticket.used", b"nonsense")
    assert not here.use(one, time.time() + 60)


def test_only_what_could_be_used_again_is_remembered() -> None:
    tickets = Tickets(lambda _: None, limit=10)
    for _ in range(100):
        tickets.use(ticket(), time.time() - 100)
    assert len(tickets) <= 1
    for _ in range(100):
        tickets.use(ticket(), time.time() + 60)
    assert len(tickets) == 10
