"""The documentation of the HTTP interface in a browser, within its content security policy."""

from playwright.sync_api import BrowserContext, expect


def test_swagger_ui_shows_the_operations_and_calls_the_gateway(context: BrowserContext) -> None:
    page = context.new_page()
    page.goto("/docs")
    operation = page.locator("#operations-config-show_config")
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".responses-table.live-responses-table")).to_contain_text("push_url")
