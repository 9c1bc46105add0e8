"""What can be typed on the chat page in Chromium beside messages, and what waits above it."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import WebSocket, expect

from tests.support.browser import STALLED, STALLED_TEXT, Chat, Visitors, stored, times_asked
from tests.support.scripted_provider import ScriptedProcess
from tests.support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")


# the queue


async def busy_with_two_waiting(chat: Chat) -> None:
    await chat.ask(STALLED)
    await expect(chat.text()).to_have_text(STALLED_TEXT)
    for number, words in ((1, "say: the 2nd"), (2, "say: the third")):
        await chat.ask(words)
        await chat.question_is("waiting", number)


async def test_what_waits_is_a_chip_with_its_position_that_can_be_removed(
    visitor: Visitors, provider: ScriptedProcess, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await busy_with_two_waiting(chat)
    chips = chat.page.locator("#queue li")
    await expect(chips.locator(".place")).to_have_text(["1", "2"])
    await expect(chips.nth(1)).to_contain_text("number 2 in line")
    await chips.first.get_by_role("button", name="Remove").click()
    await expect(chips).to_have_count(1)
    await expect(chips.locator(".place")).to_have_text("1")
    await expect(chips).to_contain_text("the third")
    await expect(chat.composer).to_have_value("")
    await chat.answer_is("streaming", 0)

    await chat.page.reload()
    await expect(chips).to_have_count(1)
    await chips.get_by_role("button", name="Remove").click()
    await expect(chips).to_have_count(0)
    await chat.stop.click()
    await chat.answer_is("done", 0)
    assert times_asked(provider, "say: the third") == 0


async def test_what_waits_can_be_taken_back_edited_and_sent_again(
    visitor: Visitors, provider: ScriptedProcess, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await busy_with_two_waiting(chat)
    await chat.composer.fill("unfinished")
    chips = chat.page.locator("#queue li")
    await chips.first.get_by_role("button", name="Edit").click()
    await expect(chat.composer).to_have_value("say: the 2nd\n\nunfinished")
    await expect(chips).to_have_count(1)
    await chat.ask("say: the 2nd, edited")
    await expect(chips).to_have_count(2)
    await chips.first.get_by_role("button", name="Remove").click()
    await expect(chips).to_have_count(1)
    await chips.get_by_role("button", name="Send now").click()
    await chat.answered("the 2nd, edited")
    await expect(chips).to_have_count(0)
    session = await chat.session()
    assert stored(site, session, "response")[-1] == "the 2nd, edited"
    assert times_asked(provider, "say: the 2nd") == 0


async def test_sent_now_interrupts_and_runs_before_all_others(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await busy_with_two_waiting(chat)
    chips = chat.page.locator("#queue li")
    await chips.nth(1).get_by_role("button", name="Send now").click()
    await expect(chips).to_have_count(0)
    await chat.answered("the 2nd")
    session = await chat.session()
    answers = stored(site, session, "response")
    assert answers == ["", STALLED_TEXT + " ", "the third", "the 2nd"]
    await expect(chat.answers.first).to_contain_text("Interrupted")


# commands


async def test_a_slash_offers_commands_which_the_keyboard_completes(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("say: hello")
    await chat.answered("hello")
    offered = chat.page.get_by_role("listbox", name="Commands")
    options = offered.get_by_role("option")
    keyboard = chat.page.keyboard
    await keyboard.type("/")
    await expect(options).to_have_count(9)
    await expect(options.first).to_have_attribute("aria-selected", "true")
    active = await options.first.get_attribute("id")
    await expect(chat.composer).to_have_attribute("aria-activedescendant", active or "")
    await keyboard.type("re")
    await expect(options).to_have_count(2)
    await keyboard.press("ArrowDown")
    await keyboard.press("Tab")
    await expect(chat.composer).to_have_value("/rename ")
    await expect(offered).to_be_hidden()
    await keyboard.type("A good title")
    await keyboard.press("Enter")
    await expect(chat.composer).to_have_value("")
    await expect(chat.page.locator("#title")).to_have_text("A good title")
    await expect(chat.page.locator("li.session a")).to_have_text("A good title")
    await chat.counts(questions=1, answers=1)

    await keyboard.type("/cl")
    await keyboard.press("Escape")
    await expect(offered).to_be_hidden()
    await keyboard.type("e")
    await keyboard.press("Enter")
    await expect(chat.page.locator(".note")).to_contain_text("forgotten")


async def test_commands_do_what_they_say(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("/retry")
    await expect(chat.strip).to_contain_text("There is nothing here yet.")
    await expect(chat.composer).to_have_value("/retry")
    await chat.ask("say: hello")
    await chat.answered("hello")
    await chat.ask("/retry")
    await expect(chat.page.get_by_role("group", name="Answer 2 of 2")).to_be_visible()
    await chat.ask("/rename ")
    await expect(chat.strip).to_contain_text("Write the title")
    await chat.ask("/nonsense please")
    await expect(chat.strip).to_contain_text("There is no command /nonsense.")
    await expect(chat.composer).to_have_value("/nonsense please")
    async with chat.page.expect_download() as download:
        await chat.ask("/export json")
    assert (await download.value).suggested_filename.endswith(".json")

    await chat.ask("/help")
    help_ = chat.page.get_by_role("dialog", name="Commands and keys")
    await expect(help_).to_contain_text("/export")
    await chat.page.keyboard.press("Escape")
    await expect(help_).to_be_hidden()
    await chat.ask("/close")
    await chat.phase("stopped")
    await expect(chat.strip).to_have_attribute("data-reason", "closed")
    await chat.ask("/new")
    await chat.ready()
    await chat.counts(questions=0, answers=0)


async def test_a_message_may_begin_with_a_slash(
    visitor: Visitors, provider: ScriptedProcess, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("/etc/hosts, what is it?")
    await chat.answer_is("done")
    await chat.ask("//clear is what I want to know about")
    await chat.answer_is("done", 1)
    asked = [request["prompt"] for request in provider.requests()]
    assert "/etc/hosts, what is it?" in asked
    assert "/clear is what I want to know about" in asked


async def test_stop_and_colours_can_be_typed_too(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask(STALLED)
    await expect(chat.text()).to_have_text(STALLED_TEXT)
    await chat.ask("/stop")
    await chat.answered(STALLED_TEXT)
    await chat.ask("/theme")
    await expect(chat.page.locator("html")).to_have_attribute("data-theme", re.compile("light"))


async def test_escape_in_a_dialog_or_another_field_stops_nothing(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask(STALLED)
    await expect(chat.text()).to_have_text(STALLED_TEXT)
    await chat.composer.fill("/help")
    await chat.composer.press("Enter")
    dialog = chat.page.locator("dialog[open]")
    await expect(dialog).to_be_visible()
    await chat.page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await chat.page.locator("#search").fill("apples")
    await chat.page.keyboard.press("Escape")
    await chat.answer_is("streaming")
    await chat.composer.press("Escape")
    await expect(chat.button("Stop")).to_be_hidden()


async def test_the_link_to_the_message_box_leaves_the_conversation_as_it_is(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("say: hello")
    await chat.answered("hello")
    sockets: list[WebSocket] = []
    chat.page.on("websocket", lambda socket: sockets.append(socket))
    await chat.page.locator("a.skip").focus()
    await chat.page.keyboard.press("Enter")
    await expect(chat.composer).to_be_focused()
    await chat.ask("say: again")
    await chat.answered("again")
    await chat.counts(2, 2)
    assert sockets == []
