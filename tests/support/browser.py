"""Chromium for tests: one browser for all of them, and contexts of its own for each test.

Whatever the pages of a test do is recorded. At the end of the test nothing may have gone wrong in
them that the test did not foresee: no script error, no violation of the content security policy,
no request to another host, no dialog, nothing on the console but that a server is away.

Tests run on the loop of the session, as the browser does: a module says so with
`pytestmark = pytest.mark.asyncio(loop_scope="session")`.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, closing
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    Request,
    ViewportSize,
    WebError,
    WebSocket,
    WebSocketRoute,
    async_playwright,
    expect,
)

from tests.support.scripted_provider import ScriptedProcess
from tests.support.servers import Server

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}

#: A question to the scripted provider whose answer never ends, and what there is of it.
STALLED = "mode=stall tokens=50 after=6"
STALLED_TEXT = "w0 w1 w2 w3 w4 w5"

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--in-process-gpu",  # nothing is drawn for a screen: one process less to pass every frame to
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
#: Generous: a state that does not come is a failure, one that comes late is a busy machine.
_PATIENCE_MS = 30_000
#: What Chromium writes when a server is away; there are tests that take it away.
_SERVER_AWAY = re.compile(
    r"^WebSocket connection to '.*' failed|^Failed to load resource: net::ERR_CONNECTION_"
)
#: Runs before the scripts of each page; the policy of the page does not hold for it.
_WATCH = """\
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
  console.error(`forbidden by the policy: ${violatedDirective} ${blockedURI}`);
});
const seen = window.seen = { states: [], texts: [], said: [] };
const note = (list, value) => value && value !== list.at(-1) && list.push(value);
new MutationObserver(() => {
  const answer = [...document.querySelectorAll("article.answer")].at(-1);
  note(seen.states, answer?.dataset.state);
  note(seen.texts, answer?.querySelector(".markdown").textContent.trim());
  note(seen.said, document.querySelector("#status")?.textContent);
}).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
"""

expect.set_options(timeout=_PATIENCE_MS)


class Visitor:
    """Somebody with a browser: cookies and storage of their own, and a record of what happened.

    Args:
        context: of the browser.
        origin: the server's, where every request must go.
    """

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.context, self.origin = context, origin
        self.requests: list[str] = []
        self.trouble: list[str] = []
        context.set_default_timeout(_PATIENCE_MS)
        context.on("request", self._requested)
        context.on("console", self._logged)
        context.on("weberror", self._failed)
        context.on("dialog", self._asked)
        context.on("page", lambda page: page.on("websocket", self._connected))

    async def chat(self, path: str = "/") -> Chat:
        """A new tab with the chat page."""
        chat = Chat(await self.context.new_page(), self.origin)
        await chat.open(path)
        return chat

    async def page(self, path: str) -> Page:
        """A new tab with any page."""
        page = await self.context.new_page()
        await page.goto(f"{self.origin}{path}")
        return page

    def assert_nothing_went_wrong(self) -> None:
        foreign = [address for address in self.requests if not self._is_ours(address)]
        assert not foreign, f"requests to other hosts: {foreign}"
        assert not self.trouble, "\n".join(self.trouble)

    def _is_ours(self, address: str) -> bool:
        parts = urlsplit(address)
        return parts.scheme in ("data", "blob") or parts.netloc == urlsplit(self.origin).netloc

    def _requested(self, request: Request) -> None:
        self.requests.append(request.url)

    def _connected(self, socket: WebSocket) -> None:
        self.requests.append(socket.url)

    def _logged(self, message: ConsoleMessage) -> None:
        if message.location["url"].endswith("/favicon.ico"):
            return  # pages that name no icon have none
        if message.type in ("error", "warning") and not _SERVER_AWAY.match(message.text):
            self.trouble.append(f"console {message.type}: {message.text}")

    def _failed(self, failure: WebError) -> None:
        self.trouble.append(f"script error: {failure.error}")

    async def _asked(self, dialog: Dialog) -> None:
        self.trouble.append(f"dialog: {dialog.message}")
        await dialog.dismiss()


class Chat:
    """The chat page in one tab, by what its user sees."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page, self.origin = page, origin
        self.composer = page.locator("textarea[name=content]")
        self.send = page.get_by_role("button", name="Send", exact=True)
        self.stop = page.get_by_role("button", name="Stop", exact=True)
        self.new_chat = page.get_by_role("button", name="New chat", exact=True)
        #: What was asked: messages, and then what waits above the composer.
        self.questions = page.locator("article.question, #queue > li")
        self.answers = page.locator("article.answer")
        self.connection = page.locator("#connection")
        self.strip = page.locator("#strip")
        self.status = page.locator("#status")

    async def open(self, path: str = "/") -> None:
        await self.page.goto(f"{self.origin}{path}")

    async def ready(self) -> None:
        """Wait until the page is connected and shows what there is."""
        await self.phase("ready")

    async def phase(self, name: str) -> None:
        await expect(self.connection).to_have_attribute("data-phase", name)

    async def ask(self, content: str) -> None:
        await self.composer.fill(content)
        if await self.page.evaluate("() => matchMedia('(pointer: coarse)').matches"):
            await self.send.click()  # Enter breaks the line
        else:
            await self.composer.press("Enter")

    async def show(self) -> None:
        """Bring the tab to the front; a page in the background does not draw."""
        await self.page.bring_to_front()

    async def seen(self) -> dict[str, list[str]]:
        """What became of the latest answer since the page was loaded.

        Returns:
            each of its `states` and `texts` in order, and all that was `said` by the live region.
        """
        record: dict[str, list[str]] = await self.page.evaluate("() => window.seen")
        return record

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def text(self, number: int = -1) -> Locator:
        """Of an answer, by its place on the page."""
        return self.answers.nth(number).locator(".markdown")

    async def question_is(self, state: str, number: int = -1) -> None:
        await expect(self.questions.nth(number)).to_have_attribute("data-state", state)

    async def answer_is(self, state: str, number: int = -1) -> None:
        await expect(self.answers.nth(number)).to_have_attribute("data-state", state)

    async def answered(self, text: str, number: int = -1) -> None:
        """Wait for a complete answer with exactly this text."""
        # in this order: the answer before it is done too
        await expect(self.text(number)).to_have_text(text.strip())
        await self.answer_is("done", number)

    async def counts(self, questions: int, answers: int) -> None:
        await expect(self.questions).to_have_count(questions)
        await expect(self.answers).to_have_count(answers)

    async def session(self) -> str:
        """The session that the address names, as soon as it does."""
        await self.page.wait_for_url(re.compile(r"\?session="))
        return urlsplit(self.page.url).query.removeprefix("session=")


class Tap:
    """Somebody between a page and the server, who can tell the page what a server could.

    For states that a server is in only when something is wrong elsewhere. Whatever else is sent
    passes unchanged.
    """

    def __init__(self) -> None:
        self._socket: WebSocketRoute | None = None
        #: Looks at each frame of the page; True: it was answered here and goes no further.
        self.answers: Callable[[dict[str, Any]], bool] = lambda frame: False

    @classmethod
    async def on(cls, page: Page) -> Self:
        """Before the page is opened."""
        tap = cls()
        await page.route_web_socket("**/ws/agent/**", tap._connected)
        return tap

    def send(self, frame: dict[str, Any]) -> None:
        """Tell the page something."""
        assert self._socket, "the page has not connected"
        self._socket.send(json.dumps(frame))

    async def close(self, code: int) -> None:
        assert self._socket, "the page has not connected"
        await self._socket.close(code=code)

    def _connected(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        server = socket.connect_to_server()

        def from_page(message: str | bytes) -> None:
            if not self.answers(json.loads(message)):
                server.send(message)

        socket.on_message(from_page)


class Visitors:
    """Makes visitors; each has nothing in common with the others."""

    def __init__(self, chromium: Browser, stack: AsyncExitStack) -> None:
        self._chromium, self._stack = chromium, stack
        self._all: list[Visitor] = []

    async def __call__(self, origin: str, **options: Any) -> Visitor:
        """A visitor of the server at `origin`.

        Args:
            options: of the browser context: `viewport`, `color_scheme`, `is_mobile` ...
        """
        context = await self._chromium.new_context(**{"viewport": DESKTOP, **options})
        self._stack.push_async_callback(context.close)
        await context.add_init_script(_WATCH)
        visitor = Visitor(context, origin)
        self._all.append(visitor)
        return visitor

    def assert_nothing_went_wrong(self) -> None:
        for visitor in self._all:
            visitor.assert_nothing_went_wrong()


async def tapped(visitor: Visitors, site: Server) -> tuple[Chat, Tap]:
    """A page of which a test can say what the server tells it."""
    page = await (await visitor(site.url)).context.new_page()
    tap = await Tap.on(page)
    chat = Chat(page, site.url)
    await chat.open()
    await chat.ready()
    return chat, tap


def chromium_path() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "chromium is missing; `.ci/packages` installs what the tests need"
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(chromium: Browser) -> AsyncIterator[Visitors]:
    """Makes the visitors of a test, and looks at the end whether anything went wrong for them."""
    async with AsyncExitStack() as stack:
        visitors = Visitors(chromium, stack)
        yield visitors
        visitors.assert_nothing_went_wrong()


@pytest.fixture(scope="session")
def site(provider: ScriptedProcess) -> Iterator[Server]:
    """A server for tests that need only one kind; nobody may end it. Its queue is short."""
    with Server(provider.base_url, environment={"MAX_QUEUE": "3"}) as server:
        yield server
        server.assert_nothing_broke()


# behind the page


def stored(server: Server, session: str, kind: str) -> list[str]:
    """The contents of a session's messages of one type, from the database, oldest first."""
    sql = "SELECT content FROM agent_message WHERE session_id=? AND type=? ORDER BY seq"
    return [content for (content,) in server.rows(sql, UUID(session).hex, kind)]


def times_asked(provider: ScriptedProcess, prompt: str) -> int:
    """How often the provider was asked this."""
    return sum(request["prompt"] == prompt for request in provider.requests())


def fill_session(server: Server, session: str, exchanges: int) -> None:
    """Write questions and answers behind what a session has, as if they had been asked long ago."""
    key = UUID(session).hex
    ((last,),) = server.rows("SELECT last_seq FROM agent_session WHERE id=?", key)
    rows = []
    for number in range(exchanges):
        turn = str(uuid4())
        told = {"turn": turn, "ref": f"ref-{number}"}
        rest = {"finish_reason": "stop", "model": "x", "usage": None, "author": "agent"}
        for kind, fields, content in (
            ("query", told, f"question {number}"),
            ("response", {**told, **rest}, f"answer {number}"),
        ):
            last += 1
            message = uuid4()
            data = json.dumps({"id": str(message), **fields})
            rows.append((message.hex, key, last, kind, content, "", data, "2026-01-02 03:04:05"))
    names = "id, session_id, seq, type, content, partial, data, created_at"
    with closing(sqlite3.connect(server.database, timeout=20)) as connection, connection:
        connection.executemany(
            f"INSERT INTO agent_message ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows
        )
        connection.execute("UPDATE agent_session SET last_seq=? WHERE id=?", (last, key))
