"""What one socket may do: authenticate, then watch chats."""

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from parley.contracts.decoding import UNDECODABLE
from parley.contracts.frames import (
    Auth,
    ClientFrame,
    CloseCode,
    Cursor,
    Error,
    Ready,
    Rejected,
    ServerFrame,
    Typing,
    Unwatch,
    Watch,
)
from parley.contracts.ids import is_id
from parley.contracts.live import PromptRejected
from parley.runtime import tokens
from push.errors import BadFrame, NotAuthenticated, TicketExpired, TooMany
from push.rooms.chat_lists import RELIST, ChatLists
from push.rooms.reader import Reader
from push.rooms.registry import Rooms
from push.rooms.room import Room
from push.settings import Settings
from push.transport.cursors import check_cursor
from push.transport.identities import Identities, Identity
from push.transport.limits import Count, FrameRate
from push.transport.origins import Origins
from push.transport.tickets import Tickets

if TYPE_CHECKING:
    from push.transport.websocket import Socket

log = logging.getLogger(__name__)

_TYPING_INTERVAL: Final = 1.0
_client_frame = msgspec.json.Decoder(ClientFrame)
_rejected = msgspec.json.Decoder(PromptRejected)


class SessionContext:
    """What all sessions and streams of events of a process share."""

    def __init__(
        self, rooms: Rooms, lists: ChatLists, tickets: Tickets, identities: Identities, settings: Settings
    ) -> None:
        self.rooms = rooms
        self.lists = lists
        self.tickets = tickets
        self.identities = identities
        self.settings = settings
        self.keys = settings.key_ring
        self.origins = Origins(settings.allowed_origins)
        self.sockets = Count(settings.max_sockets_per_user, "sockets")
        self.chats = Count(settings.max_chats_per_user, "chats")
        self.clock = asyncio.get_running_loop().time
        self.sessions: dict[str, set[Session]] = {}

    def on_rejected(self, _subject: bytes, payload: bytes, _headers: object = None) -> None:
        """Report a prompt that was not stored to its author, on all of the author's sockets."""
        try:
            rejected = _rejected.decode(payload)
        except UNDECODABLE as error:
            log.warning("A rejection does not decode: %s", error)
            return
        frame = Rejected(chat_id=rejected.chat_id, message_id=rejected.message_id, error=rejected.error)
        for session in tuple(self.sessions.get(rejected.user_id, ())):
            session.send(frame)


class Session:
    """A socket's rights and the chats that it watches."""

    __slots__ = ("_context", "_missed", "_rate", "_socket", "_typed_at", "_user_id", "_watched", "_writable")

    def __init__(self, context: SessionContext, socket: "Socket") -> None:
        self._context = context
        self._socket = socket
        settings = context.settings
        self._rate = FrameRate(settings.frames_per_second, settings.frames_burst, context.clock())
        self._user_id: str | None = None
        self._watched: dict[str, tuple[Room, Reader]] = {}
        self._writable = True
        self._missed = False  # a change of the list
        self._typed_at = float("-inf")

    @property
    def authenticated(self) -> bool:
        return self._user_id is not None

    def arrived(self) -> None:
        """Count a frame of any kind. Raises :class:`push.errors.TooMany`."""
        self._rate.take(self._context.clock())

    def message(self, payload: bytes) -> None:
        """Handle a client's frame.

        Raises:
            Refused: what the client did ends the socket.
        """
        try:
            frame = _client_frame.decode(payload)
        except UNDECODABLE as error:
            raise BadFrame("not a frame of this protocol") from error
        match frame:
            case Auth():
                self._authenticate(frame.ticket, lists=frame.chats)
            case Watch():
                self._watch(self._user(), frame.chat_id, frame.after)
            case Unwatch():
                self._user()
                self._forget(frame.chat_id)
            case Typing():
                self._typing(self._user(), frame.chat_id)

    def send(self, frame: ServerFrame) -> None:
        """Send a frame that is about the user and not about what is watched."""
        self._socket.send(frame)

    def end_session(self) -> None:
        """Close the socket: the session or API key that it was opened with has ended."""
        self._socket.close(CloseCode.SESSION_ENDED, "the session has ended")

    def list_changed(self, frames: bytes) -> None:
        """Send a frame about the user's list; a socket that cannot take more is sent ``Relist`` later."""
        if self._writable:
            self._socket.write_long(frames)
        else:
            self._missed = True

    def pause(self) -> None:
        """The write buffer is above its limit."""
        self._writable = False
        for room, reader in self._watched.values():
            room.readers.pause(reader)

    def resume(self) -> None:
        """The write buffer is low again."""
        self._writable = True
        for room, reader in tuple(self._watched.values()):
            if not self._writable:
                return  # the chats before this one filled it
            self._context.rooms.resume(room, reader)
        if self._missed and self._writable:
            self._missed = False
            self._socket.write_long(RELIST)

    def left(self) -> None:
        """The socket is no more."""
        for chat_id in tuple(self._watched):
            self._forget(chat_id)
        if self._user_id is not None:
            self._context.sockets.remove(self._user_id)
            self._context.identities.remove(self, self._user_id)
            self._context.lists.leave(self._user_id, self)
            sessions = self._context.sessions[self._user_id]
            sessions.discard(self)
            if not sessions:
                del self._context.sessions[self._user_id]

    def _user(self) -> str:
        if self._user_id is None:
            raise NotAuthenticated("authenticate first")
        return self._user_id

    def _authenticate(self, ticket: str, *, lists: bool) -> None:
        if self._user_id is not None:
            raise BadFrame("authenticated already")
        try:
            claims = self._context.keys.verify("ticket", ticket)
        except tokens.TokenExpired as error:
            raise TicketExpired("the ticket has expired") from error
        except tokens.TokenNotYet as error:
            raise TicketExpired("the clocks of the servers differ") from error
        except tokens.TokenInvalid as error:
            raise NotAuthenticated("the ticket is not good") from error
        user_id = claims.user_id
        self._context.sockets.add(user_id)
        if not self._context.tickets.use(ticket, claims.expires_at.timestamp()):
            self._context.sockets.remove(user_id)
            raise TicketExpired("the ticket has been used")
        self._user_id = user_id
        self._context.sessions.setdefault(user_id, set()).add(self)
        self._context.identities.add(self, Identity.of(claims))
        self._socket.send(Ready(user_id=user_id))
        if lists:
            self._context.lists.join(user_id, self)

    def _watch(self, user_id: str, chat_id: str, after: Cursor | None) -> None:
        after = None if after is None else check_cursor(after)
        if not is_id(chat_id):
            self._refuse("not_found", "There is no such chat, or you are not a member of it.", chat_id)
            return
        self._forget(chat_id)
        if len(self._watched) >= (most := self._context.settings.max_chats_per_socket):
            self._refuse("too_many", f"A socket watches at most {most} chats.", chat_id)
            return
        try:
            self._context.chats.add(user_id)
        except TooMany:
            self._refuse(
                "too_many", f"The sockets of one user watch at most {self._context.chats.limit} chats.", chat_id
            )
            return
        reader = Reader(
            user_id,
            self._socket.write,
            after,
            write_long=self._socket.write_long,
            writable=self._writable,
            dropped=partial(self._dropped, chat_id),
        )
        # Noted before it joins: joining may write, fill the buffer and pause the session.
        room = self._context.rooms.room(chat_id)
        self._watched[chat_id] = (room, reader)
        self._context.rooms.join(room, reader)

    def _typing(self, user_id: str, chat_id: str) -> None:
        """Report a user who writes; more often than once a second, or in a chat that is not watched, is ignored."""
        now = self._context.clock()
        watched = self._watched.get(chat_id)
        if watched is not None and now - self._typed_at >= _TYPING_INTERVAL:
            self._typed_at = now
            self._context.rooms.typing(watched[0], user_id)

    def _forget(self, chat_id: str) -> None:
        watched = self._watched.get(chat_id)
        if watched is not None:
            self._dropped(chat_id)
            self._context.rooms.leave(*watched)

    def _dropped(self, chat_id: str) -> None:
        if self._watched.pop(chat_id, None) is not None:
            self._context.chats.remove(self._user())

    def _refuse(self, code: str, message: str, chat_id: str) -> None:
        self._socket.send(Error(code=code, message=message, chat_id=chat_id[:64]))
