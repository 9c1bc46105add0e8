"""Measures the chat page in Chromium: `.venv/bin/python -m bench.page`. Prints one line a figure.

A server, the scripted provider and the browser run on this machine, so the figures are for one that
is busy with all three.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from typing import Any

from playwright.async_api import Browser, CDPSession, async_playwright, expect

from tests.browser import ARGUMENTS, DESKTOP, Chat, chromium_path, fill_session
from tests.scripted_provider import scripted_process
from tests.servers import Server

SECTION = """## Section {n}

A **paragraph** with `code`, *emphasis* and a [link](https://example.org/{n}): lorem ipsum dolor sit
amet, consetetur sadipscing elitr, sed diam nonumy eirmod tempor invidunt ut labore et dolore.

- one of a few items
- another, with a number: {n}

```python
def section_{n}(text: str) -> int:
    return len(text) + {n}  # a comment
```

| name | value |
|---|---|
| section | {n} |
"""
MIXED = "\n".join(SECTION.format(n=n) for n in range(1, 250))
ITEMS = "\n".join(f"{n}. An item with **bold** words and `code`." for n in range(1, 2500))


async def main() -> None:
    with (
        scripted_process() as provider,
        Server(provider.base_url, environment={"MAX_QUERY_CHARS": "200000"}) as server,
    ):
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium_path(), args=ARGUMENTS
            )
            await weigh(browser, server)
            await stream(browser, server, MIXED[:10_000], "0.005", "10,000 characters")
            await stream(browser, server, ITEMS[:10_000], "0.005", "10,000 characters, one list")
            await stream(browser, server, MIXED[:100_000], "0", "100,000 characters")
            await stream(browser, server, ITEMS[:100_000], "0", "100,000 characters, one list")
            await long_session(browser, server)
            await browser.close()


def told(what: str, value: float, unit: str) -> None:
    print(f"{what:<68} {value:>9,.0f} {unit}", flush=True)


async def weigh(browser: Browser, server: Server) -> None:
    """What a first visit loads, and when one can type and when one is connected."""
    page = await browser.new_page(viewport=DESKTOP)
    addresses: set[str] = set()
    page.on("request", lambda request: addresses.add(request.url))
    typed, connected = [], []
    for _ in range(7):
        chat = Chat(page, server.url)
        await chat.open()
        await chat.ready()
        typed.append(
            await page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
        )
        connected.append(
            await page.evaluate("performance.getEntriesByName('agent-ready')[0].startTime")
        )
    bodies = [server.request("GET", url.removeprefix(server.url))[2] for url in sorted(addresses)]
    told("page: files", len(bodies), "")
    weight = sum(len(gzip.compress(body.encode(), 6)) for body in bodies)
    told("page: all files, gzip", weight / 1024, "KiB")
    told("page: document parsed, median of 7", sorted(typed)[3], "ms")
    told("page: interactive and connected, median of 7", sorted(connected)[3], "ms")
    await page.close()


async def stream(browser: Browser, server: Server, text: str, delay: str, name: str) -> None:
    """What the page computes while an answer streams in."""
    page = await browser.new_page(viewport=DESKTOP)
    chat = Chat(page, server.url)
    await chat.open()
    await chat.ask("say: hello")
    await chat.answered("hello")
    metrics = await page.context.new_cdp_session(page)
    await metrics.send("Performance.enable")
    await page.evaluate(WATCH_LONG_TASKS)
    before, began = await numbers(metrics), time.monotonic()
    await ask(chat, f"mode=slow delay={delay} say: {text}")
    await page.wait_for_function(ANSWERED, arg=2, timeout=300_000)
    after, seconds = await numbers(metrics), time.monotonic() - began
    told(f"{name}: streamed in", seconds * 1000, "ms")
    told(f"{name}: script", (after["ScriptDuration"] - before["ScriptDuration"]) * 1000, "ms")
    layout = sum(after[key] - before[key] for key in ("LayoutDuration", "RecalcStyleDuration"))
    told(f"{name}: style and layout", layout * 1000, "ms")
    told(f"{name}: longest task", await page.evaluate("() => window.longest"), "ms")
    await page.close()


async def ask(chat: Chat, question: str) -> None:
    """Ask on another socket: typing so much would be measured too."""
    await chat.page.evaluate(
        """([session, content]) => {
          const address = `ws://${location.host}/ws/agent/?session=${session}&stream=0`;
          const socket = new WebSocket(address, ["agent.v1"]);
          socket.onopen = () => socket.send(JSON.stringify({ type: "query", content }));
        }""",
        [await chat.session(), question],
    )


#: Looked at with each frame; a locator's `expect` would walk the page and be measured too.
ANSWERED = """(number) => {
  const answers = document.querySelectorAll("article.answer");
  return answers.length === number && answers[number - 1].dataset.state === "done";
}"""

WATCH_LONG_TASKS = """() => {
  window.longest = 0;
  new PerformanceObserver((list) => {
    const durations = list.getEntries().map(({ duration }) => duration);
    window.longest = Math.max(window.longest, ...durations);
  }).observe({ type: "longtask" });
}"""


async def numbers(metrics: CDPSession) -> dict[str, float]:
    listed: dict[str, Any] = await metrics.send("Performance.getMetrics")
    return {each["name"]: each["value"] for each in listed["metrics"]}


async def long_session(browser: Browser, server: Server) -> None:
    """A session of 2,000 messages: opened, read back to its beginning, and gone on with."""
    page = await browser.new_page(viewport=DESKTOP)
    chat = Chat(page, server.url)
    await chat.open()
    await chat.ask("say: the first")
    await chat.answered("the first")
    session = await chat.session()
    fill_session(server, session, exchanges=1000)
    began = time.monotonic()
    await page.reload()
    await chat.ready()
    await chat.answered("answer 999")
    told("2,000 messages: opened at the end", (time.monotonic() - began) * 1000, "ms")
    await page.evaluate(WATCH_LONG_TASKS)
    began = time.monotonic()
    await page.evaluate(TO_THE_TOP)
    told("2,000 messages: read back to the beginning", (time.monotonic() - began) * 1000, "ms")
    await expect(chat.questions).to_have_count(1001)
    told(
        "2,000 messages: longest task on the way", await page.evaluate("() => window.longest"), "ms"
    )
    metrics = await page.context.new_cdp_session(page)
    await metrics.send("Performance.enable")
    await chat.button("Jump to latest").click()
    before = await numbers(metrics)
    await ask(chat, f"mode=slow delay=0.005 say: {MIXED[:10_000]}")
    await page.wait_for_function(ANSWERED, arg=1002, timeout=300_000)
    after = await numbers(metrics)
    name = "2,000 messages on the page: 10,000 characters more"
    told(f"{name}: script", (after["ScriptDuration"] - before["ScriptDuration"]) * 1000, "ms")
    layout = sum(after[key] - before[key] for key in ("LayoutDuration", "RecalcStyleDuration"))
    told(f"{name}: style and layout", layout * 1000, "ms")
    await page.close()


TO_THE_TOP = """async () => {
  const scroller = document.querySelector("#conversation");
  const count = () => document.querySelectorAll("article.question").length;
  while (count() < 1001) {
    scroller.scrollTop = 0;
    await new Promise(requestAnimationFrame);
  }
}"""


if __name__ == "__main__":
    asyncio.run(main())
