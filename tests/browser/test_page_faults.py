"""The chat page in Chromium for every script, pointer and medium."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.support.browser import STALLED, Visitors, tapped
from tests.support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOUCH = {"viewport": {"width": 820, "height": 1180}, "is_mobile": True, "has_touch": True}
DIRECTION = "(element) => getComputedStyle(element).direction"


async def test_formulas_are_typeset_and_what_cannot_be_stays_as_written(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    formulas = r"\( e^{i\pi} \), $5 and $10, \(\frac{\) and \[ \href{https://x.test}{y} \]"
    await chat.ask(f"say: {formulas}")
    await chat.answer_is("done")
    await expect(chat.text().locator("math")).to_have_count(1)
    await expect(chat.text()).to_contain_text(r"$5 and $10, \(\frac{\) and \[ \href{")
    await expect(chat.text().locator("a")).to_have_count(0)


async def test_text_of_people_and_models_has_its_own_direction(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    arabic = "مرحبا، موعد الاجتماع 10:30 في room-42."
    await chat.ask(f"say: {arabic}\n\n- {arabic}\n\n> {arabic}\n\n```\ncode\n```")
    await chat.answer_is("done")
    text = chat.text()
    await expect(chat.questions.locator(".bubble")).to_have_attribute("dir", "auto")
    for place in (text.locator("p").first, text.locator("li"), text.locator("blockquote")):
        assert await place.evaluate(DIRECTION) == "rtl"
    assert await text.locator("pre").evaluate(DIRECTION) == "ltr"
    await chat.composer.fill(arabic)
    assert await chat.composer.evaluate(DIRECTION) == "rtl"
    await chat.composer.fill("")


async def test_on_a_touch_screen_enter_breaks_the_line_and_nothing_opens_the_keyboard(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url, **TOUCH)).chat()
    await chat.ready()
    await expect(chat.composer).not_to_be_focused()
    await chat.composer.fill("say: one")
    await chat.composer.press("Enter")
    await chat.composer.press_sequentially("two")
    await expect(chat.composer).to_have_value("say: one\ntwo")
    await chat.send.tap()
    await chat.answer_is("done")
    sizes = await chat.page.evaluate(
        """() => [...document.querySelectorAll("button, summary, a[href]:not(.skip)")]
          .filter((element) => element.checkVisibility())
          .map((element) => [element.getAttribute("aria-label") ?? element.textContent,
            element.getBoundingClientRect().height])"""
    )
    assert not [one for one in sizes if one[1] < 44]


async def test_one_small_scroll_upwards_stops_following(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("say: " + "a line\n\n" * 60)
    await chat.answer_is("done")
    await chat.ask("mode=slow tokens=4000 delay=0.01")
    await chat.answer_is("streaming", 1)
    await chat.page.locator("#conversation").focus()
    await chat.page.keyboard.press("ArrowUp")
    await expect(chat.button("Jump to latest")).to_be_visible()
    await chat.stop.click()


async def test_a_selection_in_the_growing_paragraph_stays(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("mode=slow tokens=4000 delay=0.01")
    await expect(chat.text()).to_contain_text("w5 w6")
    await chat.page.evaluate(
        """() => {
          const text = document.querySelector(".markdown p").firstChild;
          getSelection().setBaseAndExtent(text, 0, text, 8);
        }"""
    )
    await expect(chat.text()).to_contain_text(re.compile(r"w60\b"))
    assert await chat.page.evaluate("() => getSelection().toString()") == "w0 w1 w2"
    await chat.stop.click()


async def test_the_caret_stands_behind_the_last_word(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("mode=stall after=12 say: - a b\n  - c d\n    - e f g h i j k l m")
    await expect(chat.text().locator("[data-caret]")).to_have_text(re.compile("^e f"))
    await chat.stop.click()


async def test_a_restart_that_is_known_is_not_forgotten_while_it_lasts(
    visitor: Visitors, site: Server
) -> None:
    chat, tap = await tapped(visitor, site)
    await tap.close(4503)
    await expect(chat.strip).to_contain_text("Server is restarting")
    await chat.ready()


async def test_a_card_offers_what_helps(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("mode=status status=400 body=context")
    await chat.answer_is("failed")
    card = chat.answers.locator(".failure")
    await expect(card.get_by_role("button")).to_have_text(["Clear", "New chat"])


async def test_after_an_action_the_focus_is_near_where_it_was(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask(STALLED)
    await expect(chat.stop).to_be_visible()
    for words in ("one", "two"):
        await chat.ask(words)
    chips = chat.page.locator("#queue > li")
    await expect(chips.get_by_role("button", name="Remove")).to_have_count(2)
    await chips.first.get_by_role("button", name="Remove").focus()
    await chat.page.keyboard.press("Enter")
    await expect(chips).to_have_count(1)
    await expect(chips.get_by_role("button", name="Send now")).to_be_focused()
    await chat.stop.click()


async def test_a_search_without_hits_says_so_to_a_screen_reader_too(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ready()
    await chat.page.get_by_role("searchbox").fill("no such words")
    await expect(chat.status).to_have_text("Nothing found.")


async def test_printing_in_a_chosen_dark_prints_dark_on_white(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ready()
    await chat.button("Colours: as the system").click()
    await chat.button("Colours: light").click()
    await expect(chat.page.locator("html")).to_have_attribute("data-theme", "dark")
    await chat.page.emulate_media(media="print")
    scheme = "() => getComputedStyle(document.documentElement).colorScheme"
    assert await chat.page.evaluate(scheme) == "light"
