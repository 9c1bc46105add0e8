"""Clients that break the rules of TCP, HTTP and WebSockets, beside one that does not."""

import asyncio
import json
import socket
import sys
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path

import pytest
from websockets.exceptions import WebSocketException

from .chaos.proxy import Proxy
from .chaos.world import connections_on, rss_bytes
from .people import make, write
from .raw import CONTINUATION, PING, TEXT, Dropped, frame, raw
from .servers import Server
from .waiting import eventually

pytestmark = pytest.mark.server
pytest_plugins = ["tests.servers"]

REQUEST = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\n"
MANY = 2000


async def endlessly(peer, piece):
    """Send until the server ends the connection; whether it did, within 64 MB."""
    for _ in range(2**26 // len(piece)):
        try:
            await peer.write(piece)
        except Dropped:
            return True
    return False


@pytest.fixture
async def healthy(server):
    """A client that asks and gets its answers, before and after."""
    async with server.connect() as client:
        await client.end(await client.ask("say: before"))
        yield client
        await client.end(await client.ask("say: after"))


# what ends at once


ENDLESS = {
    "a_header": (False, b"GET / HTTP/1.1\r\nX: ", b"x" * 65536),
    "headers": (False, b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 10000),
    "a_body": (False, REQUEST + b"Content-Length: 999999999\r\n\r\n", b"x" * 65536),
    "chunks": (
        False,
        REQUEST + b"Transfer-Encoding: chunked\r\n\r\n",
        b"8000\r\n" + b"x" * 32768 + b"\r\n",
    ),
    "pings": (True, b"", frame(PING, b"x" * 125) * 500),
    "fragments": (True, frame(TEXT, b"{", fin=False), frame(CONTINUATION, fin=False) * 5000),
    "a_frame_of_a_terabyte": (True, frame(TEXT, b"x", length=2**40), b"x" * 65536),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_what_has_no_end_is_cut_and_costs_nothing(server, healthy, what):
    websocket, begin, piece = ENDLESS[what]
    before = rss_bytes(server.pid)
    async with raw(server.port, websocket=websocket) as peer:
        with suppress(Dropped):
            await peer.write(begin)
            assert await endlessly(peer, piece)
    await healthy.quiet()
    assert rss_bytes(server.pid) - before < 12 * 2**20


async def test_requests_that_mean_well_are_answered(server):
    async with raw(server.port, websocket=False) as peer:
        body = b"x" * 1_000_000
        await peer.write(REQUEST + b"Content-Length: 1000000\r\n\r\n" + body)
        assert (await peer.reader.readline()).startswith(b"HTTP/1.1 4")
    async with raw(server.port, websocket=False) as peer:
        for _ in range(3):  # one after the other, on one connection
            await peer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await peer.reader.readline()).startswith(b"HTTP/1.1 200")
            await peer.reader.readuntil(b'{"status": "ok"}')


async def test_many_frames_in_one_piece_are_all_answered_in_order(server):
    async with raw(server.port) as peer:
        ids = [f"n{number}" for number in range(MANY)]
        pings = [json.dumps({"type": "ping", "id": ref}).encode() for ref in ids]
        await peer.write(b"".join(frame(TEXT, ping) for ping in pings))
        refs = []
        while len(refs) < len(ids):
            _, payload = await peer.read()
            if (got := json.loads(payload))["type"] == "pong":
                refs.append(got["ref"])
        assert refs == ids


async def test_a_message_in_a_thousand_fragments_is_one_message(server):
    async with raw(server.port) as peer:
        query = json.dumps({"content": "say: whole", "padding": "x" * 2000}).encode()
        pieces = [query[at : at + 3] for at in range(0, len(query), 3)]
        await peer.send(TEXT, pieces[0], fin=False)
        for piece in pieces[1:-1]:
            await peer.send(CONTINUATION, piece, fin=False)
        await peer.send(CONTINUATION, pieces[-1])
        while (got := json.loads((await peer.read())[1]))["type"] != "response":
            assert got["type"] != "error"
        assert got["content"] == "whole"


# who is gone, does not read, or never asks


@pytest.mark.slow
async def test_who_is_gone_or_does_not_read_is_let_go_within_a_minute(start_server):
    server = start_server()
    proxy = Proxy(server.port)
    await proxy.start()
    async with AsyncExitStack() as stack, asyncio.timeout(110):
        reader = await stack.enter_async_context(server.connect())
        ref = await reader.ask("mode=slow tokens=600 delay=0.02")
        await reader.expect("delta")
        before = rss_bytes(server.pid)
        token = f"Authorization: Bearer {reader.transcript.resume_token}\r\n".encode()
        for _ in range(4):  # they never read
            await stack.enter_async_context(raw(server.port, headers=token))
        for _ in range(4):  # they never ask
            await stack.enter_async_context(raw(server.port, websocket=False))
        for _ in range(4):  # their network is gone, in mid-answer
            peer = await stack.enter_async_context(raw(proxy.port, headers=token))
            await peer.read()
        proxy.stall()
        assert (await reader.end(ref))["finish_reason"] == "stop", "the turn goes on"
        big = await reader.ask("mode=flood size=3000000 tokens=1")
        await reader.end(big)
        await eventually(
            lambda: connections_on(server.port) == 1, "the end of the half-open one", 60
        )
        assert rss_bytes(server.pid) - before < 12 * 5 * 2**20
        await reader.end(await reader.ask("say: fine"))
    await proxy.close()


@pytest.mark.slow
async def test_a_request_that_trickles_in_is_cut(start_server):
    server = start_server()

    async def trickle(begin):
        async with raw(server.port, websocket=False) as peer:
            with suppress(Dropped):
                await peer.write(begin)
                while True:
                    await peer.write(b"x")
                    await asyncio.sleep(0.5)

    async with asyncio.timeout(60):
        await asyncio.gather(
            trickle(b"GET / HTTP/1.1\r\nX: "),
            trickle(REQUEST + b"Content-Length: 10000\r\n\r\n"),
            trickle(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nX: "),
        )


# descriptors


class Narrow(Server):
    """A server that may have 256 descriptors."""

    def _arguments(self):
        return ["sh", "-c", 'ulimit -n 256; exec "$@"', "sh", *super()._arguments()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_more_clients_than_descriptors_do_not_harm_those_who_are_served(provider):
    def cpu_ticks():
        with open(f"/proc/{server.pid}/stat") as file:
            return sum(map(int, file.read().rpartition(")")[2].split()[11:13]))

    with Narrow(provider.base_url) as server:
        async with server.connect() as healthy, AsyncExitStack() as stack:
            await healthy.end(await healthy.ask("say: before"))

            async def crowd():
                with suppress(OSError, WebSocketException, Dropped):
                    await stack.enter_async_context(raw(server.port))

            await asyncio.gather(*(crowd() for _ in range(500)))
            for _ in range(3):
                await healthy.end(await healthy.ask("say: within"))
            used = cpu_ticks()
            await asyncio.sleep(2)
            assert cpu_ticks() - used < 150, "it spins"  # of 200, in two seconds
            await stack.aclose()
            await eventually(lambda: connections_on(server.port) <= 1, "the end of the others", 30)
            async with server.connect() as late:
                await late.end(await late.ask("say: after"))
        server.assert_nothing_broke()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_pages_leave_no_connection_to_the_database_behind(server):
    def open_files():
        links = Path(f"/proc/{server.pid}/fd").iterdir()
        names = []
        for link in links:
            with suppress(OSError):
                names.append(str(link.readlink()))
        return len([name for name in names if name.startswith(str(server.database))])

    def page():
        assert server.request("GET", "/", {"Cookie": "sessionid=" + "x" * 32})[0] == 200

    await asyncio.gather(*(asyncio.to_thread(page) for _ in range(60)))
    assert open_files() <= 3 * 8, "a file, its log and its index for each thread of ours"


@pytest.mark.skipif(sys.platform != "linux", reason="has all of 127.0.0.0/8")
async def test_one_address_cannot_take_every_descriptor(provider):
    with Narrow(provider.base_url) as server:
        async with AsyncExitStack() as stack:

            async def crowd():
                with suppress(OSError, WebSocketException, Dropped):
                    await stack.enter_async_context(raw(server.port))

            await asyncio.gather(*(crowd() for _ in range(300)))
            for _ in range(30):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", server.port, local_addr=("127.0.0.2", 0)
                )
                stack.callback(writer.close)
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")


@pytest.mark.slow
async def test_a_response_that_trickles_out_is_cut(server):
    """An export of 20 MB, of which the client takes 40 bytes a second."""
    name = f"reader{server.pid}"
    token = make(server, {name: {}}, {name: {"user": name}})[name]
    async with server.connect(headers=token) as client:
        await client.end(await client.ask("say: hello"))
    (session,) = server.rows("SELECT id FROM agent_session ORDER BY created_at DESC LIMIT 1")[0]
    write(
        server,
        "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 202)"
        " INSERT INTO agent_message (id, session_id, seq, type, content, partial, data, created_at)"
        " SELECT lower(hex(randomblob(16))), ?, i, 'notification', hex(zeroblob(50000)), '',"
        ' \'{"event": "message", "level": "info", "id": "x"}\', \'2026-01-01 00:00:00.000000\''
        " FROM n",
        session,
    )
    head = f"GET /api/sessions/{session}/export?format=json HTTP/1.1\r\nHost: localhost\r\n"
    head += "".join(f"{key}: {value}\r\n" for key, value in token.items()) + "\r\n"
    await eventually(lambda: connections_on(server.port) == 0, "the end of the others", 30)
    with closing(socket.create_connection(("127.0.0.1", server.port))) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.sendall(head.encode())

        def trickle():
            peer.recv(40)
            return connections_on(server.port) == 0

        await eventually(trickle, "the end of a response that nobody reads", 80)
    async with server.connect() as client:
        await client.end(await client.ask("say: fine"))
