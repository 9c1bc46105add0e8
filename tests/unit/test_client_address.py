"""Whose word counts for a client's address and scheme."""

import pytest

from agentsite.below import below
from agentsite.proxies import behind_proxies

TRUSTED = ["127.0.0.1/32", "10.0.0.0/8", "2001:db8:aaaa::/48"]
CLIENT = "203.0.113.9"


async def seen(client, *headers, trusted=TRUSTED, kind="websocket"):
    """Client address and scheme as the application gets them."""
    scopes = []

    async def application(scope, receive, send):
        scopes.append(scope)

    scope = {
        "type": kind,
        "scheme": "ws" if kind == "websocket" else "http",
        "client": client,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    await behind_proxies(application, trusted)(scope, None, None)
    return scopes[0]["client"] and scopes[0]["client"][0], scopes[0]["scheme"]


def forwarded(*values):
    return [("x-forwarded-for", value) for value in values]


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("127.0.0.1", forwarded(CLIENT), CLIENT),
        ("127.0.0.1", forwarded(f"192.0.2.1, {CLIENT}"), CLIENT),
        ("127.0.0.1", forwarded("192.0.2.1", CLIENT), CLIENT),
        ("127.0.0.1", forwarded(f"127.0.0.1, {CLIENT}"), CLIENT),
        ("127.0.0.1", forwarded(f"192.0.2.1, {CLIENT}, 10.1.2.3"), CLIENT),
        ("127.0.0.1", forwarded(f"{CLIENT}:5000"), CLIENT),
        ("127.0.0.1", forwarded("[2001:db8::9]:5000"), "2001:db8::9"),
        ("127.0.0.1", forwarded("2001:db8::9"), "2001:db8::9"),
        ("127.0.0.1", forwarded("[2001:DB8::9]"), "2001:db8::9"),
        ("127.0.0.1", forwarded("fe80::1%eth0"), "fe80::1"),
        ("127.0.0.1", forwarded(f"::ffff:{CLIENT}"), CLIENT),
        ("127.0.0.1", forwarded(f'"{CLIENT}:5000"'), CLIENT),
        ("127.0.0.1", forwarded(f"{CLIENT}:5000, 10.1.2.3:443"), CLIENT),
        ("127.0.0.1", forwarded(f"{CLIENT}, [2001:db8:aaaa::5]:443"), CLIENT),
        ("127.0.0.1", forwarded(f"{CLIENT}, ::ffff:10.1.2.3"), CLIENT),
        ("127.0.0.1", forwarded(f"{CLIENT}, ,"), CLIENT),
        ("127.0.0.1", forwarded(f"{CLIENT}, unknown"), "unknown"),
        ("127.0.0.1", [("forwarded", "for=192.0.2.1;proto=https")], "127.0.0.1"),
        ("2001:db8:aaaa::1", forwarded(CLIENT), CLIENT),
        ("2001:0db8:aaaa:0::1", forwarded(CLIENT), CLIENT),
        ("::ffff:127.0.0.1", forwarded(CLIENT), CLIENT),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", forwarded(""), "127.0.0.1"),
        ("203.0.113.77", forwarded(CLIENT), "203.0.113.77"),
        ("::ffff:203.0.113.77", forwarded(CLIENT), "203.0.113.77"),
        ("2001:db8:bbbb::1", forwarded(CLIENT), "2001:db8:bbbb::1"),
    ],
)
async def test_the_clients_address_is_the_last_that_a_trusted_proxy_saw(peer, headers, client):
    assert (await seen((peer, 1234), *headers))[0] == client


async def test_without_trusted_proxies_nobodys_word_counts():
    headers = [*forwarded(CLIENT), ("x-forwarded-proto", "https")]
    assert await seen(("127.0.0.1", 1234), *headers, trusted=[]) == ("127.0.0.1", "ws")


async def test_the_scheme_is_what_a_trusted_proxy_says():
    headers = [("x-forwarded-proto", "https")]
    assert (await seen(("10.2.3.4", 1), *headers))[1] == "wss"
    assert (await seen(("203.0.113.77", 1), *headers))[1] == "ws"


@pytest.mark.parametrize(
    ("said", "way", "scheme"),
    [
        (["https"], [], "https"),
        (["HTTPS"], [], "https"),
        ([" Https "], [], "https"),
        (["wss"], [], "https"),
        (["http"], [], "http"),
        (["https,https"], [], "https"),
        (["https, http"], [], "https"),
        (["http, https"], [], "http"),
        (["https", "http"], [], "https"),
        # with the way of a request, the word of the farthest trusted proxy
        (["https, http"], [f"{CLIENT}, 10.1.2.3"], "https"),
        (["http, https"], [f"{CLIENT}, 10.1.2.3"], "http"),
        (["https"], [f"{CLIENT}, 10.1.2.3"], "https"),
        # a row of proxies, of which the farther one is not trusted
        (["https, http"], [f"{CLIENT}, 198.51.100.7"], "https"),
        (["http, https"], [f"{CLIENT}, 198.51.100.7"], "http"),
        (["on"], [], "http"),
        ([""], [], "http"),
        (["ftp"], [], "http"),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_the_scheme_is_the_one_that_the_client_used_towards_the_farthest_proxy(
    said, way, scheme, kind
):
    headers = [*forwarded(*way), *(("x-forwarded-proto", value) for value in said)]
    expected = scheme if kind == "http" else scheme.replace("http", "ws")
    assert (await seen(("127.0.0.1", 1234), *headers, kind=kind))[1] == expected


@pytest.mark.parametrize(
    ("path", "whole", "rest"),
    [
        ("/chat", "/chat", ""),
        ("/chat/", "/chat/", "/"),
        ("/chat/login/", "/chat/login/", "/login/"),
        ("/login/", "/chat/login/", "/login/"),
        ("/", "/chat/", "/"),
        ("/chatter", "/chat/chatter", "/chatter"),
        ("/chat/chat/", "/chat/chat/", "/chat/"),
        ("/chat/ws/agent/", "/chat/ws/agent/", "/ws/agent/"),
    ],
)
async def test_below_a_path_it_is_the_same_whether_the_proxy_takes_the_path_away(path, whole, rest):
    for kind, expected in (("http", whole), ("websocket", rest)):
        scopes = []

        async def application(scope, receive, send, scopes=scopes):
            scopes.append(scope)

        await below(application, "/chat")({"type": kind, "path": path}, None, None)
        assert (scopes[0]["path"], scopes[0]["root_path"]) == (expected, "")


async def test_a_client_without_an_address_is_no_proxy():
    assert await seen(None, *forwarded(CLIENT)) == (None, "ws")
