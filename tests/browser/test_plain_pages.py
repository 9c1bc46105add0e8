"""The pages without a conversation in Chromium: signing in and errors."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.support.browser import DESKTOP, PHONE, Visitors
from tests.support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

MIDDLE = """() => {
  const { x, y, width, height } = document.querySelector(".card").getBoundingClientRect();
  return [x + width / 2, y + height / 2];
}"""


async def assert_is_in_the_middle(page: Page) -> None:
    size = page.viewport_size
    assert size
    for direction in ("ltr", "rtl"):
        await page.evaluate("(dir) => { document.documentElement.dir = dir; }", direction)
        across, down = await page.evaluate(MIDDLE)
        assert abs(across - size["width"] / 2) <= 1
        assert abs(down - size["height"] / 2) <= 1


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_plain_pages_stand_in_the_middle_name_the_product_and_lead_back(
    visitor: Visitors, site: Server, size: dict[str, int]
) -> None:
    person = await visitor(site.url, viewport=size)
    page = await person.page("/login/")
    await assert_is_in_the_middle(page)
    await page.get_by_label("Username").fill("nobody")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await assert_is_in_the_middle(page)

    await page.context.clear_cookies()  # the form does not fit any more
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Not sent")).to_be_visible()
    await expect(page).to_have_title("Not sent · agent_websocket")
    await assert_is_in_the_middle(page)
    await page.get_by_role("link", name="agent_websocket").click()
    await expect(page.locator("textarea[name=content]")).to_be_visible()
    refusals = [one for one in person.trouble if "403 (Forbidden)" in one]
    person.trouble = [one for one in person.trouble if one not in refusals]
    assert len(refusals) == 1
