"""How the chat page looks in Chromium: on a phone, in the dark, and what it says of its model."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser import PHONE, STALLED, Visitors
from tests.servers import Server

pytest_plugins = ["tests.browser", "tests.servers"]
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.server,
]


async def test_the_demo_model_says_that_it_is_one_and_shows_how_reasoning_looks(
    visitor: Visitors,
) -> None:
    with Server() as server:
        chat = await (await visitor(server.url)).chat()
        badge = chat.page.get_by_text("Offline demo", exact=True)
        await expect(badge).to_be_visible()
        await chat.ask("Hello?")
        await chat.answer_is("done")
        await expect(chat.text()).to_contain_text("offline demo model")

        await chat.ask("What do you think?")
        await expect(chat.text()).to_contain_text("offline demo model")
        line, thoughts = chat.answers.last.locator("summary"), chat.page.locator(".thoughts").last
        for _ in range(2):  # live, and after a reload
            await chat.answer_is("done", 1)
            await expect(line).to_contain_text("Thought for")
            await expect(thoughts).to_be_hidden()
            await line.click()
            await expect(thoughts).to_contain_text("nobody is thinking here")
            await chat.page.reload()


async def test_a_real_model_is_named_and_wears_no_demo_badge(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ready()
    await expect(chat.page.locator("#model")).to_have_text("openai/gpt-4-turbo")
    await expect(chat.page.locator("#demo")).to_be_hidden()


WIDE = f"""say: # A heading that is rather long for a phone and has to be broken somewhere

A paragraph with {"averylongword" * 20} and https://example.org/{"path/" * 40}

```python
print("{"a long line of code " * 20}")
```

| {" | ".join(f"column {number}" for number in range(12))} |
|{"---|" * 12}
| {" | ".join("a value" for _ in range(12))} |

> {"quoted" * 40}

1. one
   - `{"code" * 50}`
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_on_a_phone_nothing_sticks_out(visitor: Visitors, site: Server, scheme: str) -> None:
    person = await visitor(
        site.url, viewport=PHONE, is_mobile=True, has_touch=True, color_scheme=scheme
    )
    chat = await person.chat()
    await chat.ask(WIDE)
    await chat.answer_is("done")
    await chat.ask(STALLED)
    await expect(chat.stop).to_be_visible()
    widths = await chat.page.evaluate(
        """() => ["html", "body", "#conversation", "#column", ".bottom"].map((name) => {
          const { scrollWidth, clientWidth } = document.querySelector(name);
          return [name, scrollWidth, clientWidth];
        })"""
    )
    for name, needed, given in widths:
        assert needed <= given <= PHONE["width"], name
    size = await chat.composer.evaluate("(element) => getComputedStyle(element).fontSize")
    assert float(size.removesuffix("px")) >= 16, "the phone would zoom in"
    for button in (chat.stop, chat.send):
        box = await button.bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 40
    await expect(chat.composer).to_be_in_viewport(ratio=1)
