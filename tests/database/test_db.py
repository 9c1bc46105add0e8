"""Database work off the event loop leaves nothing of its caller behind."""

import gc
import time
import weakref
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection

from agent.models import Session
from agent.store import db, outage

pytestmark = pytest.mark.django_db(transaction=True)


class Caller:
    def fail(self):
        session = Session(id=uuid4())
        session.save(force_insert=True)
        session.save(force_insert=True)


async def _failing_call():
    caller = Caller()
    try:
        await db.transact(caller.fail)
    except IntegrityError:
        return weakref.ref(caller)
    raise AssertionError("it did not fail")


async def test_a_transaction_that_failed_does_not_keep_its_caller_in_memory():
    caller = await _failing_call()
    for _ in range(8):
        await db.transact(int)  # the threads have nothing of it in their hands any more
    gc.collect()
    assert caller() is None


async def test_a_transaction_that_was_frozen_for_too_long_is_a_database_that_was_away():
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL ends such a connection")

    def freeze():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 1")
            time.sleep(0.5)
            cursor.execute("SELECT 1")

    with pytest.raises(outage.DATABASE_ERRORS):
        await db.transact(freeze)
    assert await db.read(outage.answers)


async def test_the_texts_of_queries_are_not_kept_in_debug_either(settings):
    settings.DEBUG = True
    for _ in range(3):
        await db.read(outage.answers)
    assert await db.read(lambda: list(connection.queries_log)) == []
