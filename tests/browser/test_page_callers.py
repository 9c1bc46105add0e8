"""Several people at one browser: what one typed and did not send is not the next one's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.support.browser import Chat, Visitors, tapped
from tests.support.people import PASSWORD, make
from tests.support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def shared(site: Server) -> Iterator[Server]:
    make(site, people={"ann": {}, "ben": {}})
    yield site


async def sign_in(page: Page, name: str) -> None:
    await page.get_by_role("link", name="Sign in").click()
    await page.locator("input[name=username]").fill(name)
    await page.locator("input[name=password]").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".user")).to_have_text(name)
    await expect(page.locator("#connection")).to_have_attribute("data-phase", "ready")


async def kept(page: Page) -> str:
    """All that the browser keeps for the tab."""
    words: str = await page.evaluate("() => JSON.stringify(sessionStorage)")
    return words


async def test_after_signing_out_the_next_one_finds_nothing_and_the_first_one_their_draft(
    visitor: Visitors, shared: Server
) -> None:
    chat = await (await visitor(shared.url)).chat()
    await sign_in(chat.page, "ann")
    await chat.ask("say: hello")
    await chat.answered("hello")
    session = await chat.session()
    await chat.composer.fill("a draft in the session")
    await chat.new_chat.click()
    await chat.composer.fill("a draft of a new chat")

    await chat.button("Sign out").click()
    await expect(chat.page.get_by_role("link", name="Sign in")).to_be_visible()
    assert "draft" not in await kept(chat.page)
    for path in ("/", f"/?session={session}"):
        await chat.open(path)
        await expect(chat.composer).to_have_value("")
    await chat.open()  # signing in leads back to the conversation, and that one is not Ben's
    await sign_in(chat.page, "ben")
    for path in ("/", f"/?session={session}"):
        await chat.open(path)
        await expect(chat.composer).to_have_value("")

    await chat.open()
    await chat.button("Sign out").click()
    await sign_in(chat.page, "ann")
    await chat.open(f"/?session={session}")
    await expect(chat.composer).to_have_value("a draft in the session")


async def test_a_page_that_outlives_a_sign_in_sends_nothing_of_who_was_there_before(
    visitor: Visitors, shared: Server
) -> None:
    chat, tap = await tapped(visitor, shared)
    sent: list[str] = []

    def swallow(frame: dict[str, Any]) -> bool:
        is_query = bool(frame["type"] == "query")
        if is_query:
            sent.append(frame["content"])
        return is_query

    tap.answers = swallow
    await chat.ask("say: of a visitor")
    await chat.question_is("sending")
    await chat.composer.fill("a visitor's draft")
    elsewhere = Chat(await chat.page.context.new_page(), chat.origin)
    await elsewhere.open()
    await sign_in(elsewhere.page, "ben")
    await chat.show()
    await tap.close(1011)
    await chat.phase("stopped")
    await expect(chat.strip).to_have_attribute("data-reason", "changed")
    await expect(chat.composer).to_be_disabled()

    await chat.button("Reload").click()
    await expect(chat.page.locator(".user")).to_have_text("ben")
    await chat.open()
    await chat.ready()
    await expect(chat.composer).to_have_value("")
    await chat.counts(questions=0, answers=0)
    assert sent == ["say: of a visitor"]
