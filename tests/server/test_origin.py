"""Whose page may open a WebSocket, and whose cookies then count: real handshakes with each server.

A foreign page can make a browser connect here, and the browser sends our cookies with it. Only the
`Origin`, which a page cannot choose, tells that from our own page.
"""

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.people import visiting

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def handshake(server, origin, host):
    """The status with which a handshake is answered."""
    headers = {**HANDSHAKE, "Host": host, "Origin": origin}
    return server.request("GET", "/ws/agent/", headers)[0]


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:PORT", "127.0.0.1:PORT"),
        ("HTTP://127.0.0.1:PORT", "127.0.0.1:PORT"),
        ("http://LocalHost:PORT", "localhost:PORT"),
        ("http://localhost:PORT", "LOCALHOST:PORT"),
        ("http://[::1]:PORT", "[::1]:PORT"),
        ("http://localhost", "localhost"),
        ("http://localhost:80", "localhost"),
    ],
)
def test_our_own_pages_may_connect_by_each_of_our_names(server, origin, host):
    port = str(server.port)
    assert handshake(server, origin.replace("PORT", port), host.replace("PORT", port)) == 101


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.test", "127.0.0.1:PORT"),
        ("null", "127.0.0.1:PORT"),
        ("", "127.0.0.1:PORT"),
        ("file://", "127.0.0.1:PORT"),
        ("chrome-extension://abcdef", "127.0.0.1:PORT"),
        ("https://127.0.0.1:PORT", "127.0.0.1:PORT"),
        ("http://127.0.0.1", "127.0.0.1:PORT"),
        ("http://127.0.0.1:1", "127.0.0.1:PORT"),
        ("http://localhost:PORT", "127.0.0.1:PORT"),
        ("http://127.0.0.1:PORT.evil.test", "127.0.0.1:PORT"),
        ("http://evil.test:PORT", "evil.test:PORT"),
        ("http://[::1]", "[::1]:PORT"),
        ("http://[::2]:PORT", "[::2]:PORT"),
        ("http://127.0.0.1:PORT", ""),
        ("http://127.0.0.1:PORT, http://evil.test", "127.0.0.1:PORT"),
        ("http://127.0.0.1:PORT/", "127.0.0.1:PORT"),
        ("http://evil.test@127.0.0.1:PORT", "127.0.0.1:PORT"),
    ],
)
def test_no_other_page_may(server, origin, host):
    port = str(server.port)
    status = handshake(server, origin.replace("PORT", port), host.replace("PORT", port))
    assert status in (400, 403)


@pytest.mark.transports
async def test_a_cookie_counts_with_our_origin_alone(server):
    person = visiting(server)
    cookies = person.cookies
    async with server.connect(headers=cookies, origin=server.url) as mine:
        await mine.end(await mine.ask("say: mine"))
        named = f'data-caller="{mine.transcript.welcome["caller"]}"'
        assert named in person.http.get("/").text
        assert "resume_token" not in mine.transcript.welcome
        session = mine.transcript.session
    async with server.connect(headers=cookies) as program:
        assert (await program.ready())["resume_token"]
    async with server.connect(headers=cookies, session=session) as program:
        assert (await program.next())["code"] == "not_found"
        assert (await program.closed())[0] == 4404
    for origin in ("https://evil.test", "null"):
        with pytest.raises(InvalidStatus) as refused:
            async with server.connect(headers=cookies, session=session, origin=origin):
                pass
        assert refused.value.response.status_code == 403


async def test_pages_of_an_allowed_site_may_connect_and_those_beside_it_not(start_server):
    server = start_server(ALLOWED_ORIGINS="https://app.example.org, http://dev.test:3000")
    for origin in ("https://app.example.org", "HTTPS://App.Example.org", "http://dev.test:3000"):
        async with server.connect(origin=origin) as client:
            await client.ready()
    for origin in (
        "http://app.example.org",
        "https://example.org",
        "https://x.app.example.org",
        "https://app.example.org:8443",
        "http://dev.test",
        "https://app.example.org.evil.test",
    ):
        with pytest.raises(InvalidStatus):
            async with server.connect(origin=origin):
                pass
