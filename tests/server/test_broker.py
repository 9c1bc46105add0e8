"""The way between processes, over a real Redis, with another process played by the test."""

import asyncio
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import pytest
from channels.layers import channel_layers, get_channel_layer
from django.db import connection
from redis.exceptions import ConnectionError

from agent.actor import Actor
from agent.live import broker, messages
from agent.live.hub import Answer
from agent.live.publish import Live, publish_on_commit
from agent.store.sequence import Change, Stop
from agent.worker import maintenance
from tests.chaos.proxy import Proxy
from tests.support.services import HOST, Redis

pytestmark = pytest.mark.redis
OTHER = "agent.other"


class Subscriber:
    def __init__(self):
        self.told, self.changed, self.owner = [], asyncio.Event(), None
        self.deleted = False

    def wake(self):
        self.changed.set()

    def text_appended(self):
        self.changed.set()

    def send_later(self, frame, after_seq=0):
        self.told.append((after_seq, frame))
        self.changed.set()

    def session_deleted(self):
        self.deleted = True

    def owner_without_row(self):
        return self.owner


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(settings, redis_url):
    """The live path of a server process, with its broker's loops running."""
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [redis_url]},
        }
    }
    live = Live()
    way = live.broker
    assert way.shared
    live.serve()
    steps = (way.run, way.receive, way.keep_joined)
    loops = [asyncio.create_task(maintenance.forever(step)) for step in steps]
    await asyncio.sleep(0)
    try:
        yield live
    finally:
        live.retire()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await get_channel_layer().flush()
        channel_layers.backends.clear()


@pytest.fixture
async def live(settings, redis_url):
    async with serving(settings, redis_url) as mine:
        yield mine


@pytest.fixture
async def session(live):
    """A session that a connection of this process listens to."""
    mine = live.hub.topic(uuid4())
    mine.subscriber = Subscriber()
    mine.subscribers.add(mine.subscriber)
    await until(lambda: live.broker.process in get_channel_layer().channels)
    await live.broker.join(mine.session_id)
    return mine


def frame(seq, kind="query", turn="t"):
    return {"type": kind, "seq": seq, "turn": turn, "content": "x"}


async def hear(session, **fields):
    """Send what another process would."""
    message = messages.SessionChanged(sender=OTHER, session_id=session.session_id, **fields)
    await send_all(session, message)


async def send_all(session, message):
    name = broker.topic_name(session.session_id)
    await get_channel_layer().group_send(name, messages.pack(message))


async def send(live, message):
    await get_channel_layer().send(live.broker.process, messages.pack(message))


def text(turn, start, piece, reasoning_start=0, reasoning=""):
    return messages.Growth(
        turn_id=turn,
        attempt=1,
        ref="",
        worker=OTHER,
        seq=1,
        start=start,
        text=piece,
        reasoning_start=reasoning_start,
        reasoning=reasoning,
    )


async def other_process(session):
    """A mailbox of another process in the session's group."""
    layer = get_channel_layer()
    received = []

    async def read():
        while True:
            received.append(messages.unpack(await layer.receive(OTHER)))

    task = asyncio.create_task(read())
    await until(lambda: OTHER in layer.channels)
    await layer.group_add(broker.topic_name(session.session_id), OTHER)
    return received, task


async def test_a_commit_reaches_other_processes_once_and_not_oneself_again(live, session):
    received, task = await other_process(session)
    status = {"type": "status", "status": "queued"}
    live.publish(Change(session.session_id, 1, [frame(1)], [status]))
    assert session.subscriber.told == [(1, status)]
    await until(lambda: received)
    assert received[0].frames == [frame(1)]
    assert received[0].statuses == [(1, status)]
    await hear(session, seq=2, frames=[frame(2)])  # later than our own, which came back
    await until(lambda: session.last_seq == 2)
    assert session.subscriber.told == [(1, status)]
    task.cancel()


async def test_what_other_processes_commit_is_told_here(session):
    await hear(session, seq=3, frames=[frame(3)], statuses=[(3, {"status": "thinking"})])
    await until(lambda: session.subscriber.told)
    assert session.recent(3) == frame(3)
    assert session.subscriber.told == [(3, {"status": "thinking"})]


async def test_pieces_of_an_answer_are_put_together_and_repetitions_ignored(session):
    turn = uuid4()
    await hear(session, growth=text(turn, 0, "Hello "))
    await hear(session, growth=text(turn, 0, "Hello "))
    await hear(session, growth=text(turn, 3, "lo wor"))
    await hear(session, growth=text(turn, 9, "ld"))
    await until(lambda: session.answer and session.answer.text == "Hello world")
    assert session.answer.whole


async def test_a_hole_is_healed_by_asking_the_process_that_runs_the_turn(session):
    received, task = await other_process(session)
    turn = uuid4()
    await hear(session, growth=text(turn, 6, "world"))
    asked = messages.SendWholeText(session_id=session.session_id)
    await until(lambda: asked in received)
    assert session.answer.text == ""
    assert not session.answer.whole
    await hear(session, growth=text(turn, 0, "Hello world"))
    await until(lambda: session.answer.text == "Hello world")
    task.cancel()


def running(live, session):
    """An answer that runs in this process."""
    answer = Answer(uuid4(), 1, "q1", live.broker.process, 1, whole=True)
    session.begin(answer)
    return answer


def growths(received):
    return [(m.growth.start, m.growth.text) for m in received]


async def test_a_process_that_asks_for_the_text_gets_all_of_it(live, session):
    received, task = await other_process(session)
    answer = running(live, session)
    for piece in ("Hello ", "world"):
        answer.text += piece
        live.text_appended(session, answer)
    await until(lambda: answer.relayed == 11)
    await send(live, messages.SendWholeText(session_id=session.session_id))
    await until(lambda: (0, "Hello world") in growths(received))
    task.cancel()


async def test_reasoning_is_put_together_beside_the_text(session):
    turn = uuid4()
    await hear(session, growth=text(turn, 0, "", 0, "Let "))
    await hear(session, growth=text(turn, 0, "", 2, "t me"))
    await until(lambda: session.answer and session.answer.reasoning == "Let me")
    assert session.answer.whole
    await hear(session, growth=text(turn, 0, "It is", 6, " see"))
    await hear(session, growth=text(turn, 5, " 42", 10, ""))
    await until(lambda: session.answer.text == "It is 42")
    assert session.answer.reasoning == "Let me see"


async def test_reasoning_that_was_missed_is_asked_for_as_text_is(session):
    received, task = await other_process(session)
    turn = uuid4()
    await hear(session, growth=text(turn, 0, "It is", 4, ""))
    asked = messages.SendWholeText(session_id=session.session_id)
    await until(lambda: asked in received)
    assert not session.answer.whole
    await hear(session, growth=text(turn, 0, "It is", 0, "Hmmm"))
    await until(lambda: session.answer.whole)
    assert (session.answer.text, session.answer.reasoning) == ("It is", "Hmmm")
    task.cancel()


async def test_growth_tells_how_much_reasoning_came_before_it(live, session):
    received, task = await other_process(session)
    answer = running(live, session)
    answer.reasoning = "Hmm"
    live.text_appended(session, answer)
    await until(lambda: answer.relayed_reasoning == 3)
    answer.text = "Hello"
    live.text_appended(session, answer)
    await until(lambda: answer.relayed == 5)
    await send(live, messages.SendWholeText(session_id=session.session_id))
    expected = [
        (0, "", 0, "Hmm"),
        (0, "Hello", 3, ""),
        (0, "Hello", 0, "Hmm"),  # to the process that asked for all
    ]
    await until(lambda: len(received) == len(expected))
    grown = [message.growth for message in received]
    assert [(g.start, g.text, g.reasoning_start, g.reasoning) for g in grown] == expected
    task.cancel()


@pytest.mark.parametrize(
    "message",
    [
        {"type": "session", "version": messages.VERSION + 1, "seq": 5},
        {"type": "session", "seq": 5},
        {"type": "news", "version": messages.VERSION},
        {"type": "session", "version": messages.VERSION, "seq": "five"},
    ],
    ids=["newer", "older", "unknown", "damaged"],
)
async def test_a_message_that_this_process_does_not_know_is_ignored(session, message):
    """During a deployment, processes of two versions run side by side."""
    layer, name = get_channel_layer(), broker.topic_name(session.session_id)
    await layer.group_send(name, {"session_id": session.session_id.hex, "sender": OTHER, **message})
    await hear(session, seq=2)
    await until(lambda: session.last_seq == 2)


async def test_an_end_that_comes_with_text_ends_the_answer(session):
    turn = uuid4()
    await hear(session, growth=text(turn, 0, "Hi"))
    await hear(session, seq=2, growth=text(turn, 2, "!"), frames=[frame(2, "response", str(turn))])
    await until(lambda: session.last_seq == 2)
    assert session.answer is None
    await hear(session, growth=text(turn, 0, "Hi!"))
    await hear(session, seq=3)
    await until(lambda: session.last_seq == 3)
    assert session.answer is None


async def test_connections_are_added_up_over_the_processes_that_answer(live, session):
    received, task = await other_process(session)
    asking = asyncio.create_task(live.presence(session.session_id))
    await until(lambda: received)
    question = received[0]
    assert (type(question), question.sender) == (messages.WhoIsConnected, live.broker.process)
    owner = Actor(visitor="v", session_id=uuid4())
    for connections, whose in ((2, owner), (3, None)):
        answer = messages.Connected(
            question=question.question, connections=connections, owner=whose
        )
        await send(live, answer)
    await send(live, messages.Connected(question="another", connections=50))
    found = await asking
    assert found.connections == 6  # one of them here
    assert found.owner == owner
    task.cancel()


async def test_a_process_with_connections_says_so_when_it_is_asked(session):
    session.subscriber.owner = Actor(session_id=session.session_id)
    received, task = await other_process(session)
    question = messages.WhoIsConnected(sender=OTHER, session_id=session.session_id, question="q")
    await send_all(session, question)
    expected = messages.Connected(question="q", connections=1, owner=session.subscriber.owner)
    await until(lambda: expected in received)
    task.cancel()


async def test_a_deletion_reaches_connections_here_and_in_other_processes(live, session):
    received, task = await other_process(session)
    live.publish(Change(session.session_id, deleted=True))
    assert session.subscriber.deleted
    await until(lambda: received)
    assert received == [messages.SessionDeleted(session_id=session.session_id)]
    session.subscriber.deleted = False
    await send_all(session, received[0])
    await until(lambda: session.subscriber.deleted)
    task.cancel()


async def test_a_stop_reaches_the_process_that_runs_the_turn(live, session):
    turn = uuid4()
    future = live.cancellations.of(turn)
    await send(live, messages.StopTurn(turn_id=turn, reason="cancelled"))
    async with asyncio.timeout(20):
        assert await future == "cancelled"
    received, task = await other_process(session)
    mine, stop = live.cancellations.of(turn), Stop(turn, OTHER, "interrupted")
    here = Stop(turn, live.broker.process, "interrupted")
    live.publish(Change(session.session_id, stops=[stop, here]))
    assert mine.result() == "interrupted"
    await until(lambda: messages.StopTurn(turn_id=turn, reason="interrupted") in received)
    task.cancel()


@pytest.mark.django_db(transaction=True)
async def test_synchronous_code_in_a_server_publishes_through_its_event_loop(session):
    change = Change(session.session_id, 4, [frame(4)])
    await asyncio.to_thread(_publish_in_thread, [change])
    await until(lambda: session.recent(4))


def _publish_in_thread(changes):
    try:
        publish_on_commit(changes)
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
async def test_a_program_that_is_no_server_publishes_to_the_servers(live, session):
    live.retire()  # as if this were another program
    change = Change(session.session_id, 4, [frame(4)], deleted=True)
    await asyncio.to_thread(_publish_in_thread, [change])
    await until(lambda: session.recent(4) and session.subscriber.deleted)


async def test_a_frozen_redis_holds_nothing_up_and_is_noticed_and_forgiven(
    live, session, redis_server
):
    way = live.broker
    redis_server.stop()
    try:
        live.publish(Change(session.session_id, 1, [frame(1)]))
        assert session.recent(1)  # told here at once
        await until(lambda: way.degraded)
        assert (await live.presence(session.session_id)).connections == 1  # those here
    finally:
        redis_server.cont()
    await until(lambda: not way.degraded)
    await hear(session, seq=9)
    await until(lambda: session.last_seq == 9)


async def test_after_a_restart_of_redis_the_groups_are_joined_again(live, session, redis_server):
    way = live.broker
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
        async with serving(settings, f"redis://{HOST}:{proxy.port}") as live:
            way, mine = live.broker, live.hub.topic(uuid4())
            subscriber = Subscriber()
            mine.subscribers.add(subscriber)
            await until(lambda: way.process in get_channel_layer().channels)
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
        async with serving(settings, redis.url) as live:
            way = live.broker
            await until(lambda: way.degraded)
            await asyncio.to_thread(redis.start)
            await until(lambda: not way.degraded)
