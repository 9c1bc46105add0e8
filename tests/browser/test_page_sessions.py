"""The list of conversations beside the chat page in Chromium, over the real HTTP API."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Locator, expect

from tests.support.browser import PHONE, Chat, Visitors
from tests.support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")


def row(chat: Chat, title: str) -> Locator:
    return chat.page.locator("li.session").filter(has_text=title)


def read(file: Path) -> str:
    return file.read_text()


async def act(chat: Chat, title: str, action: str) -> None:
    """Choose an action from the menu of a conversation."""
    await row(chat, title).hover()
    await row(chat, title).locator("summary").click()
    await row(chat, title).get_by_role("button", name=action, exact=True).click()


async def two_conversations(chat: Chat) -> None:
    await expect(chat.page.locator("#sessions-hint")).to_have_text("No conversations yet.")
    for words in ("apples", "pears"):
        await chat.ask(f"say: about {words}")
        await chat.answered(f"about {words}")
        await expect(row(chat, words)).to_be_visible()
        await chat.new_chat.click()
        await chat.ready()


async def test_conversations_are_listed_by_how_they_began_and_opened_by_a_click(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await two_conversations(chat)
    links = chat.page.locator("li.session a")
    await expect(links).to_have_text(["say: about pears", "say: about apples"])
    await row(chat, "apples").locator("a").click()
    await chat.answered("about apples")
    await expect(row(chat, "apples").locator("a")).to_have_attribute("aria-current", "page")
    await expect(chat.page).to_have_title(re.compile("^say: about apples · "))
    await row(chat, "pears").locator("a").click()
    await chat.answered("about pears")
    await chat.counts(questions=1, answers=1)
    await chat.page.go_back()
    await chat.answered("about apples")


async def test_a_search_finds_what_was_said(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await two_conversations(chat)
    search = chat.page.get_by_role("searchbox")
    links = chat.page.locator("li.session a")
    await search.fill("about PEARS")
    await expect(links).to_have_text(["say: about pears"])
    await search.fill("about plums")
    await expect(links).to_have_count(0)
    await expect(chat.page.locator("#sessions-hint")).to_have_text("Nothing found.")
    await search.fill("")
    await expect(links).to_have_count(2)


async def test_a_conversation_is_renamed_in_the_list_and_everywhere(
    visitor: Visitors, site: Server
) -> None:
    person = await visitor(site.url)
    chat = await person.chat()
    await two_conversations(chat)
    await row(chat, "apples").locator("a").click()
    await chat.answered("about apples")
    await act(chat, "apples", "Rename")
    field = chat.page.get_by_role("textbox", name="Title of say: about apples")
    await field.fill("Fruit & <b>more</b>")
    await field.press("Enter")
    await expect(row(chat, "Fruit & <b>more</b>")).to_be_visible()
    await expect(chat.page.locator("#title")).to_have_text("Fruit & <b>more</b>")
    await expect(chat.page).to_have_title(re.compile("^Fruit & <b>more</b> · "))
    await act(chat, "pears", "Rename")
    await chat.page.keyboard.type("never mind")
    await chat.page.keyboard.press("Escape")
    await expect(row(chat, "say: about pears")).to_be_visible()
    await chat.page.reload()
    await expect(row(chat, "Fruit & <b>more</b>")).to_be_visible()


async def test_a_conversation_is_deleted_for_good_after_a_question(
    visitor: Visitors, site: Server
) -> None:
    person = await visitor(site.url)
    chat = await person.chat()
    await two_conversations(chat)
    await row(chat, "apples").locator("a").click()
    await chat.answered("about apples")
    session = await chat.session()
    await act(chat, "apples", "Delete")
    dialog = chat.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Delete “say: about apples” for good?")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(row(chat, "apples")).to_be_visible()

    await act(chat, "apples", "Delete")
    await dialog.get_by_role("button", name="Delete").click()
    await expect(row(chat, "apples")).to_have_count(0)
    await chat.counts(questions=0, answers=0)
    await chat.ready()
    key = session.replace("-", "")
    assert site.rows("SELECT COUNT(*) FROM agent_message WHERE session_id=?", key) == [(0,)]


@pytest.mark.parametrize(("action", "ending"), [("Markdown", "md"), ("JSON", "json")])
async def test_a_conversation_is_downloaded(
    visitor: Visitors, site: Server, action: str, ending: str
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("say: **about** apples")
    await chat.answered("about apples")
    session = await chat.session()
    async with chat.page.expect_download() as download:
        await act(chat, "apples", f"Export as {action}")
    file = await download.value
    assert file.suggested_filename == f"session-{session}.{ending}"
    text = read(await file.path())
    assert "**about** apples" in text
    if ending == "json":
        frames = json.loads(text)["frames"]
        assert [frame["type"] for frame in frames] == ["query", "response"]


async def test_a_longer_list_has_more(visitor: Visitors, site: Server) -> None:
    person = await visitor(site.url)
    chat = await person.chat()
    await chat.ask("say: first")
    await chat.answered("first")
    ((visitor_id,),) = site.rows(
        "SELECT visitor FROM agent_session WHERE id=?", (await chat.session()).replace("-", "")
    )
    script = (
        "from agent.models import Session\n"
        f"for n in range(60): Session.objects.create(visitor={visitor_id!r}, title=f'number {{n}}')"
    )
    site.manage("shell", "--no-imports", "-c", script)
    await chat.page.reload()
    links = chat.page.locator("li.session a")
    await expect(links).to_have_count(50)
    await chat.button("Show more").click()
    await expect(links).to_have_count(61)
    await expect(chat.button("Show more")).to_be_hidden()


async def test_on_a_phone_the_list_is_a_drawer(visitor: Visitors, site: Server) -> None:
    person = await visitor(site.url, viewport=PHONE, is_mobile=True, has_touch=True)
    chat = await person.chat()
    await chat.ask("say: about apples")
    await chat.answered("about apples")
    side, toggle = chat.page.locator("#side"), chat.button("Conversations")
    await expect(side).to_be_hidden()
    await expect(toggle).to_have_attribute("aria-expanded", "false")
    await toggle.tap()
    await expect(side).to_be_visible()
    await expect(row(chat, "apples")).to_be_visible()
    await chat.page.keyboard.press("Escape")
    await expect(side).to_be_hidden()
    await expect(toggle).to_be_focused()

    await toggle.tap()
    await chat.page.locator("#veil").click(position={"x": 380, "y": 400})
    await expect(side).to_be_hidden()
    await chat.new_chat.tap()
    await chat.ready()
    await toggle.tap()
    await row(chat, "apples").locator("a").tap()
    await expect(side).to_be_hidden()
    await chat.answered("about apples")


async def test_on_a_desktop_the_list_stays_as_somebody_left_it(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    side, toggle = chat.page.locator("#side"), chat.button("Conversations")
    await expect(side).to_be_visible()
    await toggle.click()
    await expect(side).to_be_hidden()
    await chat.page.reload()
    await chat.ready()
    await expect(side).to_be_hidden()
    await toggle.click()
    await expect(side).to_be_visible()
