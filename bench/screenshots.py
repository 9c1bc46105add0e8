"""Pictures of the chat page: `.venv/bin/python -m bench.screenshots [DIRECTORY]`.

Those that the README shows go to docs/images; with a directory, all states go there.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import uuid4

from playwright.async_api import Browser, async_playwright, expect

from tests.support import ROOT
from tests.support.browser import (
    ARGUMENTS,
    DESKTOP,
    PHONE,
    STALLED,
    STALLED_TEXT,
    Chat,
    chromium_path,
)
from tests.support.scripted_provider import scripted_process
from tests.support.servers import Server

IMAGES = ROOT / "docs" / "images"
#: What the README shows of all that is taken.
SHOWN = {"desktop-light-answer", "desktop-dark-queue", "phone-light-feedback", "phone-dark-list"}
QUESTION = "How does a WebSocket differ from HTTP?"
ANSWER = """say: A WebSocket stays open, so **both sides** can speak at any time:

```python
async with connect("ws://localhost:8000/ws/agent/") as socket:
    await socket.send('{"content": "Hello"}')
    async for frame in socket:
        print(frame)  # each word as it comes
```

1. one handshake instead of one request a message
2. answers stream in

| | HTTP | WebSocket |
|---|---|---|
| server may begin | no | yes |
"""


async def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    with scripted_process(ANSWER) as provider, Server(provider.base_url) as server:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium_path(), args=ARGUMENTS
            )
            for size in ("desktop", "phone"):
                for scheme in ("light", "dark"):
                    await Camera(browser, server, directory, size, scheme).all_states()
            await browser.close()


class Camera:
    """Takes the pictures of one size and one scheme of colours."""

    def __init__(
        self, browser: Browser, server: Server, directory: Path, size: str, scheme: str
    ) -> None:
        self._browser, self._server = browser, server
        self._directory, self._size, self._scheme = directory, size, scheme
        self._everything = directory != IMAGES

    async def all_states(self) -> None:
        phone = {"is_mobile": True, "has_touch": True} if self._size == "phone" else {}
        context = await self._browser.new_context(
            viewport=PHONE if phone else DESKTOP,
            color_scheme=self._scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
            **phone,  # type: ignore[arg-type]
        )
        chat = Chat(await context.new_page(), self._server.url)
        await chat.open()
        await chat.ready()
        await self._take(chat, "empty")
        for question in ("Which of the two releases is safer?", "Write a haiku about sockets."):
            await chat.ask(question)
            await chat.answer_is("done")
            await chat.new_chat.click()
            await chat.ready()
        await self._answer(chat)
        await self._list(chat)
        await self._failed(chat)
        await self._queue(chat)
        await self._gone(chat)
        await context.close()

    async def _answer(self, chat: Chat) -> None:
        await chat.ask(QUESTION)
        await chat.answer_is("done")
        await chat.ask("/rename WebSocket and HTTP")
        await expect(chat.page.locator("#title")).to_have_text("WebSocket and HTTP")
        await expect(chat.text().locator(".hljs-keyword").first).to_be_attached()
        await self._take(chat, "answer")
        await chat.button("Bad answer").click()
        await self._take(chat, "feedback")
        await chat.page.keyboard.press("Escape")
        await chat.button("Retry").click()
        await expect(chat.page.get_by_role("group", name="Answer 2 of 2")).to_be_visible()
        await chat.answer_is("done")
        await self._take(chat, "versions")
        await chat.questions.last.hover()
        await chat.questions.last.get_by_role("button", name="Edit").click()
        await self._take(chat, "editing")
        await chat.page.keyboard.press("Escape")

    async def _failed(self, chat: Chat) -> None:
        await chat.ask("mode=error_event after=8 tokens=20")
        await chat.answer_is("failed")
        await self._take(chat, "failed")

    async def _queue(self, chat: Chat) -> None:
        await chat.ask(STALLED)
        await expect(chat.text()).to_have_text(STALLED_TEXT)
        for number, words in ((1, "And what does it cost to keep one open?"), (2, "Thank you")):
            await chat.ask(words)
            await expect(chat.page.locator("#queue li")).to_have_count(number)
        await self._take(chat, "queue")
        await chat.composer.fill("/re")
        await self._take(chat, "commands")
        await chat.ask("/help")
        await self._take(chat, "help")
        await chat.page.keyboard.press("Escape")
        await chat.page.context.set_offline(True)
        await expect(chat.strip).to_contain_text("You are offline")
        await self._take(chat, "offline")
        await chat.page.context.set_offline(False)
        await chat.ready()
        await chat.ask("/stop")
        await expect(chat.stop).to_be_hidden()
        await self._take(chat, "stopped")

    async def _list(self, chat: Chat) -> None:
        toggle = chat.button("Conversations")
        if self._size == "phone":
            await toggle.click()
        await chat.page.locator("li.session summary").nth(1).click()
        await self._take(chat, "list")
        await chat.page.keyboard.press("Escape")
        if self._size == "phone":
            await chat.page.keyboard.press("Escape")

    async def _gone(self, chat: Chat) -> None:
        await chat.open(f"/?session={uuid4()}")
        await chat.phase("stopped")
        await self._take(chat, "gone")

    async def _take(self, chat: Chat, state: str) -> None:
        name = f"{self._size}-{self._scheme}-{state}"
        if self._everything or name in SHOWN:
            await chat.page.screenshot(path=self._directory / f"{name}.png")


if __name__ == "__main__":
    asyncio.run(main())
