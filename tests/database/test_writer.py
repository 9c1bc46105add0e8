"""What one connection is sent when messages between processes come late, twice or not at all."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import transaction

from agent.actions import queries, sessions
from agent.actions.handles import SessionHandle
from agent.actor import Access, Actor
from agent.connection.writer import Writer
from agent.live.hub import Answer
from agent.live.publish import Live
from agent.protocol import client_frames, server_frames
from agent.store import turn_queue
from agent.store.turn_queue import Lease, Outcome

pytestmark = pytest.mark.django_db(transaction=True)
ELSEWHERE = Lease("agent.elsewhere", 60)


def ask(handle, lease=ELSEWHERE):
    """A query that another process accepted, and whose turn it runs if it has a lease."""
    query = client_frames.Query(type="query", content="hi")
    with transaction.atomic():
        done = queries._accept(handle, query, 20, lease)
    handle._stored = True
    return done


def finish(claimed, text="done"):
    with transaction.atomic():
        change, _ = turn_queue.finish(claimed, Outcome(text, "stop"))
    return change


def text_of(claimed, seq, text, reasoning=""):
    """The texts of a turn as they came from the process that runs it."""
    whole = {"text": text, "reasoning": reasoning, "whole": True}
    return Answer(claimed.turn_id, claimed.attempt, "", ELSEWHERE.worker, seq, **whole)


class Connection:
    def __init__(self, handle, *, stream=True):
        self.frames, self.news = [], asyncio.Event()
        access = Access(handle.actor)
        self.writer = Writer(handle, access, self._send, stream=stream, heartbeat=0.3)

    async def _send(self, text):
        self.frames.append(json.loads(text))
        self.news.set()

    async def until(self, **fields):
        """The first frame with these fields."""
        async with asyncio.timeout(20):
            while True:
                for frame in self.frames:
                    if fields.items() <= frame.items():
                        return frame
                self.news.clear()
                await self.news.wait()

    async def rest(self):
        """Wait until the feed has nothing else to send."""
        start = len(self.frames)
        async with asyncio.timeout(20):
            while not any(frame["type"] == "ping" for frame in self.frames[start:]):
                self.news.clear()
                await self.news.wait()

    def of(self, kind):
        return [frame for frame in self.frames if frame["type"] == kind]

    @property
    def statuses(self):
        return [frame["status"] for frame in self.of("status")]


@asynccontextmanager
async def connected(handle, last_seq=0, *, stream=True):
    connection = Connection(handle, stream=stream)
    welcome = lambda view, start: {"type": "notification", "event": "connected"}  # noqa: E731
    running = asyncio.create_task(connection.writer.run(last_seq, None, welcome))
    connection.running = running
    try:
        await connection.until(status="ready")
        yield connection
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def handle():
    return SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False)


def in_thread(function, *arguments):
    """Database work beside the event loop."""
    return asyncio.to_thread(_with_own_connection, function, *arguments)


def _with_own_connection(function, *arguments):
    from django.db import connection

    try:
        return function(*arguments)
    finally:
        connection.close()


async def test_a_position_that_comes_after_the_start_is_not_told(handle):
    done = await in_thread(ask, handle)
    turn = done.turn_id
    async with connected(handle) as client:
        handle.topic.apply(1, [], [server_frames.thinking(turn, 1, "")])
        await client.until(status="thinking")
        late = server_frames.Status(status="queued", content="Waiting", turn=turn, position=1)
        handle.topic.apply(1, [], [late.frame()])
        await client.rest()
        assert client.statuses == ["thinking", "ready"]


async def test_a_restart_that_is_told_twice_is_sent_once(handle):
    done = await in_thread(ask, handle)
    async with connected(handle) as client:
        status = {"status": "restarted", "turn": str(done.turn_id), "attempt": 2, "content": ""}
        for _ in range(2):
            handle.topic.apply(1, [], [{"type": "status", **status}])
        await client.rest()
        assert client.statuses == ["thinking", "ready", "restarted"]


async def test_a_text_that_begins_anew_holds_nobody_up(handle):
    done = await in_thread(ask, handle)
    mine = handle.topic
    mine.begin(text_of(done.claimed, 1, "a long text"))
    async with connected(handle) as client:
        mine.wake()
        await client.until(type="delta", content="a long text")
        mine.answer = text_of(done.claimed, 1, "a long")
        mine.wake()
        await client.rest()
        mine.answer.text = "a long text and more"
        mine.wake()
        assert (await client.until(type="delta", content=" and more"))["first"] == 11


async def test_who_comes_after_an_end_that_nobody_here_heard_of_sees_no_deltas_of_it(handle):
    done = await in_thread(ask, handle)
    mine = handle.topic
    async with connected(handle) as first:
        mine.begin(text_of(done.claimed, 1, "half"))
        mine.wake()
        await first.until(type="delta")
        await in_thread(finish, done.claimed)  # its message was lost
        async with connected(handle, last_seq=2) as second:
            await second.rest()
            assert second.of("delta") == []
            assert second.statuses == ["ready"]
            await first.until(type="response")


async def test_steps_and_texts_of_a_turn_that_ended_before_one_came_are_late(handle):
    done = await in_thread(ask, handle)
    await in_thread(finish, done.claimed)
    mine = handle.topic
    async with connected(handle, last_seq=2) as client:
        late = server_frames.thinking(done.turn_id, 1, "")
        mine.apply(1, [], [late])
        mine.begin(text_of(done.claimed, 1, "half"))
        mine.wake()
        await client.rest()
        assert client.statuses == ["ready"]
        assert client.of("delta") == []


async def test_the_text_of_another_turn_is_not_taken_for_the_running_ones(handle):
    old = await in_thread(ask, handle)
    mine = handle.topic
    mine.begin(text_of(old.claimed, 1, "old"))
    await in_thread(finish, old.claimed)
    new = await in_thread(ask, handle)

    async with connected(handle, last_seq=3) as client:
        await client.rest()  # the running turn's process does not answer
        assert client.of("delta") == []
        mine.begin(text_of(new.claimed, 3, "new"))
        mine.begin(text_of(old.claimed, 1, "old"))  # that came late
        mine.wake()
        await client.until(type="delta", content="new")
        await client.rest()
        assert client.statuses == ["thinking", "ready"]
        assert len(client.of("delta")) == 1


async def test_text_that_comes_after_ready_begins_with_a_snapshot(handle):
    done = await in_thread(ask, handle)
    async with connected(handle) as client:  # the running turn's process does not answer
        mine = handle.topic
        mine.begin(text_of(done.claimed, 1, "so far"))
        mine.wake()
        assert (await client.until(type="delta"))["snapshot"] is True
        mine.answer.text += " and more"
        mine.wake()
        assert "snapshot" not in await client.until(type="delta", content=" and more")


async def test_reasoning_comes_before_the_answer_with_an_index_of_its_own(handle):
    done = await in_thread(ask, handle)
    mine = handle.topic
    async with connected(handle) as client:
        answer = mine.begin(text_of(done.claimed, 1, "", reasoning="Let me"))
        mine.wake()
        await client.until(type="reasoning", content="Let me")
        answer.reasoning, answer.text = "Let me see.", "It is"
        mine.wake()
        await client.until(type="delta", content="It is")
        answer.text = "It is 42."
        mine.wake()
        await client.until(type="delta", content=" 42.")
        growth = [frame for frame in client.frames if "attempt" in frame and "first" in frame]
        assert [(f["type"], f["first"], f["index"]) for f in growth] == [
            ("reasoning", 0, 5),
            ("reasoning", 6, 10),
            ("delta", 0, 4),
            ("delta", 5, 8),
        ]
        assert {(f["turn"], f["attempt"]) for f in growth} == {(str(done.turn_id), 1)}


async def test_who_resumes_gets_a_snapshot_of_both_texts_before_ready(handle):
    done = await in_thread(ask, handle)
    mine = handle.topic
    mine.begin(text_of(done.claimed, 1, "It is", reasoning="Let me see."))
    async with connected(handle) as client:
        *_, thinking, reasoning, delta, ready = client.frames[
            : 1 + client.frames.index(await client.until(status="ready"))
        ]
        assert (thinking["status"], ready["status"]) == ("thinking", "ready")
        assert (reasoning["type"], reasoning["content"]) == ("reasoning", "Let me see.")
        assert (delta["type"], delta["content"]) == ("delta", "It is")
        assert [(f["first"], f["snapshot"]) for f in (reasoning, delta)] == [(0, True)] * 2
        client.writer.rewind(1, server_frames.Status(status="done", content="Done").frame())
        await client.until(status="done")
        await client.rest()
        assert [f["snapshot"] for f in client.of("reasoning")] == [True, True]


async def test_a_higher_attempt_begins_both_texts_anew(handle):
    done = await in_thread(ask, handle)
    mine = handle.topic
    async with connected(handle) as client:
        mine.begin(text_of(done.claimed, 1, "old", reasoning="old"))
        mine.wake()
        await client.until(type="delta", content="old")
        again = replace(text_of(done.claimed, 1, "new", reasoning="newer"), attempt=2)
        mine.begin(again)
        mine.wake()
        reasoning = await client.until(type="reasoning", attempt=2)
        delta = await client.until(type="delta", attempt=2)
        assert (reasoning["first"], reasoning["content"]) == (0, "newer")
        assert (delta["first"], delta["content"]) == (0, "new")


async def test_who_wants_no_deltas_gets_no_reasoning(handle):
    done = await in_thread(ask, handle)
    mine = handle.topic
    mine.begin(text_of(done.claimed, 1, "It is", reasoning="Let me see."))
    async with connected(handle, stream=False) as client:
        mine.answer.reasoning += " So"
        mine.wake()
        await client.rest()
        assert client.of("reasoning") == client.of("delta") == []


async def test_no_reasoning_comes_after_the_end(handle):
    done = await in_thread(ask, handle)
    mine = handle.topic
    async with connected(handle) as client:
        mine.begin(text_of(done.claimed, 1, "", reasoning="Let me"))
        change = await in_thread(finish, done.claimed)
        mine.apply(change.seq, change.frames, [])
        await client.until(type="response")
        mine.begin(text_of(done.claimed, 1, "", reasoning="Let me see"))
        mine.wake()
        await client.rest()
        kinds = [frame["type"] for frame in client.frames]
        assert "reasoning" not in kinds[kinds.index("response") :]


def close(handle):
    with transaction.atomic():
        return queries._close(handle)


async def test_a_session_that_was_closed_ends_connections_whatever_was_told_in_it_since(handle):
    done = await in_thread(ask, handle)
    await in_thread(finish, done.claimed)
    async with connected(handle, last_seq=2) as client:
        await in_thread(close, handle)
        await sessions.rename(handle, "told before the connection hears of the end")
        closed = await asyncio.wait_for(client.running, 20)
        assert (closed.code, closed.reason) == (1000, "Session closed")
        assert client.frames[-1]["event"] == "closed"


async def test_a_session_that_was_opened_again_keeps_its_connections(handle):
    done = await in_thread(ask, handle)
    await in_thread(finish, done.claimed)
    async with connected(handle, last_seq=2) as client:
        await in_thread(close, handle)
        again = await in_thread(ask, handle)
        change = await in_thread(finish, again.claimed, "open")
        handle.topic.apply(change.seq, change.frames, [])
        await client.until(type="response", content="open")
        await client.rest()
        assert not client.running.done()


async def test_an_end_within_a_replay_that_was_asked_for_ends_the_connection(handle):
    done = await in_thread(ask, handle)
    await in_thread(finish, done.claimed)
    async with connected(handle, last_seq=2) as client:
        await in_thread(close, handle)
        client.writer.rewind(1, server_frames.Status(status="done", content="Done").frame())
        assert (await asyncio.wait_for(client.running, 20)).code == 1000
    async with connected(handle, last_seq=2) as later:  # which knew it when it came
        await later.rest()
        assert not later.running.done()


async def test_who_comes_while_a_part_fails_is_told_so(handle):
    handle.live.degraded("redis", failing=True)
    try:
        async with connected(handle) as client:
            assert (await client.until(event="degraded"))["part"] == "redis"
            assert client.statuses == ["ready"]
            handle.live.degraded("redis", failing=False)
            await client.until(event="degraded", level="success")
    finally:
        handle.live.degraded("redis", failing=False)
    async with connected(handle) as client:
        await client.rest()
        assert not [frame for frame in client.frames if frame.get("event") == "degraded"]


async def test_a_hole_before_the_last_message_is_read_from_the_rows(handle):
    done = await in_thread(ask, handle)
    async with connected(handle, last_seq=1) as client:
        change = await in_thread(finish, done.claimed)
        handle.topic.apply(change.seq, [], [])  # only the number came
        assert (await client.until(type="response"))["seq"] == 2
        handle.topic.apply(change.seq, change.frames, [])  # and late, the frame
        await client.rest()
        assert len(client.of("response")) == 1


async def test_a_receipt_that_comes_after_the_end_says_so(handle):
    done = await in_thread(ask, handle)
    async with connected(handle) as client:
        change = await in_thread(finish, done.claimed)
        handle.topic.apply(change.seq, change.frames, [])
        await client.until(type="response")
        received = server_frames.Status(
            status="received", content="Received", turn=done.turn_id, seq=1, state="running"
        )
        client.writer.send_later(received.frame(), after_seq=1)
        assert (await client.until(status="received"))["state"] == "ended"
