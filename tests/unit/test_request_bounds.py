"""Neither a body without an end nor an answer that nobody reads is kept."""

import asyncio
import json
from functools import partial
from types import SimpleNamespace

import pytest

from agent.connection import transport
from agent.serving.request_bounds import RequestBounds


async def ask(pieces, headers=(), max_bytes=10):
    """What the application got, and what the client."""
    got, sent = [], []

    async def application(scope, receive, send):
        more = True
        while more:
            message = await receive()
            got.append(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting[-1]["more_body"] = False

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "headers": list(headers)}
    await RequestBounds(application, max_bytes)(scope, receive, send)
    return b"".join(got), sent


async def test_a_body_of_the_allowed_size_comes_through():
    got, sent = await ask([b"01234", b"56789"], [(b"content-length", b"10")])
    assert got == b"0123456789" and sent[0]["status"] == 200


@pytest.mark.parametrize("length", [b"11", b"99999999999999999999", b"", b"5"])
async def test_a_larger_one_is_cut_off_and_answered(length):
    headers = [(b"content-length", length)] if length else []
    got, sent = await ask([b"01234", b"56789", b"!"], headers)
    assert len(got) <= 10
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["error"]["code"] == "too_large"


async def test_an_answer_waits_for_a_reader_of_daphne():
    connection = SimpleNamespace(dataBuffer=b"x" * 2**20, offset=0, _tempDataLen=0)
    sent = []

    async def reply(protocol, message):
        sent.append(message)

    async def application(scope, receive, send):
        await send({"type": "http.response.body", "body": b"more"})

    send = partial(reply, SimpleNamespace(transport=connection))  # as daphne makes it
    asking = RequestBounds(application, 10)({"type": "http", "headers": []}, None, send)
    waiting = asyncio.create_task(asking)
    await asyncio.wait({waiting}, timeout=0.3)
    assert not sent
    connection.dataBuffer = b""
    await waiting
    assert [message["body"] for message in sent] == [b"more"]


class Trickling:
    """A client of daphne that takes so many bytes each time that somebody looks."""

    def __init__(self, bytes_per_look):
        self.bytes_per_look, self.aborted = bytes_per_look, False
        self.dataBuffer, self.offset, self._left = b"", 0, 0

    @property
    def _tempDataLen(self):
        self._left = max(self._left - self.bytes_per_look, 0)
        return self._left

    def abortConnection(self):
        self.aborted = True

    async def reply(self, message):
        self._left += len(message.get("body", b""))


@pytest.mark.parametrize(("bytes_per_look", "cut"), [(1, True), (8000, False)])
async def test_a_response_has_to_be_read_at_some_pace(monkeypatch, bytes_per_look, cut):
    monkeypatch.setattr(transport, "_PACE_SECONDS", 0.5)
    reader = Trickling(bytes_per_look)
    done = []

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 200_000})
        done.append(True)

    async def reply(protocol, message):
        await reader.reply(message)

    send = partial(reply, SimpleNamespace(transport=reader))
    await RequestBounds(application, 10)({"type": "http", "headers": []}, None, send)
    assert (reader.aborted, bool(done)) == (cut, not cut)


async def test_a_large_body_is_sent_in_pieces_that_are_the_same_body():
    body = bytes(range(256)) * 1000
    sent = []

    async def application(scope, receive, send):
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def send(message):
        sent.append(message)

    await RequestBounds(application, 10)({"type": "http", "headers": []}, None, send)
    assert b"".join(message["body"] for message in sent) == body
    assert [message["more_body"] for message in sent] == [True] * (len(sent) - 1) + [False]
    assert max(len(message["body"]) for message in sent) <= 65536
