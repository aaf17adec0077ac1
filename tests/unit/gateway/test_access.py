"""What is remembered of who may use a chat."""

from gateway.bus.access_cache import FRESH_SECONDS, STALE_SECONDS, AccessMemory, Known


def test_a_right_is_fresh_for_a_minute_then_only_of_use_in_an_outage_then_gone() -> None:
    memory = AccessMemory()
    memory.remember("user", "chat", now=0.0)
    assert memory.lookup("user", "chat", FRESH_SECONDS - 0.1) is Known.FRESH
    assert memory.lookup("user", "chat", FRESH_SECONDS) is Known.STALE
    assert memory.lookup("user", "chat", STALE_SECONDS - 0.1) is Known.STALE
    assert memory.lookup("user", "chat", STALE_SECONDS) is Known.NO
    assert len(memory) == 0


def test_a_right_is_of_one_user_to_one_chat() -> None:
    memory = AccessMemory()
    memory.remember("user", "chat", now=0.0)
    assert memory.lookup("user", "other", 0.0) is Known.NO
    assert memory.lookup("other", "chat", 0.0) is Known.NO


def test_what_is_forgotten_is_not_known() -> None:
    memory = AccessMemory()
    memory.remember("user", "chat", now=0.0)
    memory.forget("user", "chat")
    memory.forget("user", "chat")
    assert memory.lookup("user", "chat", 0.0) is Known.NO


def test_a_right_confirmed_again_is_fresh_again() -> None:
    memory = AccessMemory()
    memory.remember("user", "chat", now=0.0)
    memory.remember("user", "chat", now=100.0)
    assert memory.lookup("user", "chat", 100.0 + FRESH_SECONDS - 1) is Known.FRESH


def test_when_full_the_one_confirmed_longest_ago_goes() -> None:
    memory = AccessMemory(capacity=2)
    memory.remember("a", "chat", now=0.0)
    memory.remember("b", "chat", now=1.0)
    memory.remember("a", "chat", now=2.0)
    memory.remember("c", "chat", now=3.0)
    assert memory.lookup("b", "chat", 3.0) is Known.NO
    assert memory.lookup("a", "chat", 3.0) is Known.FRESH
    assert memory.lookup("c", "chat", 3.0) is Known.FRESH
