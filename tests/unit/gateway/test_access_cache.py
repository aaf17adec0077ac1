"""The cache of who may use a chat."""

from gateway.bus.access_cache import FRESH_SECONDS, STALE_SECONDS, AccessCache, Freshness
from parley.contracts import rpc


def test_an_entry_is_fresh_for_a_minute_then_stale_for_an_hour_then_gone() -> None:
    cache = AccessCache()
    cache.add("user", "chat", now=0.0)
    assert cache.lookup("user", "chat", FRESH_SECONDS - 0.1) is Freshness.FRESH
    assert cache.lookup("user", "chat", FRESH_SECONDS) is Freshness.STALE
    assert cache.lookup("user", "chat", STALE_SECONDS - 0.1) is Freshness.STALE
    assert cache.lookup("user", "chat", STALE_SECONDS) is Freshness.MISSING
    assert len(cache) == 0


def test_an_entry_is_for_one_user_and_one_chat() -> None:
    cache = AccessCache()
    cache.add("user", "chat", now=0.0)
    assert cache.lookup("user", "other", 0.0) is Freshness.MISSING
    assert cache.lookup("other", "chat", 0.0) is Freshness.MISSING


def test_an_evicted_entry_is_missing() -> None:
    cache = AccessCache()
    cache.add("user", "chat", now=0.0)
    cache.evict("user", "chat")
    cache.evict("user", "chat")
    assert cache.lookup("user", "chat", 0.0) is Freshness.MISSING


def test_an_entry_that_is_confirmed_is_fresh_again() -> None:
    cache = AccessCache()
    cache.add("user", "chat", now=0.0)
    cache.add("user", "chat", now=100.0)
    assert cache.lookup("user", "chat", 100.0 + FRESH_SECONDS - 1) is Freshness.FRESH


def test_a_full_cache_evicts_the_entry_confirmed_longest_ago() -> None:
    cache = AccessCache(capacity=2)
    cache.add("a", "chat", now=0.0)
    cache.add("b", "chat", now=1.0)
    cache.add("a", "chat", now=2.0)
    cache.add("c", "chat", now=3.0)
    assert cache.lookup("b", "chat", 3.0) is Freshness.MISSING
    assert cache.lookup("a", "chat", 3.0) is Freshness.FRESH
    assert cache.lookup("c", "chat", 3.0) is Freshness.FRESH


def test_a_request_that_succeeds_only_for_a_member_proves_the_right() -> None:
    cache = AccessCache()
    cache.record_success(rpc.GetChat(user_id="user", chat_id="chat"), now=0.0)
    assert cache.lookup("user", "chat", 0.0) is Freshness.FRESH
    cache.record_not_found(rpc.ListMessages(user_id="user", chat_id="chat"))
    assert cache.lookup("user", "chat", 0.0) is Freshness.MISSING


def test_reading_a_single_message_proves_no_right_to_the_chat() -> None:
    cache = AccessCache()
    request = rpc.GetMessage(user_id="user", chat_id="chat", message_id="message")
    cache.record_success(request, now=0.0)
    assert cache.lookup("user", "chat", 0.0) is Freshness.MISSING
    cache.add("user", "chat", now=0.0)
    cache.record_not_found(request)
    assert cache.lookup("user", "chat", 0.0) is Freshness.FRESH


def test_a_member_who_was_removed_and_a_chat_that_was_deleted_are_evicted() -> None:
    cache = AccessCache()
    for user in ("owner", "member"):
        cache.add(user, "chat", now=0.0)
    cache.record_success(rpc.DeleteMember(user_id="owner", chat_id="chat", member_id="member"), now=0.0)
    assert cache.lookup("member", "chat", 0.0) is Freshness.MISSING
    assert cache.lookup("owner", "chat", 0.0) is Freshness.FRESH
    cache.record_success(rpc.DeleteChat(user_id="owner", chat_id="chat"), now=0.0)
    assert cache.lookup("owner", "chat", 0.0) is Freshness.MISSING
