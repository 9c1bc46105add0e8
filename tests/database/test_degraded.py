"""A database that answers and takes no writes is told, named and forgiven; a frozen one too."""

from contextlib import contextmanager
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.db import connection

from agent.live.publish import Live
from agent.store import db, outage
from agent.worker import maintenance

# in this process


@pytest.fixture
def healthy():
    yield
    outage._refused = None
    outage.recovered()


@contextmanager
def read_only():
    """What the writers' connections do meanwhile is refused by the database itself."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET TRANSACTION READ ONLY")
            yield
        else:
            cursor.execute("PRAGMA query_only = ON")
            try:
                yield
            finally:
                cursor.execute("PRAGMA query_only = OFF")


_write = maintenance._write


def write_refused():
    with read_only():
        _write()


@pytest.mark.django_db(transaction=True)
async def test_a_write_that_is_refused_is_the_databases_fault_and_has_its_reason(healthy):
    with pytest.raises(outage.DATABASE_ERRORS) as caught:
        await db.transact(write_refused)
    code = "25006" if connection.vendor == "postgresql" else "SQLITE_READONLY"
    assert outage.reason(caught.value).startswith(code)
    assert outage.refused().startswith(code)
    await db.transact(maintenance._write)


@pytest.mark.django_db(transaction=True)
async def test_connections_are_told_once_of_an_outage_and_once_of_its_end(healthy, monkeypatch):
    live, told = Live(), []
    watch = maintenance.Watch(live)
    topic, subscriber = live.hub.topic(uuid4()), Mock()
    topic.subscribers.add(subscriber)
    subscriber.send_later = lambda frame: told.append((frame["part"], frame["level"]))
    monkeypatch.setattr(maintenance, "_write", write_refused)
    for _ in range(2):
        await watch.look()
    assert told == [("database", "warning")]
    assert [frame["part"] for frame in live.degradations()] == ["database"]
    monkeypatch.setattr(maintenance, "_write", _write)
    outage._refused = None
    for _ in range(2):
        await watch.look()
    assert told == [("database", "warning"), ("database", "success")]
    assert live.degradations() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["agent_session", "agent_message", "agent_turn"])
async def test_a_missing_table_is_the_databases_fault(table, healthy):
    def rename(*names):
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE {} RENAME TO {}".format(*names))

    await db.transact(rename, table, "elsewhere")
    try:
        with pytest.raises(outage.DATABASE_ERRORS):
            await db.transact(maintenance._write)
    finally:
        await db.transact(rename, "elsewhere", table)
