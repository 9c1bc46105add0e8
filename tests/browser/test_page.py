"""The chat page in Chromium: asking, stopping, typing ahead, several tabs, the composer.

Each test is a visitor with a browser context of its own, so the server can be shared. Every page is
checked for errors and foreign requests at the end of its test: see tests/support/browser.py. Broken
connections, scripts that must not run, and looks have modules of their own: test_page_*.py.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.support.browser import STALLED, STALLED_TEXT, Chat, Visitors, stored, times_asked
from tests.support.scripted_provider import ScriptedProcess, expected_text
from tests.support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")


# the first conversation


async def test_a_newcomer_asks_sees_the_answer_stream_in_and_finds_it_again(
    visitor: Visitors, site: Server
) -> None:
    prompt = "mode=slow first=0.5 tokens=30 delay=0.03"
    chat = await (await visitor(site.url)).chat()
    await expect(chat.page.locator("#empty")).to_be_visible()
    await expect(chat.composer).to_be_focused()
    await chat.ready()
    assert chat.page.url == f"{site.url}/"

    await chat.page.keyboard.type(prompt)
    await chat.page.keyboard.press("Enter")

    await expect(chat.composer).to_have_value("")
    await expect(chat.page.locator("#empty")).to_be_hidden()
    await chat.answered(expected_text(prompt))
    await chat.question_is("accepted")
    await expect(chat.stop).to_be_hidden()
    seen = await chat.seen()
    assert seen["states"] == ["thinking", "streaming", "done"]
    assert len(seen["texts"]) > 5, "it did not stream"
    session = await chat.session()
    assert stored(site, session, "query") == [prompt]
    assert stored(site, session, "response") == [expected_text(prompt)]

    await chat.page.reload()
    await chat.ready()
    await chat.counts(questions=1, answers=1)
    await expect(chat.questions).to_contain_text(prompt)
    await chat.answered(expected_text(prompt))
    assert await chat.session() == session


async def test_the_send_button_sends_and_waits_for_something_to_send(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ready()
    await expect(chat.send).to_be_disabled()
    await chat.composer.fill("  \n ")
    await expect(chat.send).to_be_disabled()
    await chat.composer.fill("say: by the button")
    await chat.send.click()
    await chat.answered("by the button")
    await expect(chat.composer).to_be_focused()


async def test_a_suggestion_is_asked_by_a_click(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    suggestion = chat.page.locator("#empty button").first
    words = await suggestion.inner_text()
    await suggestion.click()
    await chat.answered(expected_text(words))


async def test_a_message_written_before_the_connection_stands_is_sent(
    visitor: Visitors, site: Server
) -> None:
    person = await visitor(site.url)
    page = await person.context.new_page()
    sockets = asyncio.Event()

    async def hold(route: Any) -> None:
        await sockets.wait()
        route.connect_to_server()

    await page.route_web_socket("**/ws/agent/**", hold)
    chat = Chat(page, site.url)
    await chat.open()
    await chat.ask("say: early")
    await chat.question_is("unsent")
    sockets.set()
    await chat.answered("early")
    await chat.counts(questions=1, answers=1)


# a reload in mid-answer, a stop, typing ahead


async def test_a_reload_in_mid_answer_goes_on_without_loss_or_doubling(
    visitor: Visitors, provider: ScriptedProcess, site: Server
) -> None:
    prompt = "mode=slow tokens=60 delay=0.05 tag=reload"
    text = expected_text(prompt).strip()
    chat = await (await visitor(site.url)).chat()
    await chat.ask(prompt)
    await expect(chat.text()).to_contain_text("w9 ")
    before = await chat.text().inner_text()
    session = await chat.session()

    await chat.page.reload()
    await chat.answered(text)
    await chat.counts(questions=1, answers=1)
    texts = (await chat.seen())["texts"]
    assert all(text.startswith(shown) for shown in texts)
    assert texts[0].startswith(before.strip()), "it fell back behind what was shown already"
    assert times_asked(provider, prompt) == 1
    assert stored(site, session, "response") == [expected_text(prompt)]


async def test_stop_keeps_the_partial_text_and_says_so(
    visitor: Visitors, provider: ScriptedProcess, site: Server
) -> None:
    prompt = f"{STALLED} tag=stop"
    chat = await (await visitor(site.url)).chat()
    await chat.ask(prompt)
    await expect(chat.text()).to_have_text(STALLED_TEXT)
    await chat.answer_is("streaming")
    assert await caret_is_shown(chat.page)

    await chat.stop.click()
    await chat.answered(STALLED_TEXT)
    assert not await caret_is_shown(chat.page)
    await expect(chat.answers.locator(".foot .state")).to_have_text("Stopped")
    await expect(chat.stop).to_be_hidden()
    await expect(chat.composer).to_be_focused()
    assert [kept.strip() for kept in stored(site, await chat.session(), "response")] == [
        STALLED_TEXT
    ]
    request = next(one for one in provider.requests() if one["prompt"] == prompt)
    assert request["disconnected"], "the provider goes on writing"

    await chat.page.reload()
    await chat.answered(STALLED_TEXT)
    await expect(chat.answers.locator(".foot .state")).to_have_text("Stopped")


async def caret_is_shown(page: Page) -> bool:
    shown: bool = await page.evaluate(
        """() => [...document.querySelectorAll(".markdown *")]
          .some((element) => getComputedStyle(element, "::after").content === '""')"""
    )
    return shown


async def test_a_question_typed_ahead_waits_its_turn_and_is_answered(
    visitor: Visitors, site: Server
) -> None:
    first, second = "mode=slow tokens=60 delay=0.05", "say: the second"
    chat = await (await visitor(site.url)).chat()
    await chat.ask(first)
    await expect(chat.text()).to_contain_text("w0 ")
    await chat.ask(second)
    await chat.question_is("waiting", 1)
    await expect(chat.questions.last).to_contain_text("next in line")
    await chat.counts(questions=2, answers=1)

    await chat.answered(expected_text(first), 0)
    await chat.answered("the second", 1)
    await chat.question_is("accepted")
    assert stored(site, await chat.session(), "query") == [first, second]


async def test_stop_returns_the_waiting_texts_to_the_composer(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask(STALLED)
    await expect(chat.text()).to_have_text(STALLED_TEXT)
    for number, words in ((1, "the second"), (2, "the third")):
        await chat.ask(words)
        await chat.question_is("waiting", number)
    await chat.composer.fill("unfinished")

    await chat.stop.click()
    await expect(chat.composer).to_have_value("the second\n\nthe third\n\nunfinished")
    await expect(chat.stop).to_be_hidden()
    await chat.answered(STALLED_TEXT, 0)
    await expect(chat.answers.filter(has_text="Stopped before it was answered")).to_have_count(2)

    await chat.page.reload()
    await expect(chat.composer).to_have_value("the second\n\nthe third\n\nunfinished")


async def test_a_full_queue_refuses_a_question_which_can_be_edited_or_sent_again(
    visitor: Visitors, provider: ScriptedProcess, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask(STALLED)
    await expect(chat.text()).to_have_text(STALLED_TEXT)
    for number in (1, 2, 3):
        await chat.ask(f"say: waiting {number}")
        await chat.question_is("waiting", number)
    refused = chat.page.locator("article.question[data-state=refused]")
    for number, words in ((1, "say: one too many"), (2, "say: another")):
        await chat.ask(words)
        await expect(refused).to_have_count(number)
    await expect(refused.last).to_contain_text("Not sent.")

    await refused.last.get_by_role("button", name="Edit").click()
    await expect(chat.composer).to_have_value("say: another")
    await expect(chat.questions).to_have_count(5)
    await chat.composer.fill("")
    await chat.stop.click()
    await expect(chat.stop).to_be_hidden()
    await refused.get_by_role("button", name="Send again").click()
    await chat.answered("one too many")
    assert times_asked(provider, "say: another") == 0


# several chats, several tabs


async def test_new_chat_starts_empty_and_back_returns_to_the_old_one(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("say: the old one")
    await chat.answered("the old one")
    old = await chat.session()

    await chat.new_chat.click()
    await chat.ready()
    await chat.counts(questions=0, answers=0)
    await expect(chat.page.locator("#empty")).to_be_visible()
    await expect(chat.composer).to_be_focused()
    assert chat.page.url == f"{site.url}/"
    await chat.ask("say: the new one")
    await chat.answered("the new one")
    assert await chat.session() != old

    await chat.page.go_back()
    await chat.answered("the old one")
    await chat.counts(questions=1, answers=1)
    assert await chat.session() == old


async def test_an_empty_new_chat_leaves_nothing_behind(visitor: Visitors, site: Server) -> None:
    def sessions() -> int:
        return int(site.rows("SELECT COUNT(*) FROM agent_session")[0][0])

    before = sessions()
    chat = await (await visitor(site.url)).chat()
    await chat.ready()
    await chat.page.reload()
    await chat.ready()
    assert chat.page.url == f"{site.url}/"
    assert sessions() == before


async def test_two_tabs_of_a_session_stay_in_step(visitor: Visitors, site: Server) -> None:
    person = await visitor(site.url)
    one = await person.chat()
    await one.ask("say: hello")
    await one.answered("hello")
    other = await person.chat(f"/?session={await one.session()}")
    await other.answered("hello")

    await one.show()
    await one.ask(STALLED)
    await expect(one.text()).to_have_text(STALLED_TEXT)
    await other.show()
    await other.counts(questions=2, answers=2)
    await expect(other.text()).to_have_text(STALLED_TEXT)
    await other.ask("say: from the other")
    await other.question_is("waiting", 2)
    await one.show()
    await one.question_is("waiting", 2)
    await one.stop.click()
    await expect(one.composer).to_have_value("say: from the other")
    await other.show()
    await expect(other.stop).to_be_hidden()
    await expect(other.composer).to_have_value("")
    await other.ask("say: together")
    for tab in (other, one):
        await tab.show()
        await tab.answered("together")
        await tab.counts(questions=4, answers=4)
        texts = await tab.text().all_inner_texts()
        assert texts == ["together"]


async def test_another_visitor_cannot_open_the_session(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("say: mine")
    await chat.answered("mine")
    stranger = await (await visitor(site.url)).chat(f"/?session={await chat.session()}")
    await stranger.phase("stopped")
    await expect(stranger.strip).to_have_attribute("data-reason", "gone")
    await stranger.counts(questions=0, answers=0)


# answers that fail


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("mode=error_event after=3 tokens=9", "provider_unavailable"),
        ("mode=truncated after=3 tokens=9", "provider_unavailable"),
        ("mode=status status=401 body=echo", "provider_rejected"),
        ("mode=status status=400 body=context", "context_too_long"),
    ],
)
async def test_a_failed_answer_is_a_card_in_words_with_the_partial_text(
    visitor: Visitors, site: Server, prompt: str, code: str
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask(prompt)
    for _ in range(2):  # live, and after a reload
        await chat.answer_is("failed")
        card = chat.answers.locator(".failure")
        await expect(card).to_have_attribute("data-code", code)
        helps = "Clear" if code == "context_too_long" else "Retry"
        await expect(card.get_by_role("button", name=helps)).to_be_visible()
        words = await card.locator(".words").inner_text()
        assert re.fullmatch(r"[A-Z].*\.", words, re.DOTALL)
        assert not re.search(r"[{}_]|Traceback|Flagged|Upstream|Bearer", words)
        await expect(chat.text()).to_have_text(expected_text(prompt).strip())
        await chat.page.reload()
    await chat.ask("say: it goes on")
    await chat.answered("it goes on")


# the composer


async def test_the_counter_shows_what_is_left_and_too_much_is_never_sent(
    visitor: Visitors, site: Server
) -> None:
    person = await visitor(site.url)
    chat = await person.chat()
    await chat.ready()
    frames: list[str | bytes] = []

    def sent(frame: str | bytes) -> None:
        frames.append(frame)

    chat.page.on("websocket", lambda socket: socket.on("framesent", sent))
    await chat.page.reload()
    await chat.ready()
    count = chat.page.locator("#count")
    await expect(count).to_be_hidden()
    await chat.composer.fill("😀" * 31_990)  # two UTF-16 units each, one character
    await expect(count).to_have_text("10 characters left")
    await expect(chat.send).to_be_enabled()
    await chat.composer.fill("😀" * 32_001)
    await expect(count).to_have_text("Too long by 1 character")
    await expect(chat.composer).to_have_attribute("aria-invalid", "true")
    await expect(chat.send).to_be_disabled()
    await chat.composer.press("Enter")
    await expect(chat.composer).to_have_value("😀" * 32_001)
    await chat.counts(questions=0, answers=0)
    assert frames == []

    longest = "say: " + "ab " * 10_665  # 32,000 characters
    await chat.composer.fill(longest)
    await expect(count).to_have_text("0 characters left")
    await chat.composer.press("Enter")
    await chat.answered(expected_text(longest))
    await expect(count).to_be_hidden()


async def test_a_draft_outlives_a_reload_and_belongs_to_its_chat(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.composer.fill("a draft of a new chat")
    await chat.page.reload()
    await expect(chat.composer).to_have_value("a draft of a new chat")
    await chat.ask("say: hello")
    await chat.answered("hello")
    await chat.composer.fill("a draft of this chat")
    await chat.new_chat.click()
    await expect(chat.composer).to_have_value("")
    await chat.page.go_back()
    await expect(chat.composer).to_have_value("a draft of this chat")


async def test_the_keyboard_is_enough(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ready()
    keyboard = chat.page.keyboard
    await expect(chat.composer).to_be_focused()

    await keyboard.press("Shift+Tab")
    places = [await focused(chat.page)]
    for _ in range(4):
        await keyboard.press("Shift+Tab")
        places.append(await focused(chat.page))
    suggestions = await chat.page.locator("#empty button").all_inner_texts()
    assert places == [*reversed(suggestions), "Conversation", "New chat"]

    await chat.composer.focus()
    await keyboard.type(STALLED)
    await keyboard.press("Shift+Enter")
    await keyboard.type("second line")
    await expect(chat.composer).to_have_value(f"{STALLED}\nsecond line")
    await keyboard.press("Tab")
    assert await focused(chat.page) == "Send"
    await keyboard.press("Enter")
    await expect(chat.text()).to_have_text(STALLED_TEXT)
    await expect(chat.questions).to_contain_text("second line")

    await keyboard.type("ahead")
    await keyboard.press("Tab")
    assert await focused(chat.page) == "Stop"
    await keyboard.press("Tab")
    assert await focused(chat.page) == "Send"
    await keyboard.press("Escape")
    await chat.answered(STALLED_TEXT)
    await expect(chat.composer).to_have_value("ahead")
    await expect(chat.composer).to_be_focused()


async def focused(page: Page) -> str:
    """The name of what has the focus."""
    name: str = await page.evaluate(
        """() => document.activeElement.getAttribute("aria-label")
          ?? document.activeElement.textContent.trim()"""
    )
    return name


async def test_enter_and_escape_belong_to_the_input_method_while_it_composes(
    visitor: Visitors, site: Server
) -> None:
    person = await visitor(site.url)
    chat = await person.chat()
    await chat.ask(STALLED)
    await expect(chat.text()).to_have_text(STALLED_TEXT)
    keyboard = await person.context.new_cdp_session(chat.page)
    composing = {"text": "にほん", "selectionStart": 3, "selectionEnd": 3}
    await keyboard.send("Input.imeSetComposition", composing)
    await expect(chat.composer).to_have_value("にほん")
    for key in ("Enter", "Escape"):
        await chat.page.evaluate(
            """(key) => document.activeElement.dispatchEvent(
              new KeyboardEvent("keydown", { key, isComposing: true, bubbles: true }))""",
            key,
        )
        # some browsers end the composition before they tell of the key
        await chat.page.evaluate(
            """(key) => document.activeElement.dispatchEvent(
              new KeyboardEvent("keydown", { key, keyCode: 229, bubbles: true }))""",
            key,
        )
    await keyboard.send("Input.insertText", {"text": "日本"})
    await expect(chat.composer).to_have_value("日本")
    await chat.answer_is("streaming")
    await chat.counts(questions=1, answers=1)

    await chat.page.keyboard.press("Enter")
    await expect(chat.composer).to_have_value("")
    await chat.question_is("waiting", 1)
    await chat.page.keyboard.press("Escape")
    await expect(chat.composer).to_have_value("日本")
    await chat.answered(STALLED_TEXT, 0)


# what is heard, and where one reads


async def test_a_screen_reader_hears_the_finished_answer_and_no_words_before(
    visitor: Visitors, site: Server
) -> None:
    prompt = "mode=slow tokens=20 delay=0.03"
    chat = await (await visitor(site.url)).chat()
    await chat.ready()
    await chat.ask(prompt)
    await chat.answered(expected_text(prompt))
    await expect(chat.status).to_have_text(expected_text(prompt).strip())
    assert (await chat.seen())["said"] == ["Thinking…", expected_text(prompt).strip()]
    await expect(chat.page.locator("[aria-live], [role=status], [role=log]")).to_have_count(1)
    await chat.page.reload()
    await chat.answered(expected_text(prompt))
    assert (await chat.seen())["said"] == []


async def test_the_page_follows_the_end_only_for_a_reader_who_is_there(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    paragraphs = "\n\n".join(f"paragraph {number}" for number in range(60))
    await chat.ask(f"say: {paragraphs}")
    await chat.answer_is("done")
    last = chat.text().locator("p").last
    await expect(last).to_be_in_viewport()
    jump = chat.button("Jump to latest")
    await expect(jump).to_be_hidden()

    first = chat.text().locator("p").first
    await first.scroll_into_view_if_needed()
    await expect(jump).to_be_visible()
    await chat.composer.fill("x\n" * 9)  # the page has less room now
    await expect(first).to_be_in_viewport()
    await jump.click()
    await expect(last).to_be_in_viewport()
    await expect(jump).to_be_hidden()

    await chat.page.reload()
    await chat.ready()
    await expect(last).to_be_in_viewport()

    await chat.ask("mode=slow tokens=40 delay=0.05")
    await chat.answer_is("streaming")
    first = chat.text(0).locator("p").first
    await first.scroll_into_view_if_needed()
    await chat.answer_is("done")
    await expect(first).to_be_in_viewport()
    await expect(chat.text()).not_to_be_in_viewport()
    await jump.click()
    await expect(chat.text()).to_be_in_viewport()
    await expect(jump).to_be_hidden()


async def test_the_end_stays_in_sight_of_a_text_that_grows_between_two_frames(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ready()
    distance = await chat.page.evaluate(
        """async () => {
          const frame = () => new Promise(requestAnimationFrame);
          const grow = () => {
            const block = document.createElement("p");
            block.style.height = "2000px";
            document.querySelector("#messages").append(block);
          };
          await frame();
          grow(); // the page scrolls to it in this frame, and hears of that in the next
          await new Promise((resolve) => {
            const { port1, port2 } = new MessageChannel();
            port1.onmessage = resolve;
            port2.postMessage(null);
          });
          grow();
          for (let i = 0; i < 3; i += 1) await frame();
          const { scrollHeight, scrollTop, clientHeight } = document.querySelector("#conversation");
          return scrollHeight - scrollTop - clientHeight;
        }"""
    )
    assert distance < 1
