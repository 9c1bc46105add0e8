"""Recorded answers of providers, and a little server that plays one. See tests/unit/provider_cases.

A case is a JSON file:

    server      whose answer it is, with a version where it matters
    source      where it was seen
    about       what is special about it
    base_url    path and query of the base URL; default: /v1
    settings    arguments of Provider beside the defaults: temperature, reasoning_effort ...
    system      a system prompt is sent, too
    refuses     a regular expression: a request whose JSON matches gets `refusal` instead
    refusal     a response (see below) with status 400
    responses   one for each request; the last one is repeated
    becomes     what our provider makes of it; each field that is absent is not looked at

A response has `status` (200), `headers`, and either `body` (a text as it is, or JSON) or `events`:
an object is one event's JSON, a text is written as it is, a number waits for so many seconds.

`becomes` has `text`, `reasoning`, `finish_reason`, `usage` (the last one's fields), `sources`, or
`error` (its code) with `text` so far, `retryable`, `retry_after`, `says` (a part of its words),
`status`; and `requests` (how many there were), `sent` (fields of the last request's body; null for
absent), `logged` (a part of the log) and `not_logged`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.support import ROOT

DIRECTORY = ROOT / "tests" / "unit" / "provider_cases"

_REQUEST = re.compile(rb"\w+ (\S+) HTTP/1.1\r\n(.*)\r\n\r\n\Z", re.DOTALL)


@dataclass
class CaseServer:
    """Plays the responses of one case; `requests` are the bodies, `paths` the targets so far."""

    case: dict[str, Any]
    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.case.get('base_url', '/v1')}"

    def _response(self, body: dict[str, Any]) -> dict[str, Any]:
        refuses = self.case.get("refuses")
        if refuses and re.search(refuses, json.dumps(body)):
            return {"status": 400, **self.case["refusal"]}
        answered = sum(1 for one in self.requests if not _matches(refuses, one)) - 1
        responses: list[dict[str, Any]] = self.case["responses"]
        return responses[min(answered, len(responses) - 1)]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            match = _REQUEST.match(head)
            assert match
            lines = [line.split(": ", 1) for line in match[2].decode().split("\r\n")]
            headers = {name.lower(): value for name, value in lines}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            self.requests.append(body)
            self.paths.append(match[1].decode())
            self.headers.append(headers)
            for part in _parts(self._response(body)):
                if isinstance(part, bytes):
                    writer.write(part)
                    await writer.drain()
                else:
                    await asyncio.sleep(part)
        writer.close()


def _matches(pattern: str | None, body: dict[str, Any]) -> bool:
    return bool(pattern and re.search(pattern, json.dumps(body)))


def _parts(response: dict[str, Any]) -> Iterator[bytes | float]:
    """The bytes of a response, and the waits between them."""
    is_stream = "events" in response
    kind = "text/event-stream" if is_stream else "application/json"
    headers = {"Content-Type": kind, "Connection": "close", **response.get("headers", {})}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    head = "\r\n".join([f"HTTP/1.1 {response.get('status', 200)} Any", *lines])
    yield f"{head}\r\n\r\n".encode()
    if not is_stream:
        body = response.get("body", "")
        yield (body if isinstance(body, str) else json.dumps(body)).encode()
    for event in response.get("events", []):
        if isinstance(event, int | float):
            yield float(event)
        else:
            yield (event if isinstance(event, str) else f"data: {json.dumps(event)}\n\n").encode()


@asynccontextmanager
async def case_server(case: dict[str, Any]) -> AsyncIterator[CaseServer]:
    """A running server for a case."""
    playing = CaseServer(case)
    server = await asyncio.start_server(playing.answer, "127.0.0.1", 0, limit=2**22)
    playing.port = server.sockets[0].getsockname()[1]
    try:
        yield playing
    finally:
        server.close()
