"""What a process notices by itself: messages that nobody told it about."""

import asyncio
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from agent.live.hub import Hub
from agent.models import Session
from agent.worker import maintenance
from tests.database.test_writer import in_thread

pytestmark = pytest.mark.django_db(transaction=True)


def _session(seconds_ago):
    session = Session.objects.create(last_seq=7, id=uuid4())
    changed = Now() - timedelta(seconds=seconds_ago)
    Session.objects.filter(id=session.id).update(changed_at=changed)
    return session.id


async def test_a_message_that_nobody_told_us_about_is_found():
    hub = Hub()
    mine = hub.topic(await in_thread(_session, 3))
    await maintenance.CatchUp(hub).look()
    assert mine.last_seq == 7


async def test_what_was_committed_while_this_process_was_frozen_is_found_after_it(monkeypatch):
    hub = Hub()
    mine = hub.topic(await in_thread(_session, 600))
    catching_up = maintenance.CatchUp(hub)
    monkeypatch.setattr(time, "monotonic", lambda moment=time.monotonic: moment() + 900)
    await catching_up.look()
    assert mine.last_seq == 7


@pytest.mark.parametrize("error", [ConnectionError, OperationalError])
async def test_a_step_whose_cancellation_becomes_an_error_ends_too(error):
    """As in a client of Redis that is cancelled while it connects."""

    async def step():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise error from None

    looping = asyncio.create_task(maintenance.forever(step))
    await asyncio.sleep(0)
    looping.cancel()
    done, _ = await asyncio.wait({looping}, timeout=10)
    looping.cancel()
    assert done
