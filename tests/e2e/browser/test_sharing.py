"""Members, invitations and read-only links of a chat, on a server that the test scripts."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.scripted_page import ORIGIN, USER, ScriptedPage

OTHER = "0199f3a2-0000-7000-8000-0000000000b2"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=ORIGIN, viewport={"width": 1100, "height": 800})
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def server(context: BrowserContext) -> ScriptedPage:
    return ScriptedPage(context)


def open_page(context: BrowserContext, path: str = "/") -> Page:
    page = context.new_page()
    page.goto(path)
    return page


def own_chat(server: ScriptedPage) -> str:
    chat = server.add_chat("Tides")
    server.add_turn(chat, "What makes tides?", "The **Moon**.")
    server.account.add_member(chat, USER, "owner")
    return chat


def others_chat(server: ScriptedPage, role: str) -> str:
    chat = own_chat(server)
    server.chats[chat]["owner_id"] = OTHER
    server.account.members[chat] = []
    server.account.add_member(chat, OTHER, "owner", name="Grace Hopper")
    server.account.add_member(chat, USER, role)
    return chat


def test_an_owner_invites_changes_a_role_removes_and_hands_over(context: BrowserContext, server: ScriptedPage) -> None:
    chat = own_chat(server)
    page = open_page(context, f"/c/{chat}")
    page.get_by_test_id("open-share").click()
    page.get_by_test_id("invite-user").fill(OTHER)
    page.get_by_test_id("invite-role").select_option("reader")
    page.get_by_test_id("invite").click()
    row = page.locator(f"[data-user-id='{OTHER}']")
    expect(row).to_contain_text("Invited")
    expect(row).to_have_attribute("data-role", "reader")
    server.account.members[chat][-1]["status"] = "member"
    row.get_by_role("combobox").select_option("writer")
    expect(row).to_have_attribute("data-role", "writer")
    row.get_by_role("button", name="Make owner").click()
    page.get_by_test_id("hand-over").click()
    expect(row).to_have_attribute("data-role", "owner")
    assert ("PUT", f"/chats/{chat}/owner", {"user_id": OTHER}) in server.account.requests


def test_a_member_is_removed(context: BrowserContext, server: ScriptedPage) -> None:
    chat = own_chat(server)
    server.account.add_member(chat, OTHER, "writer", name="Grace Hopper")
    page = open_page(context, f"/c/{chat}")
    page.get_by_test_id("open-share").click()
    page.get_by_role("button", name="Remove Grace Hopper").click()
    expect(page.get_by_test_id("member")).to_have_count(1)


def test_a_reader_sees_why_nothing_can_be_written(context: BrowserContext, server: ScriptedPage) -> None:
    chat = others_chat(server, "reader")
    page = open_page(context, f"/c/{chat}")
    composer = page.get_by_test_id("composer")
    expect(composer).to_be_disabled()
    expect(composer).to_have_attribute("placeholder", "You can only read this chat.")
    expect(page.get_by_test_id("model")).to_be_disabled()
    expect(page.get_by_role("button", name="Edit this message")).to_have_count(0)
    expect(page.get_by_test_id("regenerate")).to_be_disabled()


def test_a_writer_writes_and_may_leave(context: BrowserContext, server: ScriptedPage) -> None:
    chat = others_chat(server, "writer")
    page = open_page(context, f"/c/{chat}")
    expect(page.get_by_test_id("composer")).to_be_enabled()
    page.get_by_test_id("open-share").click()
    expect(page.get_by_test_id("invite")).to_have_count(0)
    page.get_by_test_id("leave").click()
    expect(page).to_have_url(f"{ORIGIN}/")
    assert ("DELETE", f"/chats/{chat}/members/{USER}", None) in server.account.requests


def test_an_invitation_is_accepted_or_declined(context: BrowserContext, server: ScriptedPage) -> None:
    chat = others_chat(server, "writer")
    server.account.sign_in()
    server.account.add_invitation(chat, "Tides")
    server.account.add_invitation(server.add_chat("Spam"), "Spam", "reader")
    page = open_page(context)
    invitations = page.get_by_test_id("invitation")
    expect(invitations).to_have_count(2)
    expect(invitations.first).to_contain_text("Grace Hopper invites you to write.")
    invitations.nth(1).get_by_test_id("decline").click()
    expect(invitations).to_have_count(1)
    invitations.first.get_by_test_id("accept").click()
    expect(page).to_have_url(f"{ORIGIN}/c/{chat}")
    expect(invitations).to_have_count(0)
    assert ("POST", f"/invitations/{chat}", None) in server.account.requests


def test_a_link_is_made_copied_and_revoked(context: BrowserContext, server: ScriptedPage) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat = own_chat(server)
    page = open_page(context, f"/c/{chat}")
    page.get_by_test_id("open-share").click()
    page.get_by_test_id("tab-links").click()
    page.get_by_test_id("link-live").check()
    page.get_by_test_id("create-link").click()
    expect(page.get_by_test_id("link-address")).to_have_text(f"{ORIGIN}/shared/a-secret-token")
    page.get_by_role("button", name="Copy the link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == f"{ORIGIN}/shared/a-secret-token"
    assert ("POST", f"/chats/{chat}/shares", {"live": True, "tip_id": None}) in server.account.requests
    page.get_by_role("button", name="Revoke the link").click()
    expect(page.get_by_test_id("link")).to_have_count(0)
    expect(page.get_by_test_id("link-address")).to_have_count(0)


def test_a_shared_chat_is_read_without_a_session_and_a_connection(
    context: BrowserContext, server: ScriptedPage
) -> None:
    chat = own_chat(server)
    server.account.shared["a-token"] = {"title": "Tides", "messages": server.messages[chat]}
    page = open_page(context, "/shared/a-token")
    expect(page.get_by_test_id("message-user")).to_have_text("QuestionWhat makes tides?")
    expect(page.get_by_test_id("message-assistant").locator("strong")).to_have_text("Moon")
    expect(page.get_by_test_id("composer")).to_have_count(0)
    expect(page.locator("meta[name=robots]")).to_have_attribute("content", "noindex")
    asked = [url for url in server.requested if "/v1/" in url]
    assert asked == [f"{ORIGIN}/v1/shared/a-token"] * len(asked)


def test_a_revoked_link_says_so(context: BrowserContext, server: ScriptedPage) -> None:
    page = open_page(context, "/shared/gone")
    expect(page.get_by_test_id("problem")).to_have_text("This link does not exist any more.")
