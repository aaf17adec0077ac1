from msgspec.structs import replace

from parley.contracts.resources import Message
from push.rooms.history import History
from tests.support.chat_store.scripted_chat import ScriptedChat


def turns(store: ScriptedChat, number: int) -> None:
    for _ in range(number):
        store.submit()
        store.claim(announced=False)
        store.finish()


def known(store: ScriptedChat, after: int | None = None) -> History:
    history = History()
    history.merge(store.sync(after), after)
    return history


def ids(messages: list[Message] | None) -> list[str] | None:
    return None if messages is None else [message.id for message in messages]


def test_a_page_serves_a_joiner_and_not_a_cursor() -> None:
    store = ScriptedChat()
    turns(store, 5)
    history = known(store)
    page = history.page()
    assert page is not None
    assert len(page[0]) == store.page_size
    assert page[1] == page[0][0].id
    assert history.since(store.version) == []
    assert history.since(store.version - 1) is None


def test_changes_serve_a_cursor_and_not_a_joiner() -> None:
    store = ScriptedChat()
    turns(store, 2)
    then = store.version
    turns(store, 1)
    history = known(store, then)
    assert history.page() is None
    assert ids(history.since(then)) == ["m0005", "m0006"]
    assert history.since(then - 1) is None


def test_live_changes_are_added_to_both() -> None:
    store = ScriptedChat()
    turns(store, 1)
    history = known(store)
    then = store.version
    history.apply(store.submit())
    assert ids(history.since(then)) == ["m0003", "m0004"]
    page = history.page()
    assert page is not None
    assert ids(page[0]) == ["m0001", "m0002", "m0003", "m0004"]


def test_an_older_cursor_widens_what_is_known() -> None:
    store = ScriptedChat()
    turns(store, 1)
    then = store.version
    turns(store, 1)
    history = known(store)
    history.apply(store.submit())
    assert history.since(then) is None
    assert history.merge(store.sync(then), then)
    assert ids(history.since(then)) == ["m0003", "m0004", "m0005", "m0006"]


def test_a_late_answer_does_not_undo_a_change() -> None:
    store = ScriptedChat()
    turns(store, 1)
    history = known(store)
    late = store.sync(None)
    history.apply(store.submit())
    history.merge(late, None)
    assert history.version == store.version
    page = history.page()
    assert page is not None
    assert ids(page[0]) == list(store.messages)


def test_a_page_newer_than_the_rest_waits_for_the_changes_between() -> None:
    store = ScriptedChat()
    turns(store, 1)
    then = store.version
    turns(store, 1)
    history = known(store, then)
    missed = store.version
    store.submit()
    assert history.merge(store.sync(None), None)
    assert history.overtaken
    assert history.page() is None
    assert history.version == missed
    assert history.merge(store.sync(missed), missed)
    assert history.page() is not None


def test_when_the_changes_are_not_to_be_had_the_page_takes_their_place() -> None:
    store = ScriptedChat()
    turns(store, 1)
    history = known(store)
    then = store.version
    turns(store, 5)
    assert not history.merge(store.sync(then), then)
    assert history.version == store.version
    assert history.since(then) is None


def test_a_change_of_a_message_older_than_the_page_stays_off_it() -> None:
    store = ScriptedChat()
    turns(store, 5)
    history = known(store)
    old = replace(store.messages["m0001"], content="edited", version=store.version + 1)
    history.apply(replace(store.rename(), messages=[old]))
    page = history.page()
    assert page is not None
    assert "m0001" not in [message.id for message in page[0]]
    assert ids(history.since(store.version - 1)) == ["m0001"]


def test_a_long_chat_is_asked_for_again_rather_than_held() -> None:
    store = ScriptedChat()
    history = known(store)
    for _ in range(8):
        changed = store.submit()
        assert changed.messages is not None
        large = [replace(message, content="x" * 300_000) for message in changed.messages]
        history.apply(replace(changed, messages=large))
        store.ref = None
        assert ids(history.since(changed.since)) == ids(large)
    assert history.page() is None
    assert history.since(1) is None


def test_what_no_joiner_needed_for_a_while_is_forgotten() -> None:
    store = ScriptedChat()
    turns(store, 1)
    history = known(store)
    then = store.version
    history.apply(store.submit())
    history.discard_unused()
    assert history.page() is not None
    history.discard_unused()
    assert ids(history.since(then)) == ["m0003", "m0004"]
    history.discard_unused()
    assert history.page() is not None
    history.discard_unused()
    history.discard_unused()
    assert history.page() is None
    assert history.since(then) is None
    assert history.since(store.version) == []
    history.apply(store.rename())
    assert history.since(store.version - 1) == []


def test_a_late_page_in_place_of_changes_does_not_undo_a_change_either() -> None:
    store = ScriptedChat()
    turns(store, 1)
    history = known(store)
    then = store.version - 1
    store.page_size = 0
    late = store.sync(then)
    assert not late.recovered
    history.apply(store.submit())
    assert history.merge(late, then)
    assert history.version == store.version


def test_a_change_of_roles_is_known_with_it() -> None:
    store = ScriptedChat(members=("ann", "ben"))
    store.roles["ben"] = "reader"
    history = known(store)
    assert not history.may("ben", "write")
    history.apply(store.set_role("ben", "writer"))
    assert history.may("ben", "write")
    history.apply(store.set_role("cid", "reader"))
    assert (history.may("cid", "read"), history.may("cid", "write")) == (True, False)
    history.apply(replace(store.rename(), removed_members=["ben"], roles={"ben": "writer"}))
    assert not history.may("ben", "read"), "a removal has the last word"
