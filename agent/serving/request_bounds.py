"""Bounds of a plain HTTP request: its body, its response, and how many are unfinished at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import structlog

from agent.access.limits import REQUEST_SLOTS, WAIT_SECONDS, address_of
from agent.actions import export
from agent.connection import transport
from agent.errors import AgentError, RateLimited, TooLarge
from agent.worker import runtime

log = structlog.get_logger(__name__)

#: Of a response that is sent in one go.
_PART_BYTES = 64 * 1024


class RequestBounds:
    """ASGI middleware: it keeps neither a body without an end nor a response that is not read.

    Django writes bodies to a file before it looks at their size, and servers buffer whatever they
    are given to send. An address has a bounded number of unfinished requests; a request is finished
    when its client has taken the response, which it has to do at some pace.

    Args:
        application: gets the requests.
        max_bytes: of a request's body.
    """

    def __init__(self, application: Any, max_bytes: int) -> None:
        self._application, self._max_bytes = application, max_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        length = dict(scope["headers"]).get(b"content-length", b"")
        left = self._max_bytes - (int(length) if length.isdigit() else 0)
        if left < 0:
            await _refuse_body(send)
            return

        address, slots = address_of(scope), []
        try:
            if not runtime.current().addresses.is_proxy(address):
                limits = runtime.current().limits
                slots.append(await limits.request("address", address, WAIT_SECONDS))
        except RateLimited as error:
            await _refuse(send, 429, error)
            return
        try:
            await self._within({**scope, REQUEST_SLOTS: slots}, receive, send)
        finally:
            for slot in slots:
                await runtime.current().limits.end_request(slot)

    async def _within(self, scope: Any, receive: Any, send: Any) -> None:
        left = self._max_bytes

        async def counted() -> Any:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _BodyTooLarge
            return message

        async def paced(message: Any) -> None:
            for part in _parts(message):
                await transport.taken(send)
                await send(part)

        try:
            await self._application(scope, counted, paced)
            await transport.taken(send)
        except _BodyTooLarge:
            await _refuse_body(send)
        except export.Ended as ended:
            log.info("an export was cut off", reason=str(ended))
            transport.abort(send)
            while (await receive())["type"] != "http.disconnect":
                pass
        except transport.TooSlow:
            log.info("a response was not read")


def _parts(message: Any) -> Iterator[Any]:
    """A message of a response in parts, so that each waits until the one before it is taken."""
    body = message.get("body", b"")
    if len(body) <= _PART_BYTES:
        yield message
        return
    for start in range(0, len(body), _PART_BYTES):
        last = start + _PART_BYTES >= len(body)
        more = message.get("more_body", False) or not last
        yield {**message, "body": body[start : start + _PART_BYTES], "more_body": more}


class _BodyTooLarge(Exception):
    pass


async def _refuse_body(send: Any) -> None:
    await _refuse(send, 413, TooLarge("This body is too large. Send a smaller one."))


async def _refuse(send: Any, status: int, error: AgentError) -> None:
    body = json.dumps({"error": {"code": error.code, "message": error.message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(body)).encode()))
    if error.retry_after is not None:
        headers.append((b"retry-after", str(math.ceil(error.retry_after)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
