"""The list of chats is the same in every tab and on every device of a user, without a reload."""

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.e2e.browser.test_chat import answers, done, open_chat, send
from tests.support.stack import RunningStack
from tests.support.waiting import wait_until


def items(page: Page) -> Locator:
    return page.get_by_test_id("chat-item")


def another_device(browser: Browser, context: BrowserContext, stack: RunningStack) -> BrowserContext:
    """A browser of its own with the same session."""
    device = browser.new_context(base_url=stack.url, viewport={"width": 1100, "height": 800})
    device.set_default_timeout(30_000)
    wait_until(context.cookies, what="the cookie of the session")
    device.add_cookies(context.cookies())  # type: ignore[arg-type]
    return device


def test_other_tabs_and_devices_see_new_renamed_running_and_deleted_chats(
    browser: Browser, context: BrowserContext, page: Page, stack: RunningStack
) -> None:
    tab = context.new_page()
    device = another_device(browser, context, stack)
    phone = device.new_page()
    others = (tab, phone)
    for other in others:
        other.goto("/")
        expect(other.get_by_test_id("connection")).to_have_attribute("data-status", "online")
    open_chat(page, "demo-slow")
    send(page, "A question that takes a while")
    for other in others:
        expect(items(other)).to_have_count(1)
        expect(items(other)).to_contain_text("A question that takes a while")
        expect(items(other)).to_contain_text("answering")
    expect(answers(page)).to_have_attribute("data-status", "streaming")
    page.get_by_test_id("stop").click()
    for other in others:
        expect(items(other)).not_to_contain_text("answering")
    page.evaluate(
        """async () => {
            const headers = { "Content-Type": "application/json" };
            const path = `/v1/chats/${location.pathname.split("/").pop()}`;
            await fetch(path, { method: "PATCH", headers, body: JSON.stringify({ title: "Another title" }) });
        }"""
    )
    for one in (page, *others):
        expect(items(one)).to_have_text("Another title")
    phone.get_by_test_id("chat-item").hover()
    phone.get_by_role("button", name="Actions for").click()
    phone.get_by_role("menuitem", name="Delete").click()
    phone.get_by_test_id("confirm-delete").click()
    for one in (page, *others):
        expect(items(one)).to_have_count(0)
    expect(page.get_by_test_id("unavailable")).to_contain_text("deleted")
    device.close()


_FETCH = """async ([method, path, body]) => {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    return response.status === 204 ? null : await response.json();
}"""


def test_an_invitation_is_shown_at_once_and_goes_when_it_is_withdrawn(
    browser: Browser, context: BrowserContext, page: Page, stack: RunningStack
) -> None:
    visitor = browser.new_context(base_url=stack.url, viewport={"width": 1100, "height": 800})
    visitor.set_default_timeout(30_000)
    invited = visitor.new_page()
    for one in (page, invited):
        one.goto("/")
        expect(one.get_by_test_id("connection")).to_have_attribute("data-status", "online")
    user_id = invited.evaluate(_FETCH, ["GET", "/v1/me", None])["user_id"]
    chats = [page.evaluate(_FETCH, ["POST", "/v1/chats", {"title": title}])["id"] for title in ("Tides", "Trains")]
    for chat_id in chats:
        page.evaluate(_FETCH, ["PUT", f"/v1/chats/{chat_id}/members/{user_id}", {"role": "reader"}])
    invitations = invited.get_by_test_id("invitation")
    expect(invitations).to_have_count(2)
    page.evaluate(_FETCH, ["DELETE", f"/v1/chats/{chats[0]}/members/{user_id}", None])
    expect(invitations).to_have_count(1)
    expect(invitations).to_contain_text("Trains")
    invitations.get_by_test_id("accept").click()
    expect(items(invited)).to_have_text("Trains")
    expect(invitations).to_have_count(0)
    visitor.close()


def test_what_happened_while_a_tab_was_offline_is_in_its_list_when_it_is_back(
    context: BrowserContext, page: Page, browser: Browser, stack: RunningStack
) -> None:
    device = another_device(browser, context, stack)
    phone = device.new_page()
    phone.goto("/")
    expect(phone.get_by_test_id("connection")).to_have_attribute("data-status", "online")
    device.set_offline(True)
    send(page, "Asked meanwhile")
    done(page)
    expect(items(phone)).to_have_count(0)
    device.set_offline(False)
    expect(items(phone)).to_have_text("Asked meanwhile", timeout=60_000)
    device.close()
