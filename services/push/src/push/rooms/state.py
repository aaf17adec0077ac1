"""What one room knows of its chat. No I/O."""

from parley.contracts.frames import Cursor
from push.rooms import frames
from push.rooms.answer_text import AnswerText
from push.rooms.history import History
from push.rooms.sync_requests import Resync


class ChatState:
    """The chat's history and its running answer, shared by the two parts of a room.

    Attributes:
        answer: The running answer; None: none is requested or running.
        resync: Whether what is known may be outdated.
    """

    __slots__ = ("answer", "chat_id", "history", "resync")

    def __init__(self, chat_id: str) -> None:
        self.chat_id = chat_id
        self.history = History()
        self.resync = Resync()
        self.answer: AnswerText | None = None

    def cursor(self, seq: int) -> Cursor:
        """Return the cursor of a reader who has everything and the running answer's text up to the chunk ``seq``."""
        return frames.cursor(self.history.version, self.answer, seq)
