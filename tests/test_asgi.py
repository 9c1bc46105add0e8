"""Whose word counts for a client's address and scheme."""

import pytest

from agentsite.asgi import behind_proxies

TRUSTED = ["127.0.0.1/32", "10.0.0.0/8", "2001:db8:aaaa::/48"]
CLIENT = "203.0.113.9"


async def seen(client, *headers, trusted=TRUSTED):
    """Client address and scheme as the application gets them."""
    scopes = []

    async def application(scope, receive, send):
        scopes.append(scope)

    scope = {
        "type": "websocket",
        "scheme": "ws",
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


async def test_a_client_without_an_address_is_no_proxy():
    assert await seen(None, *forwarded(CLIENT)) == (None, "ws")
