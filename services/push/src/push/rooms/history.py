"""The chat and its messages as one room knows them: what a joiner is sent from memory.

No input or output.
"""

from collections.abc import Iterable, Sequence

from parley.contracts.access.policy import ChatAction, may_in_chat
from parley.contracts.limits import MAX_PAGE, MAX_REPLY_BYTES
from parley.contracts.live import Changed
from parley.contracts.resources import Chat, Message, Role
from parley.contracts.rpc import SyncReply

_MAX_PAGE = MAX_PAGE // 2
"""Messages of the newest page, as chat-store cuts it."""

_MAX_WEIGHT = 2 * 1024 * 1024
_MESSAGE_WEIGHT = 1024


def _version(message: Message) -> int:
    return message.version


def _weigh(messages: Iterable[Message]) -> int:
    return sum(
        _MESSAGE_WEIGHT
        + len(message.content)
        + len(message.reasoning)
        + sum(len(call.arguments) + len(call.result or "") for call in message.tool_calls)
        for message in messages
    )


class History:
    """The state of a chat at ``version``.

    Beside it two things, either of which may be missing and is then asked of chat-store: the newest *page*, for a
    joiner who has nothing, and the *changes* since some version, for one who has a cursor.

    Attributes:
        version: −1 before anything is known.
        roles: The members, and what they may do.
    """

    __slots__ = (
        "_changes",
        "_floor",
        "_next",
        "_page",
        "_page_version",
        "_used",
        "_weight",
        "chat",
        "roles",
        "version",
    )

    def __init__(self) -> None:
        self.version = -1
        self.chat: Chat | None = None
        self.roles: dict[str, Role] = {}
        # All messages that changed after _floor.
        self._changes: dict[str, Message] = {}
        self._floor = -1
        # The page as of _page_version, or later.
        self._page: dict[str, Message] | None = None
        self._page_version = -1
        self._next: str | None = None
        self._weight = 0
        self._used = True

    @property
    def known(self) -> bool:
        """Whether chat-store has answered at least once."""
        return self.version >= 0

    def may(self, user_id: str, action: ChatAction) -> bool:
        """Whether a user may do this in the chat."""
        return may_in_chat(self.roles.get(user_id), action)

    def since(self, version: int) -> list[Message] | None:
        """Return the messages that changed after ``version``, in that order; None when that is not known."""
        if not self._floor <= version <= self.version:
            return None
        messages = [message for message in self._changes.values() if message.version > version]
        messages.sort(key=_version)
        self._used = self._used or bool(messages)
        return messages

    def page(self) -> tuple[list[Message], str | None] | None:
        """Return the newest page and where older messages go on; None when it is not known."""
        if self._page is None or self._page_version > self.version:
            return None
        self._used = True
        return list(self._page.values()), self._next

    @property
    def overtaken(self) -> bool:
        """Whether the page is newer than the rest: the changes until its version have to be asked for."""
        return self._page is not None and self._page_version > self.version

    def apply(self, changed: Changed) -> None:
        """Go on to ``changed.version``; ``changed.since`` is this version and ``changed.messages`` are there."""
        assert changed.messages is not None
        self.version = changed.version
        self.chat = changed.chat
        roles = self.roles | changed.roles
        self.roles = {user_id: role for user_id, role in roles.items() if user_id not in changed.removed_members}
        self._add(changed.messages, changed.since)

    def discard_unused(self) -> None:
        """Discard what no reader needed since the last call: most rooms are open, and quiet, for long."""
        if not self._used:
            self._page = None
            self._changes, self._floor, self._weight = {}, self.version, 0
        self._used = False

    def merge(self, reply: SyncReply, after: int | None) -> bool:
        """Take over chat-store's answer to ``sync`` with ``after``.

        Returns:
            Whether the changes from the version before to the new one are known. If not, readers need the page.
        """
        if reply.recovered and after is not None:
            self._take_changes(reply, after)
            return True
        if self.known and (after is None or reply.version < self.version):
            self._take_page(reply)
            return True
        self._renew(reply)
        self._changes, self._floor, self._weight = {}, reply.version, 0
        self._take_page(reply)
        return False

    def _take_page(self, reply: SyncReply) -> None:
        newer = [] if reply.version >= self.version else self.since(reply.version)
        if newer is None:
            return  # it missed changes that nobody remembers
        self._page = {message.id: message for message in reply.messages}
        self._page_version, self._next = reply.version, reply.next
        self._weight = _weigh(self._changes.values()) + _weigh(reply.messages)
        # However long it gets by them: a joiner waits for this very page.
        self._put_into_page(newer)

    def _take_changes(self, reply: SyncReply, after: int) -> None:
        if self.known and (reply.version < self._floor or after > self.version):
            return  # a late answer that does not meet what is known
        if not self.known or after < self._floor:
            self._floor = after
        if reply.version >= self.version:
            self._renew(reply)
            self._add(reply.messages, after)
        else:
            self._add([message for message in reply.messages if message.id not in self._changes], self.version)

    def _renew(self, reply: SyncReply) -> None:
        self.version, self.chat = reply.version, reply.chat
        self.roles = {user_id: reply.roles.get(user_id, "writer") for user_id in reply.members}

    def _add(self, messages: Sequence[Message], floor: int) -> None:
        """Remember ``messages``, which are all that changed after ``floor``, unless ``floor`` is this version."""
        self._changes.update((message.id, message) for message in messages)
        self._put_into_page(messages)
        if self._page is not None and (len(self._page) > _MAX_PAGE or _weigh(self._page.values()) > MAX_REPLY_BYTES):
            # Only chat-store can say where the messages before a page go on. The next joiner costs one request.
            self._page = None
        self._weight += _weigh(messages)
        if self._weight > _MAX_WEIGHT:
            # Rather ask again than hold a long chat: the next joiner costs one request.
            self._page = None
            self._changes = {} if floor == self.version else {message.id: message for message in messages}
            self._floor = floor
            self._weight = _weigh(self._changes.values())

    def _put_into_page(self, messages: Iterable[Message]) -> None:
        page = self._page
        if page is None:
            return
        oldest = next(iter(page.values())).created_at if page and self._next is not None else None
        for message in messages:
            # A change of a message older than the page does not belong on it.
            if message.version > self._page_version and (
                message.id in page or oldest is None or message.created_at >= oldest
            ):
                page[message.id] = message
