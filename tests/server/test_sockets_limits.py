"""Limits over real sockets: what is refused, how, when it is over, and for whom."""

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from itertools import count

import pytest
from websockets.exceptions import ConnectionClosed

from agent.access.connection_slots import LEASE_SECONDS
from tests.support.servers import Server

_addresses = count(1)


@pytest.fixture(scope="session")
def limited(provider):
    """A server with low limits behind a proxy that it trusts: each test has its own address."""
    environment = {
        "TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8",
        "MAX_CONNECTIONS_PER_USER": "3",
        "MAX_QUERIES_PER_MINUTE": "4",
        "MAX_FRAMES_PER_SECOND": "20",
        # A flood has to fit into the buffers of the system: the rest would be answered with a
        # TCP reset, and a client that still sends loses what it has not read, the close code too.
        "MAX_FRAME_BYTES": "1024",
    }
    with Server(provider.base_url, environment=environment) as shared:
        yield shared
        shared.stop()
        shared.assert_nothing_broke()


@pytest.fixture(scope="session")
def limited_connects(provider):
    """A server that an address may connect to five times a minute.

    The number of open connections has no limit: the server gives a slot back a moment after the
    client has seen its connection close.
    """
    environment = {"TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8", "MAX_CONNECTS_PER_MINUTE": "5"}
    with Server(provider.base_url, environment=environment) as shared:
        yield shared
        shared.stop()
        shared.assert_nothing_broke()


@pytest.fixture
def address():
    return f"203.0.113.{next(_addresses)}"


def through(*hops):
    """Headers as proxies in front of the server set them; a client may have sent the first ones."""
    return {"X-Forwarded-For": ", ".join(hops)}


async def is_refused(server, headers):
    """Whether a connection is sent away as one too many."""
    async with server.connect(headers=headers) as client:
        first = await client.next()
        if first["type"] != "error":
            return False
        assert first["code"] == "rate_limited" and first["retryable"] is True
        assert first["retry_after"] > 0
        assert (await client.closed())[0] == 4429
        assert len(client.frames) == 1
        return True


async def admitted(server, headers):
    """Connect as soon as there is room again."""
    while await is_refused(server, headers):  # noqa: ASYNC110
        await asyncio.sleep(0.2)


async def flood(client, texts):
    """Send all of it, or until the server closes."""
    with suppress(ConnectionClosed):
        for text in texts:
            await client.send_raw(text)


async def test_a_flood_of_frames_is_refused_and_then_ends(limited, address):
    async with (
        limited.connect(headers=through("198.51.100.1")) as neighbour,
        limited.connect(headers=through(address)) as client,
    ):
        await client.ready()
        pings = (json.dumps({"type": "ping", "id": str(n)}) for n in range(500))
        await flood(client, pings)
        code, _ = await client.closed()
        assert code == 4429
        refused = [frame for frame in client.frames if frame["type"] == "error"]
        numbers = [int(frame["ref"]) for frame in refused]
        assert numbers[-20:] == list(range(numbers[-20], numbers[-20] + 20)), "20 in a row"
        assert len([frame for frame in client.frames if frame["type"] == "pong"]) == numbers[-20]
        for error in refused:
            assert error["code"] == "rate_limited" and error["retryable"] is True
            assert 0 < error["retry_after"] <= 1
        await neighbour.end(await neighbour.ask("say: fine"))


async def test_frames_that_are_no_frames_count_too(limited, address):
    async with limited.connect(headers=through(address)) as client:
        await client.ready()
        await flood(client, ["x" * 1100] * 200)  # each of them is too large, and no bad frame
        assert (await client.closed())[0] == 4429
        codes = [frame["code"] for frame in client.frames if frame["type"] == "error"]
        assert codes[:20] + codes[-20:] == ["too_large"] * 20 + ["rate_limited"] * 20


async def test_who_waits_as_told_goes_on(limited, address):
    async with limited.connect(headers=through(address)) as client:
        await client.ready()
        await flood(client, [json.dumps({"type": "ping"})] * 30)
        error = await client.expect("error")
        await asyncio.sleep(error["retry_after"])
        await client.send({"type": "ping", "id": "again"})
        assert (await client.until(lambda frame: frame.get("ref") == "again"))["type"] == "pong"


async def test_queries_above_the_limit_are_refused_and_leave_their_ids_free(limited, address):
    async with limited.connect(headers=through(address)) as client:
        for _ in range(4):
            await client.end(await client.ask("say: yes"))
        refused = await client.reply(await client.ask("say: no", id="fifth"))
        assert (refused["code"], refused["ref"]) == ("rate_limited", "fifth")
        assert 30 < refused["retry_after"] <= 60
        again = await client.command("retry", turn=client.transcript.queries[0]["turn"])
        assert again["code"] == "rate_limited", "a retry asks the model too"
        assert (await client.command("history"))["type"] == "history"
        rows = limited.rows("SELECT count(*) FROM agent_turn WHERE ref = 'fifth'")
        assert rows == [(0,)]


async def test_too_many_connections_of_a_caller_are_sent_away_until_one_ends(limited, address):
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(limited.connect(headers=through(address)))
            for _ in range(3)
        ]
        for client in clients:
            await client.ready()
        assert await is_refused(limited, through(address))
        assert not await is_refused(limited, through("198.51.100.2")), "another caller"
        await clients[0].close()
        await admitted(limited, through(address))
        await clients[1].end(await clients[1].ask("say: still here"))


async def test_too_many_connects_from_an_address_are_sent_away(limited_connects, address):
    for _ in range(5):
        assert not await is_refused(limited_connects, through(address))
    assert await is_refused(limited_connects, through(address))


# whose address counts


async def test_what_a_client_says_of_its_address_does_not_count(limited_connects, address):
    for number in range(5):
        assert not await is_refused(limited_connects, through(f"192.0.2.{number}", address))
    for hops in (
        ("192.0.2.99", address),  # made up, and still the same
        ("192.0.2.99", address, "10.1.2.3"),  # two proxies
        ("127.0.0.1", address),  # it says it is the proxy
    ):
        assert await is_refused(limited_connects, through(*hops)), hops


async def test_an_ipv6_subscriber_is_one_caller_however_many_addresses_it_has(limited_connects):
    network = f"2001:db8:0:{next(_addresses):x}"
    for number in range(5):
        assert not await is_refused(limited_connects, through(f"{network}:{number}::1"))
    assert await is_refused(limited_connects, through(f"{network}:ffff::1"))
    assert not await is_refused(limited_connects, through("2001:db8:ffff::1"))


async def test_without_trusted_proxies_the_header_is_no_ones_word(start_server):
    server = start_server(MAX_CONNECTIONS_PER_USER="2", MAX_CONNECTS_PER_MINUTE="1000")
    async with (
        server.connect(headers=through("203.0.113.1")) as one,
        server.connect(headers=through("203.0.113.2")) as two,
    ):
        await one.ready()
        await two.ready()
        assert await is_refused(server, through("203.0.113.3"))


# what has to fit into the defaults


async def test_many_tabs_that_reconnect_at_once_and_send_what_waited_fit(start_server):
    defaults = {
        "MAX_CONNECTIONS_PER_USER": "10",
        "MAX_CONNECTS_PER_MINUTE": "120",
        "MAX_QUERIES_PER_MINUTE": "30",
        "MAX_FRAMES_PER_SECOND": "50",
    }
    server = start_server(**defaults)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(server.connect())
        await first.end(await first.ask("say: one"))
        token = first.credentials
        tabs = [await stack.enter_async_context(server.connect(headers=token)) for _ in range(9)]
        for tab in tabs:
            await tab.ready()
        refs = [await tabs[0].ask(f"say: {number}") for number in range(20)]
        for tab in tabs:
            await tab.command_frame("resume", last_seq=0)
            await tab.send({"type": "pong"})
        for ref in refs:
            await tabs[0].end(ref)
        for tab in tabs:
            assert not [frame for frame in tab.frames if frame["type"] == "error"]


# several processes


@pytest.mark.redis
async def test_a_crashed_process_leaks_no_connection_of_its_callers(start_server, redis_url):
    shared = {
        "REDIS_URL": redis_url,
        "MAX_CONNECTIONS_PER_USER": "2",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    doomed, other = start_server(**shared), start_server(**shared)
    caller = through("203.0.113.200")
    async with AsyncExitStack() as stack:
        for _ in range(2):
            client = await stack.enter_async_context(doomed.connect(headers=caller))
            await client.ready()
        assert await is_refused(other, caller)
        stack.pop_all()
        doomed.kill()
    async with asyncio.timeout(4 * LEASE_SECONDS):
        await admitted(other, caller)
