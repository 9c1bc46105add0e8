"""Chromium for tests: one browser for a module, and contexts of their own for each test.

Whatever the pages of a test do is recorded. At the end of the test nothing may have gone wrong in
them that the test did not foresee: no script error, no violation of the content security policy,
no request to another host, no dialog, nothing on the console but sockets that found no server.

A module takes the fixtures with `pytest_plugins = ["tests.browser"]` and runs its tests on the loop
of the module, as the browser does: `pytest.mark.asyncio(loop_scope="module")`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
    async_playwright,
    expect,
)

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}

_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
#: Generous: a state that does not come is a failure, one that comes late is a busy machine.
_PATIENCE_MS = 30_000
#: What Chromium writes about a socket that finds no server, or loses it.
_SOCKET_TROUBLE = re.compile(r"^WebSocket connection to '.*' failed")
_TELL_VIOLATIONS = """\
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
  console.error(`forbidden by the policy: ${violatedDirective} ${blockedURI}`);
});"""

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
        if message.type in ("error", "warning") and not _SOCKET_TROUBLE.match(message.text):
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
        self.questions = page.locator("article.question")
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
        await self.composer.press("Enter")

    async def show(self) -> None:
        """Bring the tab to the front; a page in the background does not draw."""
        await self.page.bring_to_front()

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
        await self.answer_is("done", number)
        await expect(self.text(number)).to_have_text(text.strip())

    async def counts(self, questions: int, answers: int) -> None:
        await expect(self.questions).to_have_count(questions)
        await expect(self.answers).to_have_count(answers)

    async def session(self) -> str:
        """The session that the address names, as soon as it does."""
        await self.page.wait_for_url(re.compile(r"\?session="))
        return urlsplit(self.page.url).query.removeprefix("session=")


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
        await context.add_init_script(_TELL_VIOLATIONS)
        visitor = Visitor(context, origin)
        self._all.append(visitor)
        return visitor

    def assert_nothing_went_wrong(self) -> None:
        for visitor in self._all:
            visitor.assert_nothing_went_wrong()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """The browser of a module."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "chromium is missing; `.ci/packages` installs what the tests need"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(chromium: Browser) -> AsyncIterator[Visitors]:
    """Makes the visitors of a test, and looks at the end whether anything went wrong for them."""
    async with AsyncExitStack() as stack:
        visitors = Visitors(chromium, stack)
        yield visitors
        visitors.assert_nothing_went_wrong()


# A server process, until there is tests/servers.py
import functools
import os
import secrets
import subprocess
import sys
import tempfile
import urllib.request

from tests.services import Service

ROOT = Path(__file__).resolve().parent.parent
_SECRET = "only-for-tests-" * 4


def environment(database: Path, **variables: str) -> dict[str, str]:
    names = ("PATH", "HOME", "LANG", "NO_PROXY", "no_proxy", "PYTHONPATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    fixed = {"ENV_FILE": "", "DEBUG": "1", "SECRET_KEY": _SECRET, "PYTHONWARNINGS": "default"}
    return {**kept, **fixed, "DATABASE_URL": f"sqlite:///{database}", **variables}


def manage(*arguments: str, database: Path, **variables: str) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=environment(database, **variables),
        check=True,
        capture_output=True,
    )


@functools.cache
def _migrated() -> Path:
    directory = tempfile.TemporaryDirectory(prefix="test-template-")
    _kept.append(directory)
    database = Path(directory.name) / "db.sqlite3"
    manage("migrate", database=database)
    return database


_kept: list[Any] = []


class AgentServer(Service):
    name = "agent"

    def __init__(self, kind: str = "uvicorn", **variables: str) -> None:
        super().__init__()
        self._kind = kind
        self.database = self.directory / "db.sqlite3"
        self.variables = variables
        shutil.copy(_migrated(), self.database)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        variables = environment(self.database, **self.variables)
        return [
            "/usr/bin/env", "-i",
            *(f"{name}={value}" for name, value in variables.items()),
            sys.executable, str(ROOT / "manage.py"), "serve",
            "--server", self._kind, "--port", str(self.port),
        ]

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False
