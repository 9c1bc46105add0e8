"""What can be done with an answer and its question on the chat page in Chromium.

Retry, edit, copy, judge; code with colours; what an answer took; who wrote it.
"""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.support.browser import STALLED, STALLED_TEXT, Visitors, stored, tapped, times_asked
from tests.support.scripted_provider import ScriptedProcess
from tests.support.servers import Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


# versions


async def test_a_retry_is_another_version_and_the_old_answer_stays_readable(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    flaky = "mode=flaky times=9 status=401 tag=versions say: at last"
    await chat.ask("say: hello")
    await chat.answered("hello")
    await chat.ask(flaky)
    await chat.answer_is("failed")
    await chat.answers.first.get_by_role("button", name="Retry").click()
    await expect(chat.answers.first.get_by_role("group", name="Answer 2 of 2")).to_be_visible()
    await chat.counts(questions=2, answers=2)

    for _ in range(2):  # live, and after a reload
        first = chat.answers.first
        await chat.answered("hello", 0)
        newest = await first.get_attribute("data-turn")
        await first.get_by_role("button", name="Previous answer").click()
        await expect(first.get_by_role("group", name="Answer 1 of 2")).to_be_visible()
        await chat.answered("hello", 0)
        assert await first.get_attribute("data-turn") != newest
        await chat.page.reload()
        await chat.ready()
    session = await chat.session()
    assert stored(site, session, "query") == ["say: hello", flaky]
    assert stored(site, session, "response") == ["hello", "hello"]


async def test_an_answer_that_failed_can_be_retried_from_its_card(
    visitor: Visitors, provider: ScriptedProcess, site: Server
) -> None:
    prompt = "mode=flaky times=1 status=401 tag=card say: at last"
    chat = await (await visitor(site.url)).chat()
    await chat.ask(prompt)
    await chat.answer_is("failed")
    card = chat.answers.locator(".failure")
    await expect(card.locator(".facts")).to_contain_text("provider_rejected · turn ")
    await card.get_by_role("button", name="Retry").click()
    await chat.answered("at last")
    await chat.counts(questions=1, answers=1)
    assert times_asked(provider, prompt) == 2
    await chat.button("Previous answer").click()
    await expect(card).to_be_visible()


async def test_an_edit_asks_again_from_there_and_the_old_branch_stays_readable(
    visitor: Visitors, provider: ScriptedProcess, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    for words in ("one", "two", "three"):
        await chat.ask(f"say: {words}")
        await chat.answered(words)
    await chat.composer.fill("a draft")
    await chat.questions.nth(1).hover()
    await chat.questions.nth(1).get_by_role("button", name="Edit").click()
    await expect(chat.composer).to_have_value("say: two")
    await chat.page.keyboard.press("Escape")
    await expect(chat.composer).to_have_value("a draft")

    await chat.questions.nth(1).get_by_role("button", name="Edit").click()
    await chat.ask("say: two, edited")
    await expect(chat.composer).to_have_value("a draft")
    await chat.answered("two, edited")
    for _ in range(2):  # live, and after a reload
        await chat.counts(questions=2, answers=2)
        await expect(chat.text()).to_have_text("two, edited")
        await chat.button("Previous version").click()
        await chat.counts(questions=3, answers=3)
        await expect(chat.text(1)).to_have_text("two")
        await expect(chat.text(2)).to_have_text("three")
        await expect(chat.page.locator("#notice")).to_contain_text("earlier version")
        await expect(chat.questions.nth(2).get_by_role("button", name="Edit")).to_be_hidden()
        await chat.button("Back to the latest").click()
        await chat.counts(questions=2, answers=2)
        await chat.page.reload()
        await chat.ready()

    prompt = "say: what did you see"
    await chat.ask(prompt)
    await chat.answered("what did you see")
    [request] = [one for one in provider.requests() if one["prompt"] == prompt]
    seen = [message["content"] for message in request["body"]["messages"][1:]]
    assert seen == ["say: one", "one", "say: two, edited", "two, edited", prompt]


async def test_an_edit_in_mid_answer_interrupts_it(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask(STALLED)
    await expect(chat.text()).to_have_text(STALLED_TEXT)
    await chat.questions.hover()
    await chat.questions.get_by_role("button", name="Edit").click()
    await chat.ask("say: instead")
    await chat.answered("instead")
    await chat.counts(questions=1, answers=1)
    await chat.button("Previous version").click()
    await expect(chat.text()).to_have_text(STALLED_TEXT)
    await expect(chat.answers).to_contain_text("Interrupted")


# copying and code

CODE = """say: Look:

```python title=x
def add(a, b):
    return a + b  # <script>
```

```nonsense
plain
```
"""


async def test_code_has_its_language_its_colours_and_a_button_that_copies_it(
    visitor: Visitors, site: Server
) -> None:
    person = await visitor(site.url, permissions=["clipboard-read", "clipboard-write"])
    chat = await person.chat()
    await chat.ask(CODE)
    await chat.answer_is("done")
    for _ in range(2):  # live, and after a reload
        blocks = chat.text().locator(".code")
        await expect(blocks.locator(".code-head span")).to_have_text(["python", "nonsense"])
        await expect(blocks.first.locator(".hljs-keyword")).to_have_text(["def", "return"])
        await expect(blocks.last.locator("span[class^=hljs]")).to_have_count(0)
        await blocks.first.get_by_role("button", name="Copy code").click()
        await expect(blocks.first.get_by_role("button", name="Copied")).to_be_visible()
        copied = await chat.page.evaluate("() => navigator.clipboard.readText()")
        assert copied == "def add(a, b):\n    return a + b  # <script>"
        await chat.page.reload()
        await chat.ready()


async def test_a_message_is_copied_as_it_was_written(visitor: Visitors, site: Server) -> None:
    person = await visitor(site.url, permissions=["clipboard-read", "clipboard-write"])
    chat = await person.chat()
    await chat.ask("say: some **bold** words")
    await chat.answered("some bold words")
    for message, text in (
        (chat.answers, "some **bold** words"),
        (chat.questions, "say: some **bold** words"),
    ):
        await message.hover()
        await message.get_by_role("button", name="Copy", exact=True).click()
        await expect(message.get_by_role("button", name="Copied")).to_be_visible()
        assert await chat.page.evaluate("() => navigator.clipboard.readText()") == text


async def test_long_lists_and_code_that_stream_in_are_the_same_as_when_they_are_whole(
    visitor: Visitors, site: Server
) -> None:
    items = "\n".join(f"{n}. item **{n}**\n   - part" for n in range(1, 20))
    loose = "- a\n- b\n\n- c\n\n  more of c"
    code = "```js\n" + "\n".join(f"let a{n} = {n};" for n in range(40)) + "\n```"
    chat = await (await visitor(site.url)).chat()
    await chat.ask(f"mode=slow delay=0.004 say: {items}\n\ntext\n\n{loose}\n\n{code}")
    await chat.answer_is("done")
    await expect(chat.text().locator(".hljs-keyword").first).to_be_visible()
    streamed = await chat.text().inner_html()
    await chat.page.reload()
    await chat.answer_is("done")
    await expect(chat.text().locator(".hljs-keyword").first).to_be_visible()
    whole = await chat.text().inner_html()
    assert whole.replace("\n", "") == streamed.replace("\n", "")


# judging


async def test_a_thumb_is_kept_with_its_reason_shown_in_every_tab_and_can_be_taken_back(
    visitor: Visitors, site: Server
) -> None:
    person = await visitor(site.url)
    chat = await person.chat()
    await chat.ask("say: hello")
    await chat.answered("hello")
    session = await chat.session()
    other = await person.chat(f"/?session={session}")
    await other.answered("hello")
    await chat.show()

    bad, good = chat.button("Bad answer"), chat.button("Good answer")
    await bad.click()
    await expect(bad).to_have_attribute("aria-pressed", "true")
    form = chat.page.locator("form.reasons")
    await expect(form).to_contain_text("What was wrong")
    await form.get_by_text("Too long").click()
    await form.get_by_label("Comment").fill("by far")
    await form.get_by_role("button", name="Send").click()
    await expect(form).to_be_hidden()
    await expect(chat.status).to_have_text("Thank you for the feedback.")

    def opinions() -> list[tuple[str, str]]:
        return site.rows(
            "SELECT f.rating, f.comment FROM agent_feedback f JOIN agent_message m"
            " ON m.id = f.message_id WHERE m.session_id = ?",
            session.replace("-", ""),
        )

    await eventually(lambda: opinions() == [("down", "Too long\nby far")], "the comment")
    await other.show()
    await expect(other.button("Bad answer")).to_have_attribute("aria-pressed", "true")
    await chat.show()
    await good.click()
    await expect(good).to_have_attribute("aria-pressed", "true")
    await expect(bad).to_have_attribute("aria-pressed", "false")
    await chat.page.keyboard.press("Escape")
    await expect(form).to_be_hidden()
    await chat.page.reload()
    await chat.answered("hello")
    await expect(good).to_have_attribute("aria-pressed", "true")
    await good.click()
    await expect(good).to_have_attribute("aria-pressed", "false")
    await eventually(lambda: not opinions(), "the withdrawal")


# what stands around an answer


async def test_who_waits_for_an_answer_sees_for_how_long(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("mode=slow first=4 say: at last")
    await expect(chat.answers.locator(".thinking")).to_have_text(re.compile(r"^Thinking… [2-4] s$"))
    await chat.answered("at last")
    await expect(chat.answers.locator(".thinking")).to_be_hidden()


async def test_an_answer_says_what_it_took(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("mode=ok cost=0.0042 say: three words here")
    await chat.answered("three words here")
    usage = chat.answers.locator(".usage")
    await expect(usage).to_contain_text("tokens")
    await expect(usage).to_contain_text("0.0042 credits")
    await expect(usage).to_have_attribute("title", re.compile(r"^Model \S+; \d+ tokens read"))


async def test_a_person_of_the_staff_is_told_apart_from_the_agent(
    visitor: Visitors, site: Server
) -> None:
    chat, tap = await tapped(visitor, site)
    page = chat.page
    await chat.ask("say: hello")
    await chat.answered("hello")
    moment = {"timestamp": "2026-01-01T00:00:00.000Z"}
    joined = {"type": "notification", "event": "taken_over", "seq": 3, "id": "n3"}
    tap.send({**joined, **moment, "level": "info", "content": "Maria has joined"})
    await expect(page.locator("#notice p")).to_have_text("Staff joined")
    answer = {"type": "response", "seq": 4, "id": "m4", "turn": "t4", "author": "staff"}
    tap.send({**answer, **moment, "finish_reason": "stop", "content": "I am a person"})
    await chat.answered("I am a person")
    await expect(chat.answers.last).to_have_attribute("data-author", "staff")
    await expect(chat.answers.last.locator(".author")).to_have_text("Staff")
    left = {"type": "notification", "event": "handed_back", "seq": 5, "id": "n5"}
    tap.send({**left, **moment, "level": "info", "content": "Maria has left"})
    await expect(page.locator("#notice")).to_be_hidden()


async def test_days_are_divided_and_the_newest_is_today(visitor: Visitors, site: Server) -> None:
    chat, tap = await tapped(visitor, site)
    page = chat.page
    note = {"type": "notification", "event": "message", "level": "warning"}
    for seq, day in ((1, "2020-03-01"), (2, "2020-03-01"), (3, "2020-03-04")):
        moment = f"{day}T12:00:00.000Z"
        tap.send({**note, "seq": seq, "id": f"n{seq}", "content": day, "timestamp": moment})
    await expect(page.locator(".note")).to_have_count(3)
    days = page.locator(".day")
    await expect(days).to_have_count(2)
    await expect(days.first).to_contain_text("March 1, 2020")
    await expect(page.locator(".note").first).to_have_attribute("data-level", "warning")
    expired = {"type": "notification", "event": "expired", "seq": 4, "id": "n4", "content": ""}
    tap.send({**expired, "timestamp": "2020-03-04T12:00:01.000Z"})
    await expect(page.locator(".note").last).to_contain_text("expired")
    await chat.new_chat.click()
    await chat.ask("say: hello")
    await chat.answered("hello")
    await expect(days).to_have_text("Today")


async def test_a_text_that_is_nested_too_deep_for_the_parser_is_shown_as_it_is(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    deep = ">" * 6000 + "x"
    await chat.ask(f"say: {deep}")
    await chat.answered(deep)
    await chat.ask("say: after it")
    await chat.answered("after it")
