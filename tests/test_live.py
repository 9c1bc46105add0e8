"""The way between processes, over a real Redis, with another process played by the test."""

import asyncio
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

import pytest
from channels.layers import channel_layers, get_channel_layer
from redis.exceptions import ConnectionError

from agent.actor import Actor
from agent.live import broker, cancellation, publish
from agent.live.hub import Answer, group
from agent.store.sequence import Change
from agent.worker import maintenance

from .chaos.proxy import Proxy
from .services import HOST, Redis

pytestmark = pytest.mark.redis
OTHER = "agent.other"


class Listener:
    def __init__(self):
        self.told, self.changed, self.owner = [], asyncio.Event(), None

    def wake(self):
        self.changed.set()

    def grew(self):
        self.changed.set()

    def tell(self, seq, frame):
        self.told.append((seq, frame))
        self.changed.set()

    def gone(self):
        self.is_gone = True

    def owner_without_row(self):
        return self.owner


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def relaying(settings, redis_url):
    """The relay of this event loop, running as the worker runs it."""
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [redis_url]},
        }
    }
    way = broker.current()
    assert way.shared
    steps = (way.run, way.receive, way.keep_joined)
    loops = [asyncio.create_task(maintenance.forever(step)) for step in steps]
    await asyncio.sleep(0)
    try:
        yield way
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await get_channel_layer().flush()
        channel_layers.backends.clear()


@pytest.fixture
async def way(settings, redis_url):
    async with relaying(settings, redis_url) as mine:
        yield mine


@pytest.fixture
async def session(way):
    """A session that a connection of this process listens to."""
    mine = group(uuid4())
    mine.listener = Listener()
    mine.listeners.add(mine.listener)
    await until(lambda: broker.PROCESS in get_channel_layer().channels)
    await way.join(mine.session_id)
    return mine


def frame(seq, kind="query", turn="t"):
    return {"type": kind, "seq": seq, "turn": turn, "content": "x"}


async def hear(session, **message):
    """Send what another process would."""
    whole = {
        "type": "session",
        "from": OTHER,
        "session": session.session_id.hex,
        "seq": 0,
        "frames": [],
        "statuses": [],
        **message,
    }
    await get_channel_layer().group_send(broker.group_name(session.session_id), whole)


def text(turn, start, piece, attempt=1):
    return [turn.hex, attempt, "", OTHER, 1, start, piece]


async def other_process(session):
    """A mailbox of another process in the session's group."""
    layer = get_channel_layer()
    received = []

    async def read():
        while True:
            received.append(await layer.receive(OTHER))

    task = asyncio.create_task(read())
    await until(lambda: OTHER in layer.channels)
    await layer.group_add(broker.group_name(session.session_id), OTHER)
    return received, task


async def test_a_commit_reaches_other_processes_once_and_not_oneself_again(session):
    received, task = await other_process(session)
    status = {"type": "status", "status": "queued"}
    publish.publish(Change(session.session_id, 1, [frame(1)], [status]))
    assert session.listener.told == [(1, status)]
    await until(lambda: received)
    assert received[0]["frames"] == [frame(1)]
    assert received[0]["statuses"] == [[1, status]]
    await hear(session, seq=2, frames=[frame(2)])  # later than our own, which came back
    await until(lambda: session.last_seq == 2)
    assert session.listener.told == [(1, status)]
    task.cancel()


async def test_what_other_processes_commit_is_told_here(session):
    await hear(session, seq=3, frames=[frame(3)], statuses=[[3, {"status": "thinking"}]])
    await until(lambda: session.listener.told)
    assert session.recent(3) == frame(3)
    assert session.listener.told == [(3, {"status": "thinking"})]


async def test_pieces_of_an_answer_are_put_together_and_repetitions_ignored(session):
    turn = uuid4()
    await hear(session, text=text(turn, 0, "Hello "))
    await hear(session, text=text(turn, 0, "Hello "))
    await hear(session, text=text(turn, 3, "lo wor"))
    await hear(session, text=text(turn, 9, "ld"))
    await until(lambda: session.answer and session.answer.text == "Hello world")
    assert session.answer.whole


async def test_a_hole_is_healed_by_asking_the_process_that_runs_the_turn(session):
    received, task = await other_process(session)
    turn = uuid4()
    await hear(session, text=text(turn, 6, "world"))
    asked = {"type": "text", "session": session.session_id.hex}
    await until(lambda: asked in received)
    assert session.answer.text == ""
    assert not session.answer.whole
    await hear(session, text=text(turn, 0, "Hello world"))
    await until(lambda: session.answer.text == "Hello world")
    task.cancel()


async def test_who_asks_for_the_text_gets_all_of_it(session):
    received, task = await other_process(session)
    answer = Answer(uuid4(), 1, "q1", broker.PROCESS, 1, whole=True)
    session.begin(answer)
    for piece in ("Hello ", "world"):
        answer.text += piece
        publish.grown(session, answer)
    await until(lambda: answer.relayed == 11)
    await get_channel_layer().send(
        broker.PROCESS, {"type": "text", "session": session.session_id.hex}
    )
    await until(lambda: [m for m in received if m.get("text", [0] * 7)[6] == "Hello world"])
    task.cancel()


def thought(start, content):
    return {"start": start, "content": content}


async def test_reasoning_is_put_together_beside_the_text(session):
    turn = uuid4()
    await hear(session, text=text(turn, 0, ""), reasoning=thought(0, "Let "))
    await hear(session, text=text(turn, 0, ""), reasoning=thought(2, "t me"))
    await until(lambda: session.answer and session.answer.reasoning == "Let me")
    assert session.answer.whole
    await hear(session, text=text(turn, 0, "It is"), reasoning=thought(6, " see"))
    await hear(session, text=text(turn, 5, " 42"), reasoning=thought(10, ""))
    await until(lambda: session.answer.text == "It is 42")
    assert session.answer.reasoning == "Let me see"


async def test_a_process_of_an_older_version_tells_of_text_alone(session):
    await hear(session, text=text(uuid4(), 0, "Hello"))
    await until(lambda: session.answer and session.answer.text == "Hello")
    assert session.answer.reasoning == ""


async def test_reasoning_that_was_missed_is_asked_for_as_text_is(session):
    received, task = await other_process(session)
    turn = uuid4()
    await hear(session, text=text(turn, 0, "It is"), reasoning=thought(4, ""))
    asked = {"type": "text", "session": session.session_id.hex}
    await until(lambda: asked in received)
    assert not session.answer.whole
    await hear(session, text=text(turn, 0, "It is"), reasoning=thought(0, "Hmmm"))
    await until(lambda: session.answer.whole)
    assert (session.answer.text, session.answer.reasoning) == ("It is", "Hmmm")
    task.cancel()


async def test_what_is_told_of_a_growing_answer_can_be_read_by_older_processes_too(session):
    received, task = await other_process(session)
    answer = Answer(uuid4(), 1, "q1", broker.PROCESS, 1, whole=True)
    session.begin(answer)
    answer.reasoning = "Hmm"
    publish.grown(session, answer)
    await until(lambda: answer.relayed_reasoning == 3)
    answer.text = "Hello"
    publish.grown(session, answer)
    await until(lambda: answer.relayed == 5)
    await get_channel_layer().send(
        broker.PROCESS, {"type": "text", "session": session.session_id.hex}
    )
    head = [answer.turn_id.hex, 1, "q1", broker.PROCESS, 1]
    expected = [
        ([*head, 0, ""], thought(0, "Hmm")),
        ([*head, 0, "Hello"], thought(3, "")),
        ([*head, 0, "Hello"], thought(0, "Hmm")),  # to who asked for all
    ]
    await until(lambda: len(received) == len(expected))
    assert [(m["text"], m["reasoning"]) for m in received] == expected
    task.cancel()


async def test_an_end_that_comes_with_text_ends_the_answer(session):
    turn = uuid4()
    await hear(session, text=text(turn, 0, "Hi"))
    await hear(session, seq=2, text=text(turn, 2, "!"), frames=[frame(2, "response", str(turn))])
    await until(lambda: session.last_seq == 2)
    assert session.answer is None
    await hear(session, text=text(turn, 0, "Hi!"))
    await hear(session, seq=3)
    await until(lambda: session.last_seq == 3)
    assert session.answer is None


async def test_who_is_connected_is_added_up_over_the_processes_that_answer(session):
    received, task = await other_process(session)
    asking = asyncio.create_task(publish.presence(session.session_id))
    await until(lambda: received)
    assert (received[0]["type"], received[0]["from"]) == ("who", broker.PROCESS)
    layer, question = get_channel_layer(), received[0]["question"]
    owner = {"user_id": None, "visitor": "v", "session_id": uuid4().hex, "token_id": None}
    for answer in ({"connections": 2, "owner": owner}, {"connections": 3, "owner": None}):
        await layer.send(broker.PROCESS, {"type": "here", "question": question, **answer})
    late = {"type": "here", "question": "another", "connections": 50, "owner": None}
    await layer.send(broker.PROCESS, late)
    found = await asking
    assert found.connections == 6  # one of them here
    assert found.owner == Actor(visitor="v", session_id=UUID(owner["session_id"]))
    task.cancel()


async def test_a_process_with_connections_says_so_to_who_asks(session):
    session.listener.owner = Actor(session_id=session.session_id)
    received, task = await other_process(session)
    who = {"type": "who", "from": OTHER, "session": session.session_id.hex, "question": "q"}
    await get_channel_layer().group_send(broker.group_name(session.session_id), who)
    await until(lambda: any(message["type"] == "here" for message in received))
    answer = next(message for message in received if message["type"] == "here")
    assert (answer["question"], answer["connections"]) == ("q", 1)
    assert answer["owner"]["session_id"] == session.session_id.hex
    task.cancel()


async def test_a_deletion_is_told_to_connections_of_other_processes(session):
    received, task = await other_process(session)
    publish.deleted(session.session_id)
    await until(lambda: received)
    assert received[0] == {"type": "gone", "session": session.session_id.hex}
    session.listener.is_gone = False
    await get_channel_layer().group_send(broker.group_name(session.session_id), received[0])
    await until(lambda: session.listener.is_gone)
    task.cancel()


async def test_a_stop_reaches_the_process_that_runs_the_turn(session):
    turn = uuid4()
    future = cancellation.stoppable(turn)
    await get_channel_layer().send(
        broker.PROCESS, {"type": "stop", "turn": turn.hex, "reason": "cancelled"}
    )
    async with asyncio.timeout(20):
        assert await future == "cancelled"
    received, task = await other_process(session)
    publish.stop(turn, OTHER, "interrupted")
    stop = {"type": "stop", "turn": turn.hex, "reason": "interrupted"}
    await until(lambda: stop in received)
    task.cancel()


async def test_a_frozen_redis_holds_nothing_up_and_is_noticed_and_forgiven(
    way, session, redis_server
):
    redis_server.stop()
    try:
        publish.publish(Change(session.session_id, 1, [frame(1)]))
        assert session.recent(1)  # told here at once
        await until(lambda: way.degraded)
        assert (await publish.presence(session.session_id)).connections == 1  # those here
    finally:
        redis_server.cont()
    await until(lambda: not way.degraded)
    await hear(session, seq=9)
    await until(lambda: session.last_seq == 9)


async def test_after_a_restart_of_redis_the_groups_are_joined_again(way, session, redis_server):
    redis_server.restart(crash=True)
    await until(lambda: not way.degraded)

    async def heard():
        with suppress(ConnectionError):  # of a connection that the restart cut
            await hear(session, seq=7)
        await asyncio.sleep(0.2)
        return session.last_seq == 7

    async with asyncio.timeout(30):
        while not await heard():
            pass


async def test_a_redis_that_vanished_without_a_word_is_connected_to_anew(
    settings, redis_server, monkeypatch
):
    monkeypatch.setattr(broker, "_DEAF_SECONDS", 3.0)
    proxy = Proxy(redis_server.port)
    await proxy.start()
    try:
        async with relaying(settings, f"redis://{HOST}:{proxy.port}") as way:
            mine = group(uuid4())
            listener = Listener()
            mine.listeners.add(listener)
            await until(lambda: broker.PROCESS in get_channel_layer().channels)
            await way.join(mine.session_id)
            proxy.lose()  # both connections are silent from now on, and new ones are not
            await until(lambda: way.degraded)
            await until(lambda: not way.degraded)

            async def heard():
                await hear(mine, seq=7)
                await asyncio.sleep(0.2)
                return mine.last_seq == 7

            async with asyncio.timeout(20):  # `keep_joined` comes round
                while not await heard():
                    pass
    finally:
        await proxy.close()


async def test_a_process_that_starts_without_redis_hears_of_others_when_there_is_one(settings):
    with Redis() as redis:
        async with relaying(settings, redis.url) as way:
            await until(lambda: way.degraded)
            await asyncio.to_thread(redis.start)
            await until(lambda: not way.degraded)
