"""What stands around the text of an answer in Chromium: what was thought before it, what it is
based on, and the way on when it was cut off.
"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.browser.test_page_around import violations
from tests.support.browser import Chat, Tap, Visitors, stored, tapped
from tests.support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOMENT = {"timestamp": "2026-01-01T00:00:00.000Z"}
THOUGHT = "First <b>this</b>,\nthen <img src=x onerror=\"window.ran = 'img'\"> that."


class Reasoner:
    """A server that tells what its model thinks; it answers the next question of the page."""

    def __init__(self, tap: Tap) -> None:
        self._tap, self._sent = tap, {"reasoning": 0, "delta": 0}
        tap.answers = self._take

    def _take(self, frame: dict[str, Any]) -> bool:
        if frame["type"] != "query":
            return False
        self.turn = {"turn": "t1", "ref": frame["id"]}
        question = {"id": "m1", "content": frame["content"]}
        self.tell({"type": "query", "seq": 1, **question})
        self.tell({"type": "status", "status": "thinking", "attempt": 1, "content": ""})
        return True

    def tell(self, frame: dict[str, Any]) -> None:
        self._tap.send({**frame, **self.turn, **MOMENT})

    def grow(self, kind: str, content: str) -> None:
        first = self._sent[kind]
        self._sent[kind] += len(content)
        place = {"attempt": 1, "first": first, "index": first + len(content) - 1}
        self.tell({"type": kind, **place, "content": content})

    def end(self, content: str, **fields: Any) -> None:
        rest = {"finish_reason": "stop", "author": "agent", "content": content}
        self.tell({"type": "response", "seq": 2, "id": "m2", **rest, **fields})


async def top_of(text: Locator) -> float:
    box = await text.bounding_box()
    assert box
    return box["y"]


async def begun(chat: Chat, tap: Tap) -> Reasoner:
    reasoner = Reasoner(tap)
    await chat.ask("Why?")
    await expect(chat.answers.locator(".thinking")).to_be_visible()
    return reasoner


async def test_what_is_thought_is_a_line_that_opens_and_leaves_the_answer_where_it_is(
    visitor: Visitors, site: Server
) -> None:
    chat, tap = await tapped(visitor, site)
    reasoner = await begun(chat, tap)
    waiting = await top_of(chat.answers.locator(".thinking"))
    reasoner.grow("reasoning", THOUGHT)
    line, thoughts = chat.answers.locator("summary"), chat.answers.locator(".thoughts")
    await expect(line).to_contain_text("Thinking…")
    await expect(thoughts).to_be_hidden()
    assert await top_of(line) == waiting
    await line.focus()
    await chat.page.keyboard.press("Enter")
    await expect(thoughts).to_have_text(THOUGHT, use_inner_text=True)
    reasoner.grow("reasoning", " And more.")
    await expect(thoughts).to_have_text(THOUGHT + " And more.", use_inner_text=True)
    await chat.page.keyboard.press("Enter")
    await expect(thoughts).to_be_hidden()

    reasoner.grow("delta", "Because")
    await expect(line).to_contain_text("Thought for")
    begins = await top_of(chat.text())
    told = {"ms": 75_000, "tokens": 250, "content": THOUGHT + " And more."}
    reasoner.end("Because of it.", reasoning=told)
    await chat.answered("Because of it.")
    await expect(line).to_have_text("Thought for 1 min 15 s")
    await expect(line).to_have_attribute("title", "250 tokens")
    await expect(thoughts).to_be_hidden()
    assert await top_of(chat.text()) == begins
    assert await chat.page.evaluate("() => window.ran") is None
    said = " ".join((await chat.seen())["said"])
    assert "Because of it." in said
    assert "First" not in said


async def test_where_only_the_time_is_told_there_is_nothing_to_open(
    visitor: Visitors, site: Server
) -> None:
    chat, tap = await tapped(visitor, site)
    reasoner = await begun(chat, tap)
    reasoner.grow("delta", "Because")
    await expect(chat.text()).to_have_text("Because")
    begins = await top_of(chat.text())
    reasoner.end("Because.", reasoning={"ms": 1_400, "tokens": None})
    await chat.answered("Because.")
    await expect(chat.answers.locator(".thought")).to_have_text("Thought for 1 s")
    await expect(chat.answers.locator("summary")).to_be_hidden()
    assert await top_of(chat.text()) == begins


async def test_sources_are_links_of_the_web_each_once(visitor: Visitors, site: Server) -> None:
    chat, tap = await tapped(visitor, site)
    reasoner = await begun(chat, tap)
    pages = [
        {"url": "https://example.org/a", "title": "<i>One</i>"},
        {"url": "https://example.org/a", "title": "<i>One</i>"},
        {"url": "http://example.com/", "title": ""},
        {"url": "javascript:window.ran = 1", "title": "script"},
        {"url": "nonsense", "title": "nonsense"},
    ]
    told = {"ms": None, "tokens": None, "content": THOUGHT}
    reasoner.end("Because.", sources=pages, reasoning=told)
    links = chat.page.get_by_role("group", name="Sources").get_by_role("link")
    await expect(links).to_have_text(["<i>One</i>", "example.com"])
    await expect(links.first).to_have_attribute("rel", "noopener noreferrer")
    await expect(links.first).to_have_attribute("href", "https://example.org/a")
    await chat.answers.locator("summary").click()
    assert await violations(chat.page) == []


async def test_the_newest_answer_that_was_cut_off_goes_on(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    go_on = chat.button("Continue")
    await chat.ask("mode=ok finish=length say:")
    await expect(chat.text()).to_contain_text("used up its tokens while it was thinking")
    await chat.answer_is("done")
    await expect(go_on).to_be_hidden()
    await expect(chat.button("Retry")).to_be_visible()
    await chat.ask("mode=ok finish=length say: a long")
    await chat.answered("a long")
    await expect(chat.answers.last).to_contain_text("Cut off")
    await chat.page.reload()
    await go_on.click()
    await chat.counts(questions=3, answers=3)
    await chat.answer_is("done")
    await expect(go_on).to_be_hidden()
    asked = stored(site, await chat.session(), "query")
    assert asked[2:] == ["Continue where you stopped."]
