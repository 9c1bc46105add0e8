"""What stands around the conversation in Chromium: colours, notifications, access for everybody."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Page, expect

from tests.support import ROOT
from tests.support.browser import PHONE, STALLED, STALLED_TEXT, Visitors
from tests.support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = ROOT / "tools/node_modules/axe-core/axe.min.js"  # `make browser-tools` installs it
GROUND = "() => getComputedStyle(document.body).backgroundColor"


# colours


async def test_the_colours_follow_the_system_until_somebody_chooses(
    visitor: Visitors, site: Server
) -> None:
    person = await visitor(site.url, color_scheme="dark")
    chat = await person.chat()
    other = await person.chat()
    await chat.show()
    dark = await chat.page.evaluate(GROUND)
    await chat.page.emulate_media(color_scheme="light")
    light = await chat.page.evaluate(GROUND)
    assert light != dark
    await chat.button("Colours: as the system").click()
    await chat.button("Colours: light").click()
    await expect(chat.button("Colours: dark")).to_be_visible()
    assert await chat.page.evaluate(GROUND) == dark
    await expect(other.page.locator("html")).to_have_attribute("data-theme", "dark")
    await chat.page.reload()
    assert await chat.page.evaluate(GROUND) == dark
    await chat.button("Colours: dark").click()
    await expect(chat.button("Colours: as the system")).to_be_visible()
    assert await chat.page.evaluate(GROUND) == light


# notifications

#: Stands for the system's notifications, which a browser without a screen has nowhere to show.
RECORD = """
window.told = [];
window.Notification = class {
  static permission = "default";
  static asked = 0;
  static async requestPermission() {
    window.Notification.asked += 1;
    return (window.Notification.permission = "granted");
  }
  constructor(title, options) {
    window.told.push([title, options.body, options.tag]);
  }
};
Object.defineProperty(Document.prototype, "hidden", { get: () => window.isHidden ?? false });
"""


async def test_who_is_elsewhere_is_told_of_an_answer_once_and_only_if_asked_for(
    visitor: Visitors, site: Server
) -> None:
    person = await visitor(site.url)
    await person.context.add_init_script(RECORD)
    chat = await person.chat()
    bell = chat.button("Notifications")
    await chat.ask("say: not asked for")
    await chat.answered("not asked for")
    assert await chat.page.evaluate("() => [window.told, Notification.asked]") == [[], 0]

    await bell.click()
    await expect(bell).to_have_attribute("aria-pressed", "true")
    await chat.ask("say: in sight")
    await chat.answered("in sight")
    assert await chat.page.evaluate("() => window.told") == []
    await chat.page.evaluate("() => { window.isHidden = true; }")
    await chat.ask("say: out of sight")
    await chat.answered("out of sight")
    turn = await chat.answers.last.get_attribute("data-turn")
    told = await chat.page.evaluate("() => window.told")
    assert told == [["agent_websocket has answered", "out of sight", turn]]
    assert (await chat.page.title()).startswith("● ")
    await chat.page.evaluate(
        """() => {
          window.isHidden = false;
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    assert not (await chat.page.title()).startswith("● ")


# for everybody


def axe() -> str:
    return AXE.read_text()


async def violations(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 AA and good practice."""
    await page.evaluate(axe())
    found: dict[str, Any] = await page.evaluate(
        """() => axe.run(document, { resultTypes: ["violations"],
          runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] })"""
    )
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [None, PHONE], ids=["desktop", "phone"])
async def test_axe_finds_nothing_in_any_state(
    visitor: Visitors, site: Server, scheme: str, viewport: Any
) -> None:
    size = {"viewport": viewport} if viewport else {}
    person = await visitor(site.url, color_scheme=scheme, reduced_motion="reduce", **size)
    chat = await person.chat()
    await chat.ready()
    found = {"empty": await violations(chat.page)}
    await chat.ask("say: # Head\n\n[link](https://example.org) `code`\n\n```python\nx = 1\n```")
    await chat.answer_is("done")
    await chat.button("Bad answer").click()
    found["judging"] = await violations(chat.page)
    await chat.page.keyboard.press("Escape")
    await chat.ask("mode=error_event after=3 tokens=9")
    await chat.answer_is("failed")
    await chat.ask(STALLED)
    await expect(chat.text()).to_have_text(STALLED_TEXT)
    await chat.ask("waiting")
    await chat.question_is("waiting")
    found["busy"] = await violations(chat.page)
    await chat.composer.fill("/")
    found["commands"] = await violations(chat.page)
    await chat.ask("/help")
    found["help"] = await violations(chat.page)
    await chat.page.keyboard.press("Escape")
    await chat.ask("/stop")
    await expect(chat.stop).to_be_hidden()
    if viewport:
        await chat.button("Conversations").click()
    await chat.page.locator("li.session summary").first.click()
    found["list"] = await violations(chat.page)
    await chat.open(f"/?session={uuid4()}")
    await chat.phase("stopped")
    found["gone"] = await violations(chat.page)
    assert {state: found[state] for state in found if found[state]} == {}


async def test_the_whole_page_is_reached_and_used_by_the_keyboard(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    keyboard = chat.page.keyboard
    await chat.ready()
    await keyboard.type("say: hello")
    await keyboard.press("Enter")
    await chat.answered("hello")
    await keyboard.press("Shift+Tab")
    for name in ("Bad answer", "Good answer", "Retry", "Copy", "Edit", "Copy"):
        await expect(chat.page.locator(":focus")).to_have_attribute("aria-label", name)
        await expect(chat.page.locator(":focus")).to_have_css("opacity", "1")
        await keyboard.press("Shift+Tab")
    await chat.button("Bad answer").focus()
    await keyboard.press("Enter")
    await keyboard.press("Space")
    await expect(chat.page.locator("form.reasons input").first).to_be_checked()
    await keyboard.press("Escape")
    await expect(chat.button("Bad answer")).to_be_focused()

    await chat.page.locator("li.session a").focus()
    await keyboard.press("Tab")
    await keyboard.press("Enter")
    await keyboard.press("Tab")
    await keyboard.press("Enter")  # Rename
    await keyboard.type("by keys")
    await keyboard.press("Enter")
    await expect(chat.page.locator("li.session a")).to_have_text("by keys")
    await expect(chat.page.locator("li.session a")).to_be_focused()
    await chat.page.reload()
    await chat.ready()
    await chat.page.locator("body").press("Tab")
    await chat.page.locator("a.skip").focus()
    await keyboard.press("Enter")
    await expect(chat.composer).to_be_focused()


async def test_on_paper_the_conversation_is_all_there(visitor: Visitors, site: Server) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("say: hello")
    await chat.answered("hello")
    await chat.page.emulate_media(media="print")
    await expect(chat.text()).to_be_visible()
    for hidden in ("#side", "#composer", "#new-chat", ".foot .actions .icon"):
        await expect(chat.page.locator(hidden).first).to_be_hidden()
    height = await chat.page.evaluate("() => document.body.scrollHeight")
    assert height >= await chat.page.evaluate(
        "() => document.querySelector('#column').scrollHeight"
    )


async def test_the_page_says_its_language(visitor: Visitors, site: Server) -> None:
    person = await visitor(site.url, locale="fr-FR")  # a language that nobody has translated yet
    chat = await person.chat()
    await expect(chat.page.locator("html")).to_have_attribute("lang", "en")
    await expect(chat.page.locator("html")).to_have_attribute("dir", "ltr")
    await expect(chat.composer).to_have_attribute("placeholder", "Write a message")
