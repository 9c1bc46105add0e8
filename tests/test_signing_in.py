"""Signing in and out in Chromium: to the page, back to where one was, and out of every tab."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import expect

from tests.people import PASSWORD, make
from tests.servers import Server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.asyncio(loop_scope="session"),
]
pytest_plugins = ["tests.browser", "tests.servers"]


@pytest.fixture(scope="module")
def members_only(provider):
    """A site that only people with an account may use; ann has one."""
    with Server(provider.base_url, environment={"ALLOW_ANONYMOUS": "0"}) as server:
        make(server, people={"ann": {}})
        yield server
        server.assert_nothing_broke()


async def fill_in(page, password=PASSWORD):
    await page.get_by_label("Username").fill("ann")
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in").click()


async def test_a_stranger_is_led_to_the_sign_in_page_and_back(visitor, members_only):
    person = await visitor(members_only.url)
    chat = await person.chat("/?session=00000000-0000-4000-8000-000000000000&tail=3")
    page = chat.page
    await expect(page).to_have_title("Sign in · agent_websocket")
    await fill_in(page, "wrong")
    await expect(page.get_by_role("alert")).to_contain_text("correct username and password")
    await fill_in(page)
    await page.wait_for_url(re.compile(r"/\?session=0.*&tail=3$"))
    await chat.phase("stopped")  # there is no such session
    await chat.new_chat.click()
    await chat.ask("say: hello ann")
    await chat.answered("hello ann")
    await expect(page.locator(".user")).to_have_text("ann")


async def test_signing_out_ends_every_tab_and_keeps_the_draft(visitor, members_only):
    person = await visitor(members_only.url)
    chat = await person.chat()
    await fill_in(chat.page)
    await chat.ready()
    await chat.ask("say: kept")
    await chat.answered("kept")
    other = await person.chat(f"/?session={await chat.session()}")
    await other.answered("kept")
    await other.composer.fill("not sent yet")

    await chat.button("Sign out").click()
    await expect(chat.page).to_have_title("Sign in · agent_websocket")
    await other.show()
    await other.phase("stopped")
    link = other.page.get_by_role("link", name="Sign in")
    where = urlsplit(await link.get_attribute("href") or "")
    assert where.path == "/login/"
    assert parse_qs(where.query)["next"] == [f"/?session={await other.session()}"]
    await link.click()
    await fill_in(other.page)
    await other.answered("kept")
    await expect(other.composer).to_have_value("not sent yet")


async def test_a_visitor_may_sign_in_and_a_phone_has_room_for_it(visitor, site):
    make(site, people={"somebody-with-a-long-name": {}})
    person = await visitor(site.url, viewport={"width": 360, "height": 700})
    chat = await person.chat()
    await chat.ready()
    await chat.page.get_by_role("link", name="Sign in", exact=True).click()
    await chat.page.get_by_label("Username").fill("somebody-with-a-long-name")
    await chat.page.get_by_label("Password").fill(PASSWORD)
    await chat.page.get_by_role("button", name="Sign in").click()
    await chat.ready()
    for control in (chat.button("Sign out"), chat.new_chat):
        await expect(control).to_be_in_viewport(ratio=1)
    wide = "() => document.documentElement.scrollWidth > window.innerWidth"
    assert not await chat.page.evaluate(wide)


async def test_the_way_back_leads_nowhere_else(visitor, members_only):
    person = await visitor(members_only.url)
    page = await person.page("/login/?next=https://evil.test/")
    await fill_in(page)
    await page.wait_for_url(f"{members_only.url}/")
