"""What one connection is sent: its end does not wait for a client that does not read."""

import asyncio

import pytest

from agent.actions import handles
from agent.actor import Access, Actor
from agent.connection.writer import Writer
from agent.live.publish import Live
from agent.protocol.server_frames import Status

pytestmark = pytest.mark.django_db(transaction=True)


class Reader:
    """A socket whose peer reads until `stuck` is set, and then no more."""

    def __init__(self):
        self.sent, self.stuck = [], False
        self.ready, self.blocked = asyncio.Event(), asyncio.Event()

    async def send(self, text):
        if self.stuck:
            self.blocked.set()
            await asyncio.Event().wait()
        self.sent.append(text)
        if '"ready"' in text:
            self.ready.set()


@pytest.fixture
async def reader():
    return Reader()


@pytest.fixture
async def writer(reader):
    handle = await handles.open_session(Live(), Actor(token_id=1), "")
    access = Access(handle.actor, "token", token_id=1)
    writer = Writer(handle, access, reader.send, stream=True, heartbeat=60)
    writer.running = asyncio.create_task(
        writer.run(0, None, lambda view, start: {"type": "welcome"})
    )
    await reader.ready.wait()
    yield writer
    writer.running.cancel()


def status():
    return Status(status="done", content="Done").frame()


async def test_who_signed_out_is_sent_nothing_more_not_even_what_waits(writer, reader):
    writer.send_later(status())
    writer.signed_out()
    writer.send_later(status())
    assert (await writer.running).code == 4401
    assert len(reader.sent) == 2


async def test_who_signed_out_and_does_not_read_is_let_go(writer, reader):
    reader.stuck = True
    writer.send_later(status())
    await reader.blocked.wait()
    writer.signed_out()
    writer.signed_out()  # found twice before the loop came to it
    assert (await writer.running).code == 4401  # 4408 where it waits until the client is too slow
