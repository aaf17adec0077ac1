"""Who reads or writes in a shared chat, merged from what each push process publishes."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.contracts.frames import Presence, PresentUser
from parley.contracts.live import PresenceReport
from push.rooms.presence import EXPIRY, HEARTBEAT, MAX_PROCESSES, PUBLISH_INTERVAL, TYPING_SECONDS, RoomPresence

ANN_BEN = frozenset({"ann", "ben"})
ALL = frozenset({"ann", "ben", "eve"})


def shown(presence: RoomPresence) -> dict[str, str]:
    """What readers were sent last."""
    if presence.frames is None:
        return {}
    payload = presence.frames.events.partition(b"data: ")[2]
    assert not presence.frames.events.startswith(b"id: "), "it moves no cursor"
    frame = msgspec.json.decode(payload.strip(), type=Presence)
    return {user.user_id: user.state for user in frame.users}


def report(process_id: str, **users: str) -> PresenceReport:
    listed = [PresentUser(user_id=user_id, state=state) for user_id, state in users.items()]  # type: ignore[arg-type]
    return PresenceReport(chat_id="c", process_id=process_id, users=listed)


def readers(*user_ids: str) -> frozenset[str]:
    return frozenset(user_ids)


def test_a_chat_with_one_member_is_not_reported() -> None:
    presence = RoomPresence("c", "p")
    for now in range(100):
        assert presence.step(readers("ann"), readers("ann"), float(now)) is None
    assert presence.frames is None


def test_readers_here_are_reported_at_once() -> None:
    presence = RoomPresence("c", "p")
    assert presence.step(readers("ann"), ANN_BEN, 0.0) == report("p", ann="reading")
    assert shown(presence) == {"ann": "reading"}
    assert presence.number == 1


def test_nothing_is_published_without_a_change_until_the_heartbeat() -> None:
    presence = RoomPresence("c", "p")
    presence.step(readers("ann"), ANN_BEN, 0.0)
    published = [now for now in range(1, 50) if presence.step(readers("ann"), ANN_BEN, float(now)) is not None]
    assert published == [HEARTBEAT, 2 * HEARTBEAT, 3 * HEARTBEAT]
    assert presence.number == 1


def test_changes_are_published_together_and_not_too_often() -> None:
    presence = RoomPresence("c", "p")
    published = 0
    for tick in range(200):
        here = readers("ann", "ben") if tick % 2 else readers("ann")
        published += presence.step(here, ANN_BEN, tick * 0.1) is not None
    assert published <= 20 / PUBLISH_INTERVAL + 1


def test_who_leaves_last_is_reported_too() -> None:
    presence = RoomPresence("c", "p")
    presence.step(readers("ann"), ANN_BEN, 0.0)
    assert presence.step(readers(), ANN_BEN, 1.0) is None
    assert presence.step(readers(), ANN_BEN, 3.0) == report("p")
    assert shown(presence) == {}
    assert presence.step(readers(), ANN_BEN, 100.0) is None


def test_a_user_writes_for_some_seconds_after_the_last_sign_of_it() -> None:
    presence = RoomPresence("c", "p")
    presence.typing("ann", 0.0)
    presence.step(readers("ann", "ben"), ANN_BEN, 0.0)
    assert shown(presence) == {"ann": "writing", "ben": "reading"}
    presence.step(readers("ann", "ben"), ANN_BEN, TYPING_SECONDS - 0.1)
    assert shown(presence)["ann"] == "writing"
    presence.step(readers("ann", "ben"), ANN_BEN, TYPING_SECONDS + 0.1)
    assert shown(presence) == {"ann": "reading", "ben": "reading"}


def test_a_user_who_writes_anywhere_is_writing() -> None:
    presence = RoomPresence("c", "p")
    presence.receive(report("q", ann="writing"), 0.0)
    presence.receive(report("r", ann="reading", ben="reading"), 0.0)
    presence.step(readers("ann"), ANN_BEN, 0.0)
    assert shown(presence) == {"ann": "writing", "ben": "reading"}


def test_a_process_that_died_is_forgotten() -> None:
    presence = RoomPresence("c", "p")
    presence.receive(report("q", ben="reading"), 0.0)
    presence.step(readers("ann"), ANN_BEN, 0.0)
    presence.step(readers("ann"), ANN_BEN, EXPIRY - 1)
    assert "ben" in shown(presence)
    presence.step(readers("ann"), ANN_BEN, EXPIRY + 1)
    assert shown(presence) == {"ann": "reading"}


def test_what_it_published_itself_is_ignored() -> None:
    presence = RoomPresence("c", "p")
    presence.receive(report("p", ben="reading"), 0.0)
    presence.step(readers("ann"), ANN_BEN, 0.0)
    assert shown(presence) == {"ann": "reading"}


def test_who_is_no_member_is_not_shown() -> None:
    presence = RoomPresence("c", "p")
    presence.receive(report("q", eve="writing", ben="reading"), 0.0)
    presence.step(readers("ann", "eve"), ANN_BEN, 0.0)
    assert shown(presence) == {"ann": "reading", "ben": "reading"}


def test_a_chat_that_is_shared_no_more_shows_nobody() -> None:
    presence = RoomPresence("c", "p")
    presence.receive(report("q", ben="reading"), 0.0)
    presence.step(readers("ann"), ANN_BEN, 0.0)
    assert presence.step(readers("ann"), readers("ann"), 5.0) == report("p")
    assert shown(presence) == {}
    assert presence.step(readers("ann"), readers("ann"), 50.0) is None


def test_a_process_that_appears_is_answered_once() -> None:
    presence = RoomPresence("c", "p")
    presence.step(readers("ann"), ANN_BEN, 0.0)
    presence.receive(report("q", ben="reading"), 3.0)
    assert presence.step(readers("ann"), ANN_BEN, 3.0) == report("p", ann="reading")
    presence.receive(report("q", ben="reading"), 6.0)
    assert presence.step(readers("ann"), ANN_BEN, 6.0) is None


def test_the_number_of_processes_is_bounded() -> None:
    presence = RoomPresence("c", "p")
    for number in range(10 * MAX_PROCESSES):
        presence.receive(report(f"q-{number}", ben="reading"), 0.0)
    assert len(presence._elsewhere) == MAX_PROCESSES


@pytest.mark.parametrize("processes", [2, 3])
@given(data=st.data())
def test_all_processes_agree_some_seconds_after_the_last_change(processes: int, data: st.DataObject) -> None:
    """Whatever joins, leaves and gets lost: within a heartbeat each process shows the same users."""
    rooms = [RoomPresence("c", f"p-{number}") for number in range(processes)]
    here = [data.draw(st.frozensets(st.sampled_from(sorted(ALL)))) for _ in rooms]

    def tick(now: float, *, lossy: bool) -> None:
        for room, users in zip(rooms, here, strict=True):
            published = room.step(users, ALL, now)
            if published is None:
                continue
            for other in rooms:
                if not lossy or data.draw(st.booleans()):
                    other.receive(published, now)

    for step in range(10):
        place = data.draw(st.integers(0, processes - 1))
        here[place] = data.draw(st.frozensets(st.sampled_from(sorted(ALL))))
        if data.draw(st.booleans()):
            rooms[place].typing("ann", float(step))
        tick(float(step), lossy=True)
    for now in itertools.takewhile(lambda now: now < 10 + EXPIRY + 2 * HEARTBEAT, itertools.count(10.0, 0.5)):
        tick(now, lossy=False)
    expected = dict.fromkeys(sorted(frozenset().union(*here)), "reading")
    assert [shown(room) for room in rooms] == [expected] * processes
