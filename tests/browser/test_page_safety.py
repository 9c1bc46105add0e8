"""Nothing that somebody writes, person or model, runs in Chromium or loads anything.

Twice over: what is made of a text holds only what is harmless, and the content security policy
would stop the rest. Also the pages as they are served in production, and the admin's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.support.browser import Visitors
from tests.support.people import PASSWORD, make
from tests.support.scripted_provider import ScriptedProcess
from tests.support.servers import Server, production_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: `ran` would be set by whatever runs; CANARY is a host that nobody may ask for anything.
PAYLOADS = r"""
<script>window.ran = "script"</script>
<script src="CANARY/script.js"></script>
<img src=x onerror="window.ran = 'img'">
<img src="CANARY/img.png">
<IMG SRC=CANARY/upper.png>
![remote](CANARY/markdown.png)
![x](x"onerror="window.ran='markdown')
[![inside](CANARY/inside.png)](javascript:window.ran='inside')
[js](javascript:window.ran='link')
[js](JaVaScRiPt&colon;window.ran='entity')
[js](&#106;avascript:window.ran='numeric')
[js](java&Tab;script:window.ran='tab')
[data](data:text/html,<script>window.ran='data'</script>)
[vb](vbscript:window.ran)
[file](file:///etc/passwd)
[blob](blob:CANARY/x)
[relative](/admin/logout/)
[protocol](//CANARYHOST/relative)
[good](https://example.org/ "title \" onmouseover=\"window.ran='title'")
<javascript:window.ran='auto'>
[reference]
[reference]: javascript:window.ran='reference'
<iframe src="CANARY/frame"></iframe>
<iframe srcdoc="<script>parent.ran='srcdoc'</script>"></iframe>
<form action="CANARY/form" id="composer"><input name="content"><button>Send</button></form>
<svg onload="window.ran='svg'"><script>window.ran='svg script'</script></svg>
<svg><use href="CANARY/use.svg#x"/><image href="CANARY/image.svg"/></svg>
<math><mtext><table><mglyph><style><img src=x onerror="window.ran='math'">
<style>body { background: url(CANARY/style.png) } * { display: none }</style>
<link rel="stylesheet" href="CANARY/link.css">
<link rel="preload" as="image" href="CANARY/preload.png">
<meta http-equiv="refresh" content="0;url=CANARY/refresh">
<base href="CANARY/">
<object data="CANARY/object"></object><embed src="CANARY/embed">
<video src="CANARY/video.mp4" poster="CANARY/poster.png" autoplay></video>
<audio src="CANARY/audio.mp3" autoplay></audio>
<input autofocus onfocus="window.ran='focus'">
<details open ontoggle="window.ran='toggle'"><summary>x</summary></details>
<a href="CANARY/a" onclick="window.ran='click'" style="position:fixed;inset:0" id="status">a</a>
<a href="CANARY/ping" ping="CANARY/ping">a</a>
<div style="background: url(CANARY/div.png)" class="send" id="messages">x</div>
<textarea name="content"></textarea>
<template><script>window.ran='template'</script></template>
<noscript><p title="</noscript><img src=x onerror=window.ran='noscript'>">
<br onclick="window.ran='br'"><sub onmouseover="window.ran='sub'">x</sub>
<kbd style="position:fixed">x</kbd>
<!-- --!><img src=x onerror="window.ran='comment'"> -->
<![CDATA[<script>window.ran='cdata'</script>]]>
<?xml-stylesheet href="CANARY/xml.css"?>
`<img src=x onerror="window.ran='code'">`
| <img src=x onerror="window.ran='cell'"> | [x](javascript:window.ran='cell') |
- [ ] <script>window.ran='task'</script>
https://example.org/"onmouseover="window.ran='bare'
<https://example.org/?a="onmouseover=window.ran='angle'>
<x-element onclick=1 is="x">y</x-element>
{{constructor.constructor('window.ran=1')()}}
<button formaction="javascript:window.ran='formaction'">x</button>
<a href="javascript&colon;window.ran='colon'">x</a>
<a xlink:href="javascript:window.ran='xlink'">x</a>
<svg><a xlink:href="javascript:window.ran='svg link'"><text y="20">x</text></a></svg>
<svg><animate onbegin="window.ran='animate'" attributeName="x" dur="1s"/></svg>
<svg><foreignObject><iframe src="CANARY/foreign"></iframe></foreignObject></svg>
<marquee onstart="window.ran='marquee'">x</marquee>
<picture><source srcset="CANARY/srcset.png"><img srcset="CANARY/srcset2.png"></picture>
<img src="x` `<script>window.ran='backtick'</script>"` `>
<<img src=x onerror="window.ran='double'">>
<img/src="x"/onerror="window.ran='slashes'">
<p style="background-image:url(CANARY/inline.png)">x</p>
<table background="CANARY/background.png"><tr><td>x</td></tr></table>
<body onload="window.ran='body'" background="CANARY/body.png">
<frameset><frame src="CANARY/frameset"></frameset>
<isindex type=image src="CANARY/isindex.png" onerror="window.ran='isindex'">
[a](<javascript:window.ran='angle link'>)
[b]( javascript:window.ran='space link')
[c](\x01javascript:window.ran='control link')
![d](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIi8+)
""".strip()

_FENCE = """
```html"onmouseover="window.ran='info'
<script>window.ran='fence'</script>
<img src="CANARY/fence.png" onerror="window.ran='fence'">
```

```python
"</code></pre><img src=x onerror=window.ran='coloured'>" # <script>window.ran='comment'</script>
```

| a | b |
|---|---|
| <img src="CANARY/table.png" onerror="window.ran='table'"> | ![x](CANARY/table2.png) |
"""


class Canary:
    """A server that nobody should ever ask for anything."""

    def __init__(self) -> None:
        self.address = ""
        self.connections = 0
        self.requests: list[bytes] = []

    async def visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if request := await reader.readline():
            self.requests.append(request)
        writer.close()

    def corpus(self) -> str:
        """All payloads as one text, each a paragraph of its own."""
        text = "\n\n".join([*PAYLOADS.splitlines(), _FENCE])
        host = self.address.removeprefix("http://")
        return text.replace("CANARYHOST", host).replace("CANARY", self.address)


@pytest_asyncio.fixture(loop_scope="session")
async def canary() -> AsyncIterator[Canary]:
    canary = Canary()
    server = await asyncio.start_server(canary.visited, "127.0.0.1", 0)
    canary.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield canary
    server.close()
    await server.wait_closed()
    assert not canary.requests


async def test_nothing_in_questions_answers_or_errors_runs_or_loads_anything(
    visitor: Visitors, site: Server, canary: Canary
) -> None:
    person = await visitor(site.url)
    chat = await person.chat()
    corpus = canary.corpus()
    # as a whole, and word by word as it streams: half a tag is another tag
    for script in ("mode=ok", "mode=slow delay=0.001", "mode=error_event after=9999"):
        await chat.ask(f"{script} say: {corpus}")
        await expect(chat.answers.last).to_have_attribute("data-state", re.compile("done|failed"))
        await expect(chat.text()).to_contain_text("window.ran='fence'")
    requests = len(person.requests)
    await chat.page.reload()
    await chat.ready()
    await chat.counts(questions=3, answers=3)
    await assert_messages_are_harmless(chat.page)
    image = chat.text().get_by_role("link", name="remote", exact=True)
    await expect(image).to_have_attribute("href", f"{canary.address}/markdown.png")
    await expect(chat.questions.last.locator(".bubble")).to_have_text(
        f"mode=error_event after=9999 say: {corpus}", use_inner_text=True
    )
    assert len(person.requests) <= 2 * requests
    assert not canary.connections


HARMLESS_ELEMENTS = set(
    "div p br hr strong em del code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 "  # noqa: SIM905
    "table thead tbody tr th td a sub sup kbd".split()
)
#: Around and in code, made by the page: its language, its colours, a button that copies it.
OF_CODE = {"span", "button", "svg", "path"}


async def assert_messages_are_harmless(page: Page) -> None:
    assert await page.evaluate("() => window.ran") is None
    elements = await page.evaluate(
        """() => [...document.querySelectorAll(".markdown *, .plain *, .bubble *, .note p *")].map(
          (element) => [element.localName, element.getAttributeNames().join(" "),
            element.getAttribute("class") ?? ""])"""
    )
    assert {name for name, _, _ in elements} <= HARMLESS_ELEMENTS | OF_CODE
    attributes = {
        name for element, names, _ in elements if element not in OF_CODE for name in names.split()
    }
    harmless = {"href", "title", "start", "align", "dir", "class", "target", "rel"}
    assert attributes <= harmless | {"tabindex", "data-coloured"}
    classes = {name for _, _, names in elements for name in str(names).split()}
    ours = re.compile(r"block|code(-head)?|icon|language-[\w+#.-]+|hljs-[\w-]+|\w+_")
    assert all(ours.fullmatch(name) for name in classes), classes
    links = await page.evaluate(
        """() => [...document.querySelectorAll(".markdown a[href]")].map(
          ({ protocol, host, target, rel }) => [protocol, host, target, rel])"""
    )
    assert links
    for protocol, host, target, rel in links:
        assert protocol in ("http:", "https:", "mailto:")
        assert host != page.url.split("/")[2]
        assert target == "_blank"
        assert {"noopener", "noreferrer"} <= set(rel.split())


async def test_notifications_and_titles_are_text(
    visitor: Visitors, site: Server, canary: Canary
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("say: hello")
    await chat.answered("hello")
    words = f"<img src={canary.address}/title.png onerror=window.ran=1>"
    site.manage("notify", await chat.session(), words)
    await expect(chat.page.locator(".note")).to_contain_text(words)
    await chat.ask(f"/rename {words}")
    await expect(chat.page.locator("li.session")).to_contain_text(words)
    await expect(chat.page.locator("#title")).to_contain_text("<img src=")
    assert await chat.page.evaluate("() => window.ran") is None
    await expect(chat.page.locator(".note img, .session img, .top img")).to_have_count(0)


async def test_the_policy_stops_what_the_page_itself_would_let_through(
    visitor: Visitors, site: Server, canary: Canary
) -> None:
    person = await visitor(site.url)
    chat = await person.chat()
    await chat.ready()
    await chat.page.evaluate(
        """(address) => {
          const box = document.createElement("div");
          box.innerHTML = `<img src="${address}/a.png"><img src="data:," onerror="window.ran = 1">
            <iframe src="${address}/frame"></iframe><p style="color: red">x</p>
            <style>body { color: red }</style><object data="${address}/object"></object>`;
          document.body.append(box);
          const script = document.createElement("script");
          script.textContent = "window.ran = 2";
          document.body.append(script);
          fetch(address).catch(() => {});
        }""",
        canary.address,
    )
    wanted = ("img-src", "frame-src", "style-src", "object-src", "script-src", "connect-src")

    def told() -> str:
        return "\n".join(person.trouble)

    async with asyncio.timeout(30):
        while not all(name in told() for name in wanted):
            await chat.page.evaluate("() => new Promise(requestAnimationFrame)")
    assert await chat.page.evaluate("() => window.ran") is None
    # for the frame, Chromium opens a connection before it looks at the policy, and sends nothing
    assert not canary.requests
    person.trouble.clear()
    person.requests.clear()


# how it is served


@pytest.fixture(scope="module")
def production_site(
    provider: ScriptedProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server without DEBUG, with collected static files and somebody of the staff."""
    with production_server(
        provider.base_url,
        tmp_path_factory.mktemp("production"),
        HTTPS_ONLY="0",
        ALLOW_ANONYMOUS="1",
        ALLOWED_HOSTS="127.0.0.1",
    ) as server:
        make(server, people={"staff": {"is_staff": True, "is_superuser": True}})
        yield server
        server.assert_nothing_broke()


async def test_the_collected_build_loads_every_module_by_its_hashed_name(
    visitor: Visitors, production_site: Server
) -> None:
    person = await visitor(production_site.url)
    answers: dict[str, int] = {}
    person.context.on("response", lambda response: answers.update({response.url: response.status}))
    chat = await person.chat()
    await chat.ask("say: **from** the build")
    await chat.answered("from the build")
    await expect(chat.text().locator("strong")).to_have_text("from")
    files = [address for address in answers if "/static/" in address]
    assert len(files) > 20
    unhashed = [address for address in files if not re.search(r"\.[0-9a-f]{12}\.\w+$", address)]
    assert not unhashed
    assert set(answers.values()) == {200}
    caching = production_site.request("GET", files[0].removeprefix(production_site.url))[1]
    assert "immutable" in caching["cache-control"]


async def test_the_policy_is_strict_with_and_without_debug(
    site: Server, production_site: Server
) -> None:
    for server in (site, production_site):
        status, headers, _ = server.request("GET", "/")
        assert status == 200
        policy = dict(
            part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in headers["content-security-policy"]
        assert policy["frame-ancestors"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"].count("no-store") == 1


async def test_the_admin_shows_transcripts_as_safely(
    visitor: Visitors, production_site: Server, canary: Canary
) -> None:
    person = await visitor(production_site.url)
    chat = await person.chat()
    for script in ("mode=ok", "mode=error_event after=9999"):
        await chat.ask(f"{script} say: {canary.corpus()}")
        await expect(chat.answers.last).to_have_attribute("data-state", re.compile("done|failed"))
    session = await chat.session()

    page = await person.page("/admin/")
    await page.get_by_label("Username").fill("staff")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("link", name="Sessions", exact=True).first.click()
    await page.locator("#result_list tbody th a").first.click()
    await expect(page.locator("article.message")).to_have_count(4)
    assert session in page.url
    await expect(page.locator(".query .said").last).to_contain_text("window.ran='fence'")
    await expect(page.locator(".markdown").last).to_contain_text("window.ran='fence'")
    await assert_messages_are_harmless(page)
    assert not canary.connections
    await page.goto(f"{production_site.url}/admin/agent/turn/")
    await expect(page.locator("#result_list")).to_be_visible()
