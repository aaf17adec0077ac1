"""What push asks about the chats of its rooms."""

from parley.contracts import rpc
from tests.support.chat_store.part import Part, not_found
from tests.support.chat_store.scripted_chat import ScriptedChat


class FakeRooms(Part):
    """Scripted chats by their ids.

    Attributes:
        synced: The requests for the state of a chat, in order.
    """

    def __init__(self) -> None:
        self.chats: dict[str, ScriptedChat] = {}
        self.synced: list[rpc.Sync] = []

    def _sync(self, request: rpc.Sync) -> rpc.SyncReply | rpc.RpcError:
        self.synced.append(request)
        chat = self.chats.get(request.chat_id)
        return not_found() if chat is None else chat.sync(request.after)

    def _versions(self, request: rpc.Versions) -> rpc.VersionsReply:
        current = {chat_id: chat.version for chat_id, chat in self.chats.items()}
        moved = {chat_id: current.get(chat_id, -1) for chat_id in request.chats}
        return rpc.VersionsReply(
            moved={chat_id: version for chat_id, version in moved.items() if version != request.chats[chat_id]}
        )
