"""A reader of a room, and its cursor. No I/O: it writes through functions that it is given."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

from parley.contracts.frames import Cursor
from push.rooms.framing import Frames


@dataclass(slots=True, eq=False)
class Reader:
    """One connection's view of one chat.

    While a reader is up to date, the room's own position is its position, and nothing is kept here: a delta costs one
    call of ``write`` and no bookkeeping. Its cursor is filled in when it lags.

    Attributes:
        user_id: Who reads.
        write: Sends one short frame to a reader that is up to date; never blocks, never raises.
        cursor: What the reader has; None: nothing. Without meaning while it is up to date.
        write_long: Sends frames of any length, at any time; what the connection does not take yet waits there.
        dropped: Called when the room drops the reader: it may not read, or the chat is deleted.
        events: Whether it is written server-sent events, not websocket frames.
        writable: Whether the connection's write buffer is below its limit. Nothing is written above it.
        epoch: The room's epoch at that cursor; −1 before the first snapshot.
        needs: The number of the request to chat-store whose answer decides about this reader; 0: any will do.
        presence: The number of the last :class:`push.rooms.presence.RoomPresence` frame that it was sent.
        warned: It was sent the frame that it has to wait.
    """

    user_id: str
    write: Callable[[bytes], object]
    cursor: Cursor | None
    _: KW_ONLY
    write_long: Callable[[bytes], object]
    dropped: Callable[[], object]
    events: bool = False
    writable: bool
    epoch: int = field(default=-1, init=False)
    needs: int = field(default=0, init=False)
    presence: int = field(default=0, init=False)
    warned: bool = field(default=False, init=False)

    def send(self, frames: Frames) -> int:
        """Send frames of any length, at any time; return how many bytes they are."""
        data = frames.events if self.events else frames.websocket
        self.write_long(data)
        return len(data)
