"""Calls of tools on the page, which asks its user before one runs."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser.test_chat import done, open_chat, send
from tests.e2e.test_tools import counting, stack  # noqa: F401 (fixtures)
from tests.support.counting_tools import CountingTools

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("approve", [True, False])
def test_the_user_decides_about_a_call_and_sees_what_it_returned(
    page: Page,
    counting: CountingTools,  # noqa: F811
    approve: bool,
) -> None:
    counting.forget()
    open_chat(page, "demo-tools")
    send(page, 'careful_count {"step": "a"}')
    call = page.get_by_test_id("tool-call")
    expect(call).to_have_attribute("data-status", "awaiting_approval", timeout=60_000)
    expect(call.get_by_test_id("tool-arguments")).to_contain_text('"step"')
    assert counting.counted() == []
    call.get_by_test_id("tool-approve" if approve else "tool-deny").click()
    done(page)
    expect(call).to_have_attribute("data-status", "complete" if approve else "denied")
    expect(call.get_by_test_id("tool-approve")).to_have_count(0)
    assert len(counting.counted()) == approve
    page.reload()
    expect(call).to_have_attribute("data-status", "complete" if approve else "denied")
