"""A TCP proxy whose connections can be cut, slowed down and stalled. It knows only bytes."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from tests.support.services import HOST, free_port

_CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on `port` and passes what comes to `target_port`.

    Attributes:
        delay_seconds: how long each piece is held back, in both directions.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = free_port()
        self.delay_seconds = 0.0
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, self.port, backlog=1024)

    async def close(self) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # faults

    def cut(self) -> None:
        """Reset all connections, on both sides."""
        for writer in list(self._writers):
            _reset(writer)

    def stall(self) -> None:
        """Pass nothing on, and close nothing, until `flow`."""
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    def lose(self) -> None:
        """Pass nothing more of the connections that there are; close none, and take new ones."""
        self.stall()
        self._flows = asyncio.Event()
        self.flow()

    # passing on

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._pass(reader, writer)
        except (OSError, asyncio.CancelledError):
            _reset(writer)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection(HOST, self.target_port)
        self._writers.add(their_writer)
        ways = [
            asyncio.create_task(self._pump(reader, their_writer, self._flows)),
            asyncio.create_task(self._pump(their_reader, writer, self._flows)),
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if any(way.exception() for way in done):  # a reset goes through as one
                _reset(their_writer)
                _reset(writer)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._writers.discard(their_writer)
            their_writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK):
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            await flows.wait()
            writer.write(data)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    peer = writer.get_extra_info("socket")
    with suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
