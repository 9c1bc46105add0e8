"""A WebSocket client that can break every rule: bytes on a TCP connection to a real server."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from tests.support.services import HOST

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

HANDSHAKE = (
    b"GET /ws/agent/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


class Dropped(Exception):
    """The server ended the connection."""


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    masked: bool = True,
    reserved: int = 0,
    length: int | None = None,
) -> bytes:
    """The bytes of one frame.

    Args:
        reserved: the bits RSV1 to RSV3, 0 to 7.
        length: what the header says, where that is not the truth.
    """
    said = len(payload) if length is None else length
    head = bytes([fin << 7 | reserved << 4 | opcode])
    flag = masked << 7
    if said < 126:
        head += bytes([flag | said])
    elif said < 65536:
        head += bytes([flag | 126]) + struct.pack("!H", said)
    else:
        head += bytes([flag | 127]) + struct.pack("!Q", said)
    if not masked:
        return head + payload
    key = os.urandom(4)
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + key + mixed.to_bytes(len(payload), "big")


class Raw:
    """One TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def write(self, data: bytes, seconds: float = 30) -> None:
        """Write, and wait until the kernel has nearly all of it.

        Raises:
            Dropped: the server ended the connection.
            TimeoutError: the server does not read.
        """
        self.writer.write(data)
        try:
            async with asyncio.timeout(seconds):
                await self.writer.drain()
        except ConnectionError:
            raise Dropped from None

    async def send(self, opcode: int, payload: bytes = b"", **how: object) -> None:
        """Write one frame; see `frame`."""
        await self.write(frame(opcode, payload, **how))  # type: ignore[arg-type]

    async def handshake(self, headers: bytes = b"") -> None:
        """Become a WebSocket."""
        await self.write(HANDSHAKE + headers + b"\r\n")
        with _drops():
            answer = await self.reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 101"):
            raise Dropped(answer.decode("latin-1"))

    async def read(self) -> tuple[int, bytes]:
        """The server's next frame: opcode and payload.

        Raises:
            Dropped: there is none any more.
        """
        with _drops():
            first, second = await self.reader.readexactly(2)
            length = second & 127
            if length >= 126:
                size = 2 if length == 126 else 8
                length = int.from_bytes(await self.reader.readexactly(size), "big")
            return first & 15, await self.reader.readexactly(length)

    async def end(self, seconds: float) -> int | None:
        """Read until the server ends the connection; returns its close code, if it sent one.

        Raises:
            TimeoutError: it did not, in so many seconds.
        """
        code = None
        with suppress(Dropped):
            async with asyncio.timeout(seconds):
                while True:
                    opcode, payload = await self.read()
                    if opcode == CLOSE:
                        code = int.from_bytes(payload[:2], "big")
        return code


@contextmanager
def _drops() -> Iterator[None]:
    try:
        yield
    except (ConnectionError, asyncio.IncompleteReadError):
        raise Dropped from None


@asynccontextmanager
async def raw(port: int, *, websocket: bool = True, headers: bytes = b"") -> AsyncIterator[Raw]:
    """Connect, and cut the connection at the end of the block."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=2**24)
    one = Raw(reader, writer)
    try:
        if websocket:
            await one.handshake(headers)
        yield one
    finally:
        writer.transport.abort()
