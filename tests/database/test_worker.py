"""The worker of one process, on the real database, with a model that the test holds back."""

import asyncio
from datetime import timedelta
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.db import OperationalError, transaction
from django.db.models.functions import Now

from agent.actions import queries
from agent.actions.handles import SessionHandle
from agent.actor import Actor
from agent.conf import conf
from agent.live.publish import Live
from agent.models import Message, Turn
from agent.protocol import client_frames
from agent.provider.decoder import Delta, Finish
from agent.store import db, turn_queue
from agent.store.db import transact
from agent.store.turn_queue import Lease
from agent.worker.worker import Worker
from tests.database.test_writer import in_thread

pytestmark = pytest.mark.django_db(transaction=True)


class Model:
    """Answers `half`, waits, and answers the rest; one `go` for each request."""

    def __init__(self):
        self.asked = []

    async def stream(self, request):
        go = asyncio.Event()
        self.asked.append(go)
        yield Delta("half ")
        await go.wait()
        yield Delta("whole")
        yield Finish("stop")

    async def aclose(self):
        pass

    async def was_asked(self, times):
        async with asyncio.timeout(20):
            while len(self.asked) < times:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture
async def worker(handle):
    worker = Worker(conf(), handle.live, Model())
    yield worker
    for go in worker.model.asked:
        go.set()
    await idle(worker)


async def idle(worker):
    """Wait until nothing runs here."""
    async with asyncio.timeout(20):
        while worker._tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
def handle():
    return SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False)


def _ask(handle, starts=True):
    query = client_frames.Query(type="query", content="hi")
    with transaction.atomic():
        return queries._accept(
            handle, query, 20, Lease(handle.live.broker.process, 60) if starts else None
        )


def _expire(handle):
    past = Now() - timedelta(seconds=1)
    Turn.objects.filter(session_id=handle.id, state="running").update(lease_until=past)


def _take_and_hand_back(handle):
    _expire(handle)
    with transaction.atomic():
        turn_queue.claim(handle.id, Lease("agent.elsewhere", 60))
        turn_queue.hand_back("agent.elsewhere")


def _running(handle):
    return Turn.objects.filter(
        session_id=handle.id, state="running", worker=handle.live.broker.process
    ).count()


def _ends(handle):
    rows = Message.objects.filter(session_id=handle.id, type__in=("response", "error"))
    return list(rows.values_list("type", "content", "data__finish_reason"))


async def test_a_wanted_turn_is_not_forgotten_when_the_database_is_away_for_a_moment(
    worker, handle, monkeypatch
):
    done = await in_thread(_ask, handle, False)
    worker.request_turn(handle.id, "caller")
    with monkeypatch.context() as patch:
        patch.setattr(turn_queue, "claim", Mock(side_effect=OperationalError))
        with pytest.raises(OperationalError):
            await worker.claim_wanted()
    await worker.claim_wanted()
    await worker.model.was_asked(1)
    assert list(worker._leased) == [done.turn_id]


async def _commit_and_lose_the_connection(function, *arguments, **options):
    """`db.transact` whose connection is lost between the commit and the word of it."""
    await transact(function, *arguments, **options)
    raise OperationalError("server closed the connection unexpectedly")


async def test_a_turn_whose_commit_nobody_heard_of_runs_as_soon_as_the_database_answers(
    worker, handle, monkeypatch
):
    query = client_frames.Query(type="query", content="hi", id="q1")
    with monkeypatch.context() as patch:
        patch.setattr(db, "transact", _commit_and_lose_the_connection)
        with pytest.raises(OperationalError), worker.accepting(handle.id, "caller") as lease:
            await queries.accept_query(handle, query, max_queue=20, lease=lease)
        assert await in_thread(_running, handle) == 1
    handle._stored = True
    await worker.claim_wanted()  # the lease is far from its end
    await worker.model.was_asked(1)
    worker.model.asked[0].set()
    await idle(worker)
    assert await in_thread(_ends, handle) == [("response", "half whole", "stop")]
    again = await queries.accept_query(handle, query, max_queue=20, lease=None)
    assert again.state == "ended"


async def test_a_claim_whose_commit_nobody_heard_of_runs_as_soon_as_the_database_answers(
    worker, handle, monkeypatch
):
    await in_thread(_ask, handle, False)
    worker.request_turn(handle.id, "caller")
    with monkeypatch.context() as patch:
        patch.setattr(db, "transact", _commit_and_lose_the_connection)
        with pytest.raises(OperationalError):
            await worker.claim_wanted()
    await worker.claim_wanted()
    await worker.model.was_asked(1)


async def test_what_was_not_committed_is_looked_for_once_and_leaves_nothing(
    worker, handle, monkeypatch
):
    with pytest.raises(OperationalError), worker.accepting(handle.id, "caller"):
        raise OperationalError
    await worker.claim_wanted()
    assert not worker._doubtful
    assert not worker._wanted
    with worker.accepting(handle.id, "caller") as lease:
        assert lease


async def test_a_claim_that_is_told_after_it_was_found_does_not_run_twice(worker, handle):
    done = await in_thread(_ask, handle)
    worker._doubt(handle.id, "caller")
    await worker.claim_wanted()
    await worker.model.was_asked(1)
    worker.start(done.claimed, 1, "caller")
    assert worker._leased[done.turn_id][0] == 2
    worker.model.asked[0].set()
    await idle(worker)
    assert await in_thread(_ends, handle) == [("response", "half whole", "stop")]
    assert len(worker.model.asked) == 1


@pytest.mark.parametrize("by", ["poll", "claim"])
async def test_a_clock_that_jumps_restarts_no_answer_of_the_process_that_runs_it(
    worker, handle, monkeypatch, by
):
    """For the database, every lease has ended: a laptop that wakes, or a process that slept."""
    done = await in_thread(_ask, handle)
    worker.start(done.claimed, 1, "caller")
    await worker.model.was_asked(1)
    await in_thread(_expire, handle)
    monkeypatch.setattr("agent.worker.worker.POLL_SECONDS", 0)
    await (worker.poll() if by == "poll" else worker._claim(handle.id, "caller"))
    assert await in_thread(turn_queue.due, 10) == []  # for other processes, too, it is alive
    worker.model.asked[0].set()
    await idle(worker)
    assert await in_thread(_ends, handle) == [("response", "half whole", "stop")]
    assert worker._leased == {}
    assert len(worker.model.asked) == 1


async def test_a_later_attempt_of_the_same_process_stops_the_earlier_one(worker, handle):
    """Another process had taken the turn meanwhile, and has handed it back."""
    done = await in_thread(_ask, handle)
    worker.start(done.claimed, 1, "caller")
    await worker.model.was_asked(1)
    await in_thread(_take_and_hand_back, handle)
    await worker._claim(handle.id, "caller")
    await worker.model.was_asked(2)
    first, second = worker.model.asked
    first.set()
    await asyncio.sleep(0.1)  # whatever the first attempt does now
    assert await in_thread(_ends, handle) == []
    second.set()
    await idle(worker)
    assert await in_thread(_ends, handle) == [("response", "half whole", "stop")]
