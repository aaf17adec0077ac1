"""What one reader of a room has, and the reader itself.

No input or output: a reader writes through a function that it was given.
"""

from collections.abc import Callable

from parley.contracts.frames import Cursor
from push.rooms.framing import Frames


def _ignore() -> None:
    pass


class Reader:
    """One connection's view of one chat.

    While a reader is up to date, the room's own position is its position, and nothing is kept here: a delta costs one
    call of ``write`` and no bookkeeping. Its cursor is filled in when it lags.

    Attributes:
        user_id: Who reads.
        events: Whether it is written server-sent events, not websocket frames.
        write: Sends one short frame to a reader that is up to date; never blocks, never raises.
        write_long: Sends frames of any length, at any time; what the connection does not take yet waits there.
        dropped: Called when the room lets go of the reader: it may not read, or the chat is gone.
        writable: Whether the connection's write buffer is below its limit. Nothing is written above it.
        cursor: What the reader has; None: nothing. Without meaning while it is up to date.
        epoch: The room's epoch at that cursor; −1 before the first snapshot.
        needs: The number of the request to chat-store whose answer decides about this reader; 0: any will do.
        presence: The number of the last :class:`push.rooms.presence.RoomPresence` frame that it was sent.
        warned: It was sent the frame that it has to wait.
    """

    __slots__ = (
        "cursor",
        "dropped",
        "epoch",
        "events",
        "needs",
        "presence",
        "user_id",
        "warned",
        "writable",
        "write",
        "write_long",
    )

    def __init__(
        self,
        user_id: str,
        write: Callable[[bytes], object],
        cursor: Cursor | None = None,
        *,
        write_long: Callable[[bytes], object] | None = None,
        dropped: Callable[[], object] = _ignore,
        events: bool = False,
        writable: bool = True,
    ) -> None:
        self.user_id = user_id
        self.events = events
        self.write = write
        self.write_long = write_long or write
        self.cursor = cursor
        self.dropped = dropped
        self.writable = writable
        self.epoch = -1
        self.needs = 0
        self.presence = 0
        self.warned = False

    def send(self, frames: Frames) -> int:
        """Send frames of any length, at any time; return how many bytes they are."""
        data = frames.events if self.events else frames.websocket
        self.write_long(data)
        return len(data)
