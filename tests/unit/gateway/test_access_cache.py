"""The cache of who may use a chat."""

from typing import get_args

from gateway.bus.access_cache import FRESH_SECONDS, STALE_SECONDS, Access, AccessCache, Freshness
from parley.contracts import rpc


def test_an_entry_is_fresh_for_a_minute_then_stale_for_an_hour_then_gone() -> None:
    cache = AccessCache()
    cache.add("user", "chat", 0.0, "read")
    assert cache.lookup("user", "chat", FRESH_SECONDS - 0.1, "read") is Freshness.FRESH
    assert cache.lookup("user", "chat", FRESH_SECONDS, "read") is Freshness.STALE
    assert cache.lookup("user", "chat", STALE_SECONDS - 0.1, "read") is Freshness.STALE
    assert cache.lookup("user", "chat", STALE_SECONDS, "read") is Freshness.MISSING
    assert len(cache) == 0


def test_an_entry_is_for_one_user_and_one_chat() -> None:
    cache = AccessCache()
    cache.add("user", "chat", 0.0, "read")
    assert cache.lookup("user", "other", 0.0, "read") is Freshness.MISSING
    assert cache.lookup("other", "chat", 0.0, "read") is Freshness.MISSING


def test_an_evicted_entry_is_missing() -> None:
    cache = AccessCache()
    cache.add("user", "chat", 0.0, "read")
    cache.evict("user", "chat")
    cache.evict("user", "chat")
    assert cache.lookup("user", "chat", 0.0, "read") is Freshness.MISSING


def test_an_entry_that_is_confirmed_is_fresh_again() -> None:
    cache = AccessCache()
    cache.add("user", "chat", 0.0, "read")
    cache.add("user", "chat", 100.0, "read")
    assert cache.lookup("user", "chat", 100.0 + FRESH_SECONDS - 1, "read") is Freshness.FRESH


def test_a_full_cache_evicts_the_entry_confirmed_longest_ago() -> None:
    cache = AccessCache(capacity=2)
    cache.add("a", "chat", 0.0, "read")
    cache.add("b", "chat", 1.0, "read")
    cache.add("a", "chat", 2.0, "read")
    cache.add("c", "chat", 3.0, "read")
    assert cache.lookup("b", "chat", 3.0, "read") is Freshness.MISSING
    assert cache.lookup("a", "chat", 3.0, "read") is Freshness.FRESH
    assert cache.lookup("c", "chat", 3.0, "read") is Freshness.FRESH


def test_a_request_that_succeeds_only_for_a_member_proves_the_right() -> None:
    cache = AccessCache()
    cache.record_success(rpc.GetChat(user_id="user", chat_id="chat"), now=0.0)
    assert cache.lookup("user", "chat", 0.0, "read") is Freshness.FRESH
    cache.record_refusal(rpc.ListMessages(user_id="user", chat_id="chat"))
    assert cache.lookup("user", "chat", 0.0, "read") is Freshness.MISSING


def test_reading_a_single_message_proves_no_right_to_the_chat() -> None:
    cache = AccessCache()
    request = rpc.GetMessage(user_id="user", chat_id="chat", message_id="message")
    cache.record_success(request, now=0.0)
    assert cache.lookup("user", "chat", 0.0, "read") is Freshness.MISSING
    cache.add("user", "chat", 0.0, "read")
    cache.record_refusal(request)
    assert cache.lookup("user", "chat", 0.0, "read") is Freshness.FRESH


def test_a_member_who_was_removed_and_a_chat_that_was_deleted_are_evicted() -> None:
    cache = AccessCache()
    for user in ("owner", "member"):
        cache.add(user, "chat", 0.0, "read")
    cache.record_success(rpc.DeleteMember(user_id="owner", chat_id="chat", member_id="member"), now=0.0)
    assert cache.lookup("member", "chat", 0.0, "read") is Freshness.MISSING
    assert cache.lookup("owner", "chat", 0.0, "read") is Freshness.FRESH
    cache.record_success(rpc.DeleteChat(user_id="owner", chat_id="chat"), now=0.0)
    assert cache.lookup("owner", "chat", 0.0, "read") is Freshness.MISSING


def test_who_may_write_may_read_and_not_the_reverse() -> None:
    cache = AccessCache()
    cache.record_success(rpc.GetChat(user_id="reader", chat_id="chat"), now=0.0)
    cache.record_success(rpc.CheckAccess(user_id="reader", chat_id="chat"), now=0.0)
    assert cache.lookup("reader", "chat", 0.0, "write") is Freshness.MISSING
    cache.record_success(rpc.CheckAccess(user_id="writer", chat_id="chat", action="write"), now=0.0)
    for access in get_args(Access):
        assert cache.lookup("writer", "chat", 0.0, access) is Freshness.FRESH
    cache.record_refusal(rpc.Stop(user_id="writer", chat_id="chat"))
    for access in get_args(Access):
        assert cache.lookup("writer", "chat", 0.0, access) is Freshness.MISSING


def test_a_member_whose_role_changes_is_evicted() -> None:
    cache = AccessCache()
    cache.add("member", "chat", 0.0, "write")
    cache.record_success(rpc.PutMember(user_id="owner", chat_id="chat", member_id="member", role="reader"), now=0.0)
    assert cache.lookup("member", "chat", 0.0, "write") is Freshness.MISSING
