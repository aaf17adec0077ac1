"""Who reads or writes in a shared chat, over all push processes. No I/O.

Each process publishes the users of its own readers (``live.<chat>.presence``, at most once): on a change, but not more
often than each ``PUBLISH_INTERVAL`` seconds, and again each ``HEARTBEAT`` seconds while there are any. What another
process published counts until it publishes something else, or until ``EXPIRY`` seconds later, for it may have died. A
process that publishes for the first time is published to, so that both know of each other. Nothing of this is stored,
moves a reader's cursor, or happens in a chat with one member (``docs/decisions/0054``).
"""

from collections.abc import Set
from typing import Final

from parley.contracts.frames import Presence, PresenceState, PresentUser
from parley.contracts.live import PresenceReport
from push.rooms.framing import Frames

PUBLISH_INTERVAL: Final = 2.0
HEARTBEAT: Final = 15.0
EXPIRY: Final = 40.0
TYPING_SECONDS: Final = 6.0
"""How long a user writes after a ``typing`` frame; clients repeat it each three seconds."""
MAX_PROCESSES: Final = 64
"""Push processes of which one room keeps the users; there are no more of a chat's few readers."""

_Users = dict[str, PresenceState]


class RoomPresence:
    """The users of one chat's readers, here and elsewhere.

    Attributes:
        frames: The frame with all of them, for readers; None: nothing to report.
        number: Raised with each change of ``frames``.
    """

    __slots__ = (
        "_answer",
        "_chat_id",
        "_elsewhere",
        "_process_id",
        "_published",
        "_published_at",
        "_reported",
        "_typing",
        "frames",
        "number",
    )

    def __init__(self, chat_id: str, process_id: str) -> None:
        self._chat_id = chat_id
        self._process_id = process_id
        # By process: its users, and when they expire.
        self._elsewhere: dict[str, tuple[_Users, float]] = {}
        self._typing: dict[str, float] = {}
        self._published: _Users = {}
        self._published_at = float("-inf")
        # Another process does not know who reads here.
        self._answer = False
        self._reported: _Users = {}
        self.frames: Frames | None = None
        self.number = 0

    def typing(self, user_id: str, now: float) -> None:
        """Note that a reader here writes a message."""
        self._typing[user_id] = now + TYPING_SECONDS

    def receive(self, report: PresenceReport, now: float) -> None:
        """Take what a process published; its own comes back and is ignored."""
        if report.process_id == self._process_id:
            return
        if not report.users:
            self._elsewhere.pop(report.process_id, None)
            return
        if report.process_id not in self._elsewhere:
            if len(self._elsewhere) >= MAX_PROCESSES:
                return
            self._answer = True
        users = {user.user_id: user.state for user in report.users}
        self._elsewhere[report.process_id] = users, now + EXPIRY

    def step(self, readers: Set[str], members: Set[str], now: float) -> PresenceReport | None:
        """Bring ``frames`` up to date; return what is to be published, if anything.

        Args:
            readers: The users who read here.
            members: Those of the chat.
        """
        shared = len(members) > 1
        if not shared and not self._published and not self._reported:
            return None
        self._typing = {user_id: until for user_id, until in self._typing.items() if until > now}
        self._elsewhere = {process: one for process, one in self._elsewhere.items() if one[1] > now}
        here: _Users = {
            user_id: "writing" if user_id in self._typing else "reading"
            for user_id in (readers & members if shared else ())
        }
        self._report(here, members if shared else frozenset())
        return self._to_publish(here, now)

    def _report(self, here: _Users, members: Set[str]) -> None:
        merged = dict(here)
        for users, _ in self._elsewhere.values():
            for user_id, state in users.items():
                if user_id in members and merged.get(user_id) != "writing":
                    merged[user_id] = state
        if merged == self._reported:
            return
        self._reported = merged
        self.number += 1
        frame = Presence(chat_id=self._chat_id, users=_listed(merged))
        self.frames = Frames.of((frame, None))

    def _to_publish(self, here: _Users, now: float) -> PresenceReport | None:
        age = now - self._published_at
        due = here != self._published or (here and (self._answer or age >= HEARTBEAT))
        if not due or age < PUBLISH_INTERVAL:
            return None
        self._published, self._published_at, self._answer = here, now, False
        return PresenceReport(chat_id=self._chat_id, process_id=self._process_id, users=_listed(here))


def _listed(users: _Users) -> list[PresentUser]:
    return [PresentUser(user_id=user_id, state=users[user_id]) for user_id in sorted(users)]
