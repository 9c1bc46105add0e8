"""What a server does under attack, beside a healthy client: memory, how soon it lets go, latency.

    python -m bench.attacks [ATTACK ...]

Each attack runs against a server process of its own, on loopback, and is bounded in bytes and time.
A line tells: the server's memory before, at most and after, in MB; when the last attacking
connection was dropped by the server, in seconds (`-`: it was not, within the time); the healthy
client's slowest answers (99 % and all, in ms) and whether it lived.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from statistics import quantiles

from tests.chaos.proxy import Proxy
from tests.chaos.world import connections_on, rss_bytes
from tests.raw import CONTINUATION, PING, TEXT, Dropped, Raw, frame, raw
from tests.scripted_provider import scripted_process
from tests.servers import Server

_MB = 2**20
_SECONDS = 75.0
_BYTES = 150 * _MB
_LOOK_SECONDS = 0.1


@dataclass
class Result:
    """What was seen during one attack."""

    before: int = 0
    peak: int = 0
    after: int = 0
    dropped_after: float | None = None
    latencies: list[float] = field(default_factory=list)
    healthy: bool = True

    def line(self, name: str) -> str:
        slowest = quantiles(self.latencies, n=100)[98] if len(self.latencies) > 2 else 0
        dropped = "-" if self.dropped_after is None else f"{self.dropped_after:.1f}"
        memory = " ".join(f"{n / _MB:6.1f}" for n in (self.before, self.peak, self.after))
        latency = f"{slowest * 1000:6.1f} {max(self.latencies, default=0) * 1000:7.1f}"
        health = "lives" if self.healthy else "BROKEN"
        return f"{name:16} MB {memory}  dropped {dropped:>5}  ms {latency}  {health}"


Attack = Callable[[Server], Awaitable[None]]


async def until_dropped(one: Raw, chunks: Iterable[bytes], *, read: bool = False) -> None:
    """Write until the server lets go or does not take any more; then wait until it lets go."""
    reading = asyncio.create_task(one.reader.read(-1)) if read else None
    try:
        with suppress(TimeoutError):
            for chunk in chunks:
                await one.write(chunk, seconds=3)
                if reading and reading.done():
                    return
        while True:  # a connection that is gone is noticed by writing to it
            await one.write(b"", seconds=1)
            if one.writer.transport.is_closing():
                return
            await asyncio.sleep(0.2)
            if await _is_gone(one):
                return
    except Dropped:
        return
    finally:
        if reading:
            reading.cancel()


async def _is_gone(one: Raw) -> bool:
    """Whether the kernel knows that the other side is gone, without reading what it sent."""
    if one.writer.transport.is_closing():
        return True
    try:
        peer = one.writer.get_extra_info("socket")
        info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return True
    established = 1
    return bool(info[0] != established)


def repeated(piece: bytes, total: int) -> Iterable[bytes]:
    chunk = piece * max(65536 // len(piece), 1)
    return (chunk for _ in range(total // len(chunk)))


# the attacks


async def slow_headers(server: Server) -> None:
    """50 connections that send a byte of a request each second."""

    async def one() -> None:
        async with raw(server.port, websocket=False) as peer:
            await peer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
            with suppress(Dropped):
                while not await _is_gone(peer):
                    await peer.write(b"x")
                    await asyncio.sleep(1)

    await asyncio.gather(*(one() for _ in range(50)))


async def silence(server: Server) -> None:
    """50 connections that send nothing."""

    async def one() -> None:
        async with raw(server.port, websocket=False) as peer:
            with suppress(ConnectionError):
                await peer.reader.read(1)

    await asyncio.gather(*(one() for _ in range(50)))


async def endless_header(server: Server) -> None:
    """A header without an end."""
    async with raw(server.port, websocket=False) as peer:
        await peer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        await until_dropped(peer, repeated(b"x", _BYTES))


async def endless_body(server: Server) -> None:
    """A body that is announced as 1 TiB."""
    async with raw(server.port, websocket=False) as peer:
        await peer.write(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1099511627776\r\n\r\n"
        )
        await until_dropped(peer, repeated(b"x", _BYTES))


async def slow_body(server: Server) -> None:
    """50 connections that send a byte of a body each second."""

    async def one() -> None:
        async with raw(server.port, websocket=False) as peer:
            await peer.write(
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
            )
            with suppress(Dropped):
                while not await _is_gone(peer):
                    await peer.write(b"x")
                    await asyncio.sleep(1)

    await asyncio.gather(*(one() for _ in range(50)))


async def ping_flood(server: Server) -> None:
    """WebSocket pings from one who does not read the pongs."""
    async with raw(server.port) as peer:
        await until_dropped(peer, repeated(frame(PING, b"x" * 125), _BYTES))


async def fragments(server: Server) -> None:
    """A message of empty fragments, without an end."""
    async with raw(server.port) as peer:
        await peer.send(TEXT, b"{", fin=False)
        await until_dropped(peer, repeated(frame(CONTINUATION, fin=False), _BYTES // 4))


async def message_flood(server: Server) -> None:
    """Large queries, as fast as they go, from one who does not read."""
    query = json.dumps({"content": "say: x", "padding": "x" * 200_000}).encode()
    async with raw(server.port) as peer:
        await until_dropped(peer, repeated(frame(TEXT, query), _BYTES))


async def small_flood(server: Server) -> None:
    """Tiny frames, as fast as they go, from one who reads."""
    async with raw(server.port) as peer:
        await until_dropped(peer, repeated(frame(TEXT, b"{}"), _BYTES // 8), read=True)


async def terabyte_frame(server: Server) -> None:
    """A frame that is announced as 1 TiB."""
    async with raw(server.port) as peer:
        await peer.write(frame(TEXT, b"x", length=2**40))
        await until_dropped(peer, repeated(b"x", _BYTES))


async def no_reader(server: Server) -> None:
    """A client that asks for an endless answer and never reads."""
    async with raw(server.port) as peer:
        await peer.send(TEXT, b'{"content": "mode=flood size=60000000 tokens=1"}')
        await until_dropped(peer, [])


async def slow_reader(server: Server) -> None:
    """The same, but it reads a byte every 15 s, and pings."""
    async with raw(server.port) as peer:
        await peer.send(TEXT, b'{"content": "mode=flood size=60000000 tokens=1"}')
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with suppress(Dropped):
            while not await _is_gone(peer):
                await peer.send(PING, b"still here")
                await asyncio.sleep(5)


async def half_open(server: Server) -> None:
    """The network between is gone: nothing comes through, nothing is closed."""
    proxy = Proxy(server.port)
    await proxy.start()
    async with raw(proxy.port) as peer:
        await peer.send(TEXT, b'{"content": "mode=slow tokens=100 delay=0.02"}')
        await asyncio.sleep(0.5)
        proxy.stall()
        while server_connections(server):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    await proxy.close()


def server_connections(server: Server) -> int:
    """Connections that the server has, but for the healthy client's."""
    return connections_on(server.port) - 1


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        silence,
        slow_headers,
        endless_header,
        slow_body,
        endless_body,
        ping_flood,
        fragments,
        message_flood,
        small_flood,
        terabyte_frame,
        no_reader,
        slow_reader,
        half_open,
    )
}


# the healthy client, and the server's memory


async def live(server: Server, result: Result) -> None:
    """Ask for a pong ten times a second."""
    try:
        async with server.connect(headers={"X-Forwarded-For": "198.51.100.1"}) as client:
            await client.ready()
            while True:
                began = time.perf_counter()
                await client.quiet()
                result.latencies.append(time.perf_counter() - began)
                await asyncio.sleep(0.1)
    except AssertionError as error:
        result.healthy = False
        print(str(error)[:500])


async def watch(server: Server, result: Result) -> None:
    while True:
        result.peak = max(result.peak, rss_bytes(server.pid))
        await asyncio.sleep(_LOOK_SECONDS)


async def run(server: Server, attack: Attack) -> Result:
    result = Result()
    async with server.connect() as client:  # what is loaded once is loaded now
        await client.end(await client.ask("say: hello"))
    beside = [asyncio.create_task(live(server, result)), asyncio.create_task(watch(server, result))]
    await asyncio.sleep(1)
    result.before = rss_bytes(server.pid)
    began = time.monotonic()
    with suppress(TimeoutError):
        async with asyncio.timeout(_SECONDS):
            await attack(server)
            result.dropped_after = time.monotonic() - began
    await asyncio.sleep(2)
    result.after = rss_bytes(server.pid)
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    return result


async def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("attacks", nargs="*", choices=[*ATTACKS, []])
    options = parser.parse_args()
    async with AsyncExitStack() as stack:
        provider = stack.enter_context(scripted_process())
        for name in options.attacks or ATTACKS:
            with Server(provider.base_url, environment=_DEFAULTS) as server:
                result = await run(server, ATTACKS[name])
                print(result.line(name), flush=True)


#: The limits as they are by default; the healthy client is another caller.
_DEFAULTS = {
    "TRUSTED_PROXIES": "127.0.0.1",
    "MAX_CONNECTIONS_PER_USER": "10",
    "MAX_CONNECTS_PER_MINUTE": "120",
    "MAX_QUERIES_PER_MINUTE": "30",
    "MAX_FRAMES_PER_SECOND": "50",
}


if __name__ == "__main__":
    asyncio.run(main())
