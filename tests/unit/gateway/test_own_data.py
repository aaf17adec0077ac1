"""``GET /v1/me/export``: everything of the user, in one document."""

from datetime import UTC, datetime
from typing import Any, Final

from parley.contracts import rpc
from parley.contracts.access import identity
from parley.contracts.ids import new_id
from parley.contracts.resources import Chat, Invitation, Member, Role, TokenUsage
from tests.support.chat_store.identities import FakeIdentities
from tests.unit.gateway.apps import USER, app, client, token, with_session

NOW: Final = datetime(2026, 11, 22, tzinfo=UTC)
OWN, OTHERS, INVITED = new_id(), new_id(), new_id()
FRIEND: Final = new_id()


class Stored(FakeIdentities):
    """The user owns a chat with a link and an invited friend, reads one of the friend's, and is invited to another."""

    def __init__(self) -> None:
        super().__init__()
        vars(self).update(vars(with_session()))
        self.roles: dict[str, Role] = {OWN: "owner", OTHERS: "reader"}
        self.gone: str | None = None
        self.link = rpc.ShareLink(id=new_id(), chat_id=OWN, live=True, tip_id=None, created_at=NOW)

    def _get_user(self, request: identity.GetUser) -> Any:
        return identity.UserReply(user=self.users[request.user_id])

    def _usage(self, _: rpc.GetUsage) -> Any:
        return rpc.UsageReply(items=[TokenUsage(model="demo", answers=1, input_tokens=2, output_tokens=3)])

    def _list_invitations(self, _: rpc.ListInvitations) -> Any:
        invitation = Invitation(
            chat_id=INVITED, title="Tides", role="writer", invited_by=FRIEND, invited_by_name=None, created_at=NOW
        )
        return rpc.InvitationList(items=[invitation])

    def _list_chats(self, _: rpc.ListChats) -> Any:
        chats = [
            Chat(
                id=chat_id,
                owner_id=USER if role == "owner" else FRIEND,
                title=None,
                model=None,
                system_prompt=None,
                tip_id=None,
                created_at=NOW,
                updated_at=NOW,
                version=1,
                running=False,
            )
            for chat_id, role in self.roles.items()
        ]
        return rpc.ChatList(items=chats, next=None)

    def _check_access(self, request: rpc.CheckAccess) -> Any:
        return rpc.AccessReply(role=self.roles[request.chat_id])

    def _list_members(self, request: rpc.ListMembers) -> Any:
        if request.chat_id == self.gone:
            return rpc.RpcError(code="not_found", message="There is no such chat.")
        mine = Member(user_id=USER, role=self.roles[request.chat_id], added_at=NOW)
        friend = Member(user_id=FRIEND, role="owner", added_at=NOW)
        if request.chat_id == OWN:
            friend = Member(user_id=FRIEND, role="reader", added_at=NOW, status="invited")
        return rpc.MemberList(items=[mine, friend])

    def _list_share_links(self, request: rpc.ListShareLinks) -> Any:
        if self.roles[request.chat_id] != "owner":
            return rpc.RpcError(code="forbidden", message="Only the chat's owner may do this.")
        return rpc.ShareLinkList(items=[self.link])

    def _list_messages(self, _: rpc.ListMessages) -> Any:
        return rpc.MessageList(items=[], next=None)


async def test_the_export_has_invitations_members_and_links_of_the_users_own_chats() -> None:
    stored = Stored()
    async with client(app(identities=stored), headers={"authorization": f"Bearer {token()}"}) as http:
        export = (await http.get("/v1/me/export")).json()
    assert export["complete"] is True
    assert [(one["chat_id"], one["role"]) for one in export["invitations"]] == [(INVITED, "writer")]
    own, others = export["chats"]
    assert (own["chat"]["id"], own["role"], own["messages"]) == (OWN, "owner", [])
    assert [(one["user_id"], one["status"]) for one in own["members"]] == [(USER, "member"), (FRIEND, "invited")]
    assert [one["id"] for one in own["share_links"]] == [stored.link.id]
    assert (others["chat"]["id"], others["role"], others["share_links"]) == (OTHERS, "reader", [])


async def test_a_chat_that_is_deleted_meanwhile_is_left_out() -> None:
    stored = Stored()
    stored.gone = OWN
    async with client(app(identities=stored), headers={"authorization": f"Bearer {token()}"}) as http:
        export = (await http.get("/v1/me/export")).json()
    assert export["complete"] is True
    assert [one["chat"]["id"] for one in export["chats"]] == [OTHERS]
