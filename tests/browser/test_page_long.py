"""Long sessions and long answers on the chat page in Chromium."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.support.browser import Chat, Visitors, fill_session, tapped
from tests.support.scripted_provider import expected_text
from tests.support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def long_session(chat: Chat, server: Server) -> None:
    await chat.ask("say: the very first")
    await chat.answered("the very first")
    fill_session(server, await chat.session(), exchanges=999)  # 2,000 messages in all
    await chat.page.reload()
    await chat.ready()
    await chat.answered("answer 998")


PLACE = """() => {
  const { top } = document.querySelector("#conversation").getBoundingClientRect();
  const messages = [...document.querySelectorAll("article.question")];
  const first = messages.find((message) => message.getBoundingClientRect().bottom > top);
  return [first.querySelector(".bubble").textContent, first.getBoundingClientRect().top - top];
}"""
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


async def test_a_session_of_2000_messages_opens_at_its_end_and_is_read_back_to_its_beginning(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await long_session(chat, site)
    await expect(chat.answers.last).to_be_in_viewport()
    loaded = await chat.questions.count()
    assert loaded < 150, "it loaded more than it has to show"

    scroller = chat.page.locator("#conversation")
    await scroller.evaluate("(element) => { element.scrollTop = 600; }")
    await chat.page.evaluate(TWO_FRAMES)
    before = await chat.page.evaluate(PLACE)
    await expect(chat.questions.nth(loaded)).to_be_attached()
    await chat.page.evaluate(TWO_FRAMES)
    after = await chat.page.evaluate(PLACE)
    assert after[0] == before[0]
    assert abs(after[1] - before[1]) < 5, "what was read has moved"

    while await chat.questions.count() < 1000:
        await scroller.evaluate("(element) => { element.scrollTop = 0; }")
        await chat.page.evaluate(TWO_FRAMES)
    await expect(chat.questions.first).to_contain_text("the very first")
    texts = await chat.questions.locator(".bubble").all_text_contents()
    assert texts == ["say: the very first", *(f"question {number}" for number in range(999))]

    await chat.button("Jump to latest").click()
    await chat.ask("say: it goes on")
    await chat.answered("it goes on")
    await expect(chat.answers.last).to_be_in_viewport()


async def test_a_reconnect_leaves_a_reader_where_they_are(visitor: Visitors, site: Server) -> None:
    chat, tap = await tapped(visitor, site)
    page = chat.page
    await chat.ask("say: the very first")
    await chat.answered("the very first")
    fill_session(site, await chat.session(), exchanges=40)
    await page.reload()
    await chat.ready()
    await chat.answered("answer 39")
    scroller = page.locator("#conversation")
    await scroller.evaluate("(element) => { element.scrollTop -= 800; }")
    await page.evaluate(TWO_FRAMES)
    before = await page.evaluate(PLACE)
    await tap.close(1012)
    await chat.phase("waiting")
    await chat.ready()
    await page.evaluate(TWO_FRAMES)
    after = await page.evaluate(PLACE)
    assert after[0] == before[0]
    assert abs(after[1] - before[1]) < 5, "what was read has moved"
    await chat.ask("say: and on")
    await chat.answered("and on")
    await expect(chat.answers.last).to_be_in_viewport()


async def test_the_title_of_a_long_session_comes_from_the_list(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await long_session(chat, site)
    await expect(chat.page.locator("#title")).to_have_text("say: the very first")


async def test_an_answer_of_100000_characters_streams_in_and_stops_nothing(
    visitor: Visitors, site: Server
) -> None:
    prompt = "mode=slow tokens=17000 delay=0"
    text = expected_text(prompt)
    assert len(text) > 100_000
    chat = await (await visitor(site.url)).chat()
    await chat.ask(prompt)
    await expect(chat.text()).to_contain_text("w9")
    await chat.composer.fill("typed meanwhile")
    await chat.answer_is("done")
    assert await chat.text().inner_text() == text.strip()
    await expect(chat.composer).to_have_value("typed meanwhile")
