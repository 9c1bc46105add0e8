"""The worker of one process, on the real database, with a model that the test holds back."""

import asyncio
from datetime import timedelta
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.db import OperationalError, transaction
from django.db.models.functions import Now

from agent import protocol, queries, relay, turns
from agent.actor import Actor
from agent.completions import Delta, Finish
from agent.conf import conf
from agent.models import Message, Turn
from agent.sessions import Held
from agent.turns import Lease
from agent.worker import Worker

from .test_feed import in_thread

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


class Model:
    """Answers `half`, waits, and answers the rest; one `go` for each request."""

    def __init__(self):
        self.asked = []

    async def stream(self, messages):
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
async def worker():
    worker = Worker(conf())
    worker.model = Model()
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
def held():
    return Held(uuid4(), Actor(visitor="v"), stored=False)


def _ask(held, starts=True):
    query = protocol.Query(type="query", content="hi")
    with transaction.atomic():
        return queries._accept(held, query, 20, Lease(relay.PROCESS, 60) if starts else None)


def _expire(held):
    past = Now() - timedelta(seconds=1)
    Turn.objects.filter(session_id=held.id, state="running").update(lease_until=past)


def _ends(held):
    rows = Message.objects.filter(session_id=held.id, type__in=("response", "error"))
    return list(rows.values_list("type", "content", "data__finish_reason"))


async def test_a_wanted_turn_is_not_forgotten_when_the_database_is_away_for_a_moment(
    worker, held, monkeypatch
):
    done = await in_thread(_ask, held, False)
    worker.want(held.id, "caller")
    with monkeypatch.context() as patch:
        patch.setattr(turns, "claim", Mock(side_effect=OperationalError))
        with pytest.raises(OperationalError):
            await worker.fill()
    await worker.fill()
    await worker.model.was_asked(1)
    assert list(worker._held) == [done.turn_id]


async def test_a_process_that_slept_may_take_its_own_turn_again_and_ends_it_whole(worker, held):
    """The second attempt runs in the process of the first, which does not know yet."""
    done = await in_thread(_ask, held)
    worker.start(done.claimed, 1, "caller")
    await worker.model.was_asked(1)
    await in_thread(_expire, held)
    await worker._claim(held.id, "caller")
    await worker.model.was_asked(2)
    first, second = worker.model.asked
    first.set()
    await asyncio.sleep(0.1)  # whatever the first attempt does now
    assert await in_thread(_ends, held) == []
    second.set()
    await idle(worker)
    assert await in_thread(_ends, held) == [("response", "half whole", "stop")]
