"""A provider that costs little: it answers `tokens=N delay=SECONDS first=SECONDS` of the question.

    python -m bench.provider PORT

All answers are written from one clock, so that a thousand of them wake the process some hundred
times a second. `tests.support.scripted_provider` can do far more, and costs more.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import dataclass
from typing import Any

import uvloop

#: The distance of two looks at the clock.
_BEAT_SECONDS = 0.0025
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_WORD = re.compile(rb"(tokens|delay|first)=([0-9.]+)")


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(event), event)


def _event(fields: object) -> bytes:
    return _chunk(b"data: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n")


def _delta(text: str, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return _event(
        {
            "id": "gen-1790000000-abcdefghijklmnop",
            "provider": "Bench",
            "model": "bench/model",
            "object": "chat.completion.chunk",
            "created": 1790000000,
            "choices": [choice],
        }
    )


_TOKEN = _delta("token ")
_END = (
    _delta("", "stop")
    + _event(
        {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 100, "cost": 0.001}}
    )
    + _chunk(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


@dataclass(slots=True)
class _Answer:
    transport: Any
    left: int
    delay: float
    due: float


class _Clock:
    """Writes the tokens of all answers that are due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answers: list[_Answer] = []
        self._beat()

    def add(self, answer: _Answer) -> None:
        self._answers.append(answer)

    def _beat(self) -> None:
        now, going = self._loop.time(), []
        for answer in self._answers:
            data = b""
            while answer.left and answer.due <= now:
                data += _TOKEN
                answer.left -= 1
                answer.due += answer.delay
            if not answer.left:
                data += _END
            if not answer.transport.is_closing():
                if data:
                    answer.transport.write(data)
                if answer.left:
                    going.append(answer)
        self._answers = going
        self._loop.call_later(_BEAT_SECONDS, self._beat)


class _Connection(asyncio.Protocol):
    def __init__(self, clock: _Clock) -> None:
        self._clock, self._data = clock, b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if length and len(body) < int(length[1]):
            return
        self._data = b""
        question = json.loads(body)["messages"][-1]["content"].encode()
        words = dict(_WORD.findall(question))
        self._transport.write(_HEAD)
        first = float(words.get(b"first", b"0"))
        self._clock.add(
            _Answer(
                self._transport,
                int(words.get(b"tokens", b"1")),
                float(words.get(b"delay", b"0")),
                asyncio.get_running_loop().time() + first,
            )
        )


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    clock = _Clock(loop)
    server = await loop.create_server(lambda: _Connection(clock), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
