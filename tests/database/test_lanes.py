"""Each kind of database work has connections of its own, and nobody else's work can take them."""

import asyncio
import threading
from pathlib import Path

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.contrib.auth.hashers import check_password, make_password
from django.db import connection

from agent.access import password_hashing
from agent.errors import Overloaded
from agent.store import db, slots
from agent.store.lanes import CHAT, CONNECTIONS, PAGES, POOL_SIZE, STAFF
from agentsite.databases import database
from tests.support.waiting import eventually


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(slots, "WAIT_SECONDS", 0.05)


class Blocked:
    """Work that holds its thread until it is let go."""

    def __init__(self):
        self.go, self.begun = threading.Event(), 0

    def __call__(self):
        self.begun += 1
        assert self.go.wait(30)
        return "done"


@pytest.fixture
def blocked():
    work = Blocked()
    yield work
    work.go.set()


async def in_lane(name, function):
    with slots.lane(name):
        return await db.read(function)


def test_the_pool_is_as_large_as_all_lanes_together():
    config = database("postgres://user:password@host:5432/name", Path())
    assert config["OPTIONS"]["pool"]["max_size"] == POOL_SIZE == sum(CONNECTIONS.values())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lane", [PAGES, STAFF])
async def test_what_fills_one_lane_delays_no_other(blocked, impatient, lane):
    others = {PAGES, STAFF, CHAT} - {lane}
    holding = [asyncio.create_task(in_lane(lane, blocked)) for _ in range(CONNECTIONS[lane])]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await in_lane(lane, lambda: None)
    assert refused.value.retry_after > 0
    for other in others:
        assert await in_lane(other, lambda: "fine") == "fine"
    assert await db.transact_apart(lambda: "kept") == "kept"
    assert await db.search(lambda: "found") == "found"
    blocked.go.set()
    assert await asyncio.gather(*holding) == ["done"] * len(holding)
    assert await in_lane(lane, lambda: "again") == "again"


@pytest.mark.django_db(transaction=True)
async def test_what_nobody_waits_for_any_more_holds_its_slot_until_it_has_ended(blocked, impatient):
    async def view():
        async with ThreadSensitiveContext():
            with slots.lane(STAFF):
                async with slots.slot():
                    await sync_to_async(blocked)()

    views = [asyncio.create_task(view()) for _ in range(CONNECTIONS[STAFF])]
    await eventually(lambda: blocked.begun == len(views), "the work of all views")
    for one in views:
        one.cancel()
    with pytest.raises(Overloaded):
        await in_lane(STAFF, lambda: None)
    blocked.go.set()
    await asyncio.gather(*views, return_exceptions=True)
    assert await in_lane(STAFF, lambda: "again") == "again"


@pytest.mark.django_db(transaction=True)
async def test_a_view_leaves_no_connection_open():
    seen = []

    def view():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        seen.append(connection.connection is not None)

    async with ThreadSensitiveContext():
        with slots.lane(PAGES):
            async with slots.slot():
                await sync_to_async(view)()
            seen.append(await sync_to_async(lambda: connection.connection is not None)())
    assert seen == [True, False]


@pytest.mark.django_db(transaction=True)
async def test_neither_slot_nor_connection_is_held_while_a_password_is_hashed(monkeypatch):
    hashing_now, go = threading.Semaphore(0), threading.Event()
    seen = []

    def slow(self, password, salt, iterations=None):
        seen.append(connection.connection is not None)
        hashing_now.release()
        assert go.wait(30)
        return f"pbkdf2_sha256$1${salt}$x"

    monkeypatch.setattr(password_hashing.PBKDF2PasswordHasher, "encode", slow)

    def view():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        make_password("of-tests-only")
        with connection.cursor() as cursor:  # there is one again
            cursor.execute("SELECT 1")

    async def request():
        async with ThreadSensitiveContext():
            with slots.lane(PAGES):
                async with slots.slot():
                    await sync_to_async(view)()

    requests = [asyncio.create_task(request()) for _ in range(3 * CONNECTIONS[PAGES])]
    for _ in range(password_hashing._AT_ONCE):
        await asyncio.to_thread(hashing_now.acquire)
    for _ in range(2 * CONNECTIONS[PAGES]):
        assert await in_lane(PAGES, lambda: "fine") == "fine"
    assert len(seen) == password_hashing._AT_ONCE, "hashes at once are bounded"
    go.set()
    await asyncio.gather(*requests)
    assert seen == [False] * len(requests)


def test_hashes_are_djangos_own():
    made = make_password("right")
    assert made.startswith("pbkdf2_sha256$")
    assert check_password("right", made) and not check_password("wrong", made)


def test_who_waits_too_long_to_hash_is_sent_away(monkeypatch):
    monkeypatch.setattr(password_hashing, "_WAIT_SECONDS", 0.01)
    for _ in range(password_hashing._AT_ONCE):
        password_hashing._places.acquire()
    try:
        with pytest.raises(Overloaded):
            make_password("x")
    finally:
        for _ in range(password_hashing._AT_ONCE):
            password_hashing._places.release()


@pytest.mark.django_db(transaction=True)
async def test_the_loops_threads_keep_their_sqlite_connections():
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL's go back to the pool")
    assert not connection.settings_dict["CONN_MAX_AGE"], "threads of requests keep none"

    def used():
        connection.ensure_connection()
        return id(connection.connection)

    assert await db.transact(used) == await db.transact(used)
