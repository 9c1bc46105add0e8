"""Clients that cost little: WebSockets by hand, which look at the first bytes of a frame."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from typing import Any
from urllib.parse import urlsplit

_REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_DELTA, _END, _ERROR = b'{"type":"delta"', b'{"type":"response"', b'{"type":"error"'
_READY = b'"status":"ready"'


class Failed(Exception):
    """A server answered with an error, or ended a connection."""


class Client(asyncio.Protocol):
    """One connection. Measures its answers in seconds.

    `frames` and `bytes_in` count what came; `first` and `deltas` are of the newest answer.
    """

    def __init__(self, address: str, *, says_ready: bool) -> None:
        self._address = urlsplit(address)
        self._says_ready = says_ready
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._data = b""
        self._is_open = False
        self.frames = self.bytes_in = self._asked = 0
        self.first = self._asked_at = 0.0
        self.lags: list[float] | None = None  # of each delta, where they are wanted
        self._pace = 0.0
        self.session = ""

    @classmethod
    async def connect(cls, address: str, *, says_ready: bool) -> Client:
        """A connection on which a question may be asked."""
        loop = asyncio.get_running_loop()
        parts = urlsplit(address)
        _, client = await loop.create_connection(
            lambda: cls(address, says_ready=says_ready), parts.hostname or "", parts.port or 80
        )
        await client.ready
        return client

    async def ask(self, content: str, pace: float = 0.0) -> float:
        """Ask, and wait for the end of the answer; returns how long the first delta took.

        Args:
            content: the question.
            pace: seconds between two tokens, for `lags`.
        """
        self._ended = asyncio.get_running_loop().create_future()
        self.first, self._pace, self._asked_at = 0.0, pace, time.perf_counter()
        self._asked += 1
        query = {"type": "query", "content": content, "id": f"q{self._asked}"}
        self._send(json.dumps(query).encode())
        await self._ended
        return self.first

    def close(self) -> None:
        self._transport.abort()

    # the protocol

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        path = self._address.path + (f"?{self._address.query}" if self._address.query else "")
        transport.write(_REQUEST.format(path=path, host=self._address.netloc).encode())

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self.ready, self._ended):
            if not future.done():
                future.set_exception(Failed("the connection ended"))
                future.exception()

    def data_received(self, data: bytes) -> None:
        self.bytes_in += len(data)
        data = self._data + data
        if not self._is_open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._data = head
                return
            if b" 101 " not in head[:20]:
                raise Failed(head.decode(errors="replace"))
            self._is_open = True
            if not self._says_ready:
                self.ready.set_result(None)
        at, size = 0, len(data)
        while size - at >= 2:
            length, start = data[at + 1] & 127, at + 2
            if length == 126:
                length, start = (
                    (data[at + 2] << 8 | data[at + 3] if size - at >= 4 else size),
                    at + 4,
                )
            elif length == 127:
                enough = size - at >= 10
                length = struct.unpack_from("!Q", data, at + 2)[0] if enough else size
                start = at + 10
            if start + length > size:
                break
            self._frame(data[at] & 15, data[start : start + length])
            at = start + length
        self._data = data[at:]

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind == _PING:
            self._write(_PONG, payload)
        elif kind == _CLOSE:
            self._transport.close()
        elif kind == _TEXT:
            self._text(payload)

    def _text(self, payload: bytes) -> None:
        self.frames += 1
        start = payload[:24].replace(b'": "', b'":"')  # some servers write blanks
        if start.startswith(_DELTA):
            if not self.first:
                self.first = time.perf_counter() - self._asked_at
            if self.lags is not None:
                self._note_lag(payload)
        elif start.startswith(_END):
            if not self._ended.done():
                self._ended.set_result(None)
        elif start.startswith(_ERROR):
            failed = Failed(payload.decode(errors="replace"))
            future = self._ended if self.ready.done() else self.ready
            if not future.done():
                future.set_exception(failed)
        elif not self.ready.done():
            if not self.session and (at := payload.find(b'"session":"')) > 0:
                self.session = payload[at + 11 : at + 47].decode()
            if _READY in payload:
                self.ready.set_result(None)

    def _note_lag(self, payload: bytes) -> None:
        """How late a delta is: the newest of its tokens, at six characters each."""
        assert self.lags is not None
        if not self.lags:
            self._tokens = 0
        at = payload.find(b'"index":')
        if at > 0:
            self._tokens = (int(payload[at + 8 : payload.index(b",", at)]) + 1) // 6
        else:
            self._tokens += 1
        due = self.first + (self._tokens - 1) * self._pace
        self.lags.append(time.perf_counter() - self._asked_at - due)

    def _send(self, payload: bytes) -> None:
        self._write(_TEXT, payload)

    def _write(self, kind: int, payload: bytes) -> None:
        """One frame. Its mask is zero, so that masking changes nothing."""
        size = len(payload)
        length = bytes([128 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
        self._transport.write(bytes([128 | kind]) + length + bytes(4) + payload)
